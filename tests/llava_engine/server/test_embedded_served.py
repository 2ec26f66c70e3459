"""The model that comes along, served: several clients over a real port get what it says in this process."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import llava_engine
from llava_engine.contract import EngineLike, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.opening import Placement, Source
from llava_engine.pictures.opening import open_picture
from llava_engine.server.settings import Settings
from tests.llava_engine.server.api import CHAT, error, events, user
from tests.llava_engine.server.live import Live, live
from tests.source import ROOT

SAMPLES = sorted((ROOT / "llava_engine" / "embedded" / "samples").glob("*.png"))
QUESTIONS = ("What is in this picture?", "How many things are there?", "What colours do you see?")


@pytest.fixture(scope="module")
def engine() -> Iterator[EngineLike]:
    made = llava_engine.open_model(Source(), Placement(device="cpu", dtype="float32", slots=4))
    yield made
    made.close()


@pytest.fixture(scope="module")
def server(engine: EngineLike) -> Iterator[Live]:
    class Kept:  # a server closes its engine, and the tests go on with it
        card, stream, count = engine.card, engine.stream, engine.count

        def close(self) -> None:
            pass

    with live(Kept(), Settings(queue=64)) as made:  # type: ignore[arg-type]
        yield made


def here(engine: EngineLike, question: str, picture: Path, begun: str = "", **sampling: Any) -> Reply:
    asked = Conversation((Message.user(question, [open_picture(picture)]),))
    reply = list(engine.stream(asked, Sampling(**{"max_new_tokens": None} | sampling), begun=begun))[-1]
    assert isinstance(reply, Reply)
    return reply


def test_many_clients_at_once_get_the_answers_of_this_process(engine: EngineLike, server: Live) -> None:
    asked = [(question, picture) for picture in SAMPLES for question in QUESTIONS]
    expected = {one: here(engine, *one) for one in asked}

    def there(one: tuple[str, Path]) -> None:
        question, picture = one
        body = {"messages": [user(question, picture.read_bytes())]}
        with server.client() as client:
            whole = client.post(CHAT, json=body).json()
            options = {"stream": True, "stream_options": {"include_usage": True}}
            streamed = events(client.post(CHAT, json=body | options).text)
        reply = expected[one]
        assert whole["choices"][0]["message"]["content"] == reply.text
        assert (
            "".join(choice["delta"].get("content", "") for event in streamed[:-1] for choice in event["choices"])
            == reply.text
        )
        for usage in (whole["usage"], streamed[-2]["usage"]):
            assert (usage["prompt_tokens"], usage["completion_tokens"]) == (
                reply.prompt_tokens,
                reply.completion_tokens,
            )

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(there, asked))


def test_drawn_answers_are_those_of_their_seed(engine: EngineLike, server: Live) -> None:
    for seed in (1, 2, 3):
        expected = here(engine, QUESTIONS[0], SAMPLES[0], temperature=1.5, seed=seed)
        body = {"messages": [user(QUESTIONS[0], SAMPLES[0].read_bytes())], "temperature": 1.5, "seed": seed}
        assert server.chat(**body).json()["choices"][0]["message"]["content"] == expected.text


def test_the_next_turn_reads_only_what_is_new(server: Live) -> None:
    messages = [user(QUESTIONS[0], SAMPLES[1].read_bytes())]
    first = server.chat(messages=messages).json()
    messages += [first["choices"][0]["message"], {"role": "user", "content": "Is there a dog?"}]
    usage = server.chat(messages=messages).json()["usage"]
    assert usage["prompt_tokens_details"]["cached_tokens"] >= first["usage"]["prompt_tokens"] - 1


def test_a_begun_answer_goes_on(engine: EngineLike, server: Live) -> None:
    whole = here(engine, QUESTIONS[0], SAMPLES[0]).text
    begun = whole[: whole.index(" ", len(whole) // 2)]
    message = user(QUESTIONS[0], SAMPLES[0].read_bytes())
    answer = server.chat(messages=[message, {"role": "assistant", "content": begun}]).json()
    assert answer["choices"][0]["message"]["content"] == here(engine, QUESTIONS[0], SAMPLES[0], begun).text
    assert begun + answer["choices"][0]["message"]["content"] == whole


def test_stops_and_lengths(engine: EngineLike, server: Live) -> None:
    message = user(QUESTIONS[0], SAMPLES[0].read_bytes())
    whole = here(engine, QUESTIONS[0], SAMPLES[0]).text
    word = whole.split()[3]
    (choice,) = server.chat(messages=[message], stop=[word]).json()["choices"]
    assert (choice["message"]["content"].rstrip(), choice["finish_reason"]) == (
        whole[: whole.index(word)].rstrip(),
        "stop",
    )
    answer = server.chat(messages=[message], max_tokens=3).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 3
    assert whole.startswith(answer["choices"][0]["message"]["content"])


def test_counting_is_what_asking_costs(server: Live) -> None:
    asked = user(QUESTIONS[0], SAMPLES[0].read_bytes())
    for begun in ([], [{"role": "assistant", "content": "There are two red"}]):
        body = {"messages": [asked, *begun]}
        with server.client() as client:
            counted = client.post(f"{CHAT}/input_tokens", json=body).json()["input_tokens"]
        assert counted == server.chat(**body).json()["usage"]["prompt_tokens"]


def test_what_a_real_engine_refuses(server: Live) -> None:
    long = {"messages": [{"role": "user", "content": "word " * 5000}]}
    assert error(server.chat(**long), 400, "context_length_exceeded")
    endless = {"messages": [{"role": "user", "content": "ab cd " * 2**20}]}  # counting it would take half a minute
    with server.client() as client:
        assert error(client.post(f"{CHAT}/input_tokens", json=endless), 400, "context_length_exceeded")
    assert error(server.chat(messages=[{"role": "user", "content": ""}]), 400, "invalid_messages")
    first = [{"role": "assistant", "content": "Hello"}, {"role": "user", "content": "Hi"}]
    assert error(server.chat(messages=first), 400, "invalid_messages")


@pytest.mark.parametrize("text", ["\0", "<image>", "</s><s>", "\u202e", "\U0010ffff" * 50, " " * 3000])
def test_a_real_tokenizer_takes_any_text(server: Live, text: str) -> None:
    response = server.chat(messages=[{"role": "user", "content": text}], max_tokens=2)
    assert response.status_code in (200, 400), response.text


ENDS: list[dict[str, float]] = [
    {"temperature": 5e-324}, {"temperature": 1e308, "seed": 1}, {"temperature": 1, "top_p": 1e-300},
]  # fmt: skip


@pytest.mark.parametrize("fields", ENDS, ids=str)
def test_numbers_at_the_ends_of_their_range(server: Live, fields: dict[str, float]) -> None:
    assert server.chat(max_tokens=3, **fields).status_code == 200
