"""What a client gets: whole answers, streams, usage, models; as OpenAI's API reference describes them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from llava_engine.errors import (
    BusyError,
    ContextOverflowError,
    ConversationError,
    EngineAwayError,
    ModelError,
    OutOfMemoryError,
    PictureError,
)
from llava_engine.plan import Plan
from llava_engine.server.settings import Settings
from tests.fakes.fake_picture import png_bytes
from tests.llava_engine.server.api import CHAT, HELLO, Api, api, data_url, error, events, fake, user

PLAN = Plan((), (), "float32", "none", 2048)


def test_a_whole_answer() -> None:
    server = api(["Yes", ", it is."])
    response = server.chat(model="fake")
    assert response.headers["content-type"] == "application/json"
    answer = response.json()
    assert re.fullmatch(r"chatcmpl-[0-9a-f]{32}", answer.pop("id"))
    assert isinstance(answer.pop("created"), int)
    assert re.fullmatch(r"fp_[0-9a-f]{12}", answer.pop("system_fingerprint"))
    assert answer == {
        "object": "chat.completion",
        "model": "fake",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Yes, it is.", "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
        ],
        "usage": {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "prompt_tokens_details": {"cached_tokens": 0},
        },
    }


@pytest.mark.parametrize("with_usage", [False, True])
def test_a_stream(with_usage: bool) -> None:
    server = api(["Yes", ", ", "\u2028 \U0001f600 it is."])
    options = {"stream_options": {"include_usage": True}} if with_usage else {}
    response = server.chat(stream=True, **options)
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8"
    *chunks, done = events(response.text)
    assert done == "[DONE]"
    assert len({(chunk["id"], chunk["created"], chunk["model"], chunk["system_fingerprint"]) for chunk in chunks}) == 1
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    if with_usage:
        last = chunks.pop()
        assert (last["choices"], last["usage"]["total_tokens"]) == ([], 4)
        assert [chunk["usage"] for chunk in chunks] == [None] * len(chunks)
    else:
        assert not [chunk for chunk in chunks if "usage" in chunk]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        {"content": "Yes"},
        {"content": ", "},
        {"content": "\u2028 \U0001f600 it is."},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * 4 + ["stop"]


def test_half_a_character_of_an_engine_does_not_break_an_answer() -> None:
    assert events(api(["a\ud83d"]).chat(stream=True).text)[1]["choices"][0]["delta"]["content"] == "a\ufffd"
    assert api(["a\ud83d"]).chat().json()["choices"][0]["message"]["content"] == "a\ufffd"


def test_what_a_request_says_of_sampling_reaches_the_engine() -> None:
    server = api(temperature=0.25)
    server.chat(
        temperature=0.5, top_p=0.9, top_k=7, repetition_penalty=1.1, seed=3, stop=["a", "b"],
        max_tokens=5, max_completion_tokens=6,
    )  # fmt: skip
    server.chat(stop="c", max_tokens=5, top_k=-1)
    server.chat(temperature=None, max_tokens=None, stop=None, stream=None, top_p=None, seed=None)
    first, second, third = server.engine.samplings  # type: ignore[attr-defined]
    assert (first.temperature, first.top_p, first.top_k, first.repetition_penalty, first.seed) == (0.5, 0.9, 7, 1.1, 3)
    assert (first.stops, first.max_new_tokens) == (("a", "b"), 6)
    assert (second.stops, second.max_new_tokens, second.top_k) == (("c",), 5, 0)
    assert (third.temperature, third.max_new_tokens, third.seed, third.stops) == (0.25, None, None, ())


def test_without_a_temperature_an_answer_is_the_likeliest() -> None:
    server = api()
    server.chat()
    assert server.engine.samplings[0].temperature == 0  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "ignored",
    [
        {"user": "me"}, {"metadata": {"a": "b"}}, {"store": True}, {"service_tier": "auto"}, {"tool_choice": "none"},
        {"parallel_tool_calls": True}, {"frequency_penalty": 0, "presence_penalty": 0.0}, {"n": 1}, {"tools": []},
        {"response_format": {"type": "text"}}, {"modalities": ["text"]}, {"logprobs": False}, {"logit_bias": {}},
        {"reasoning_effort": "low"}, {"never": [{"heard": "of"}]}, {"stream_options": {"include_usage": True}},
    ],
    ids=str,
)  # fmt: skip
def test_what_changes_nothing_is_ignored(ignored: dict[str, Any]) -> None:
    assert api().chat(**ignored).status_code == 200


@pytest.mark.parametrize(
    "refused",
    [
        {"tools": [{"type": "function"}]}, {"functions": [{}]}, {"n": 2}, {"logit_bias": {"5": 1}}, {"logprobs": True},
        {"top_logprobs": 2}, {"frequency_penalty": 0.5}, {"presence_penalty": 1}, {"modalities": ["text", "audio"]},
        {"response_format": {"type": "json_object"}}, {"audio": {"voice": "x"}},
    ],
    ids=str,
)  # fmt: skip
def test_what_is_not_done_here_is_refused_by_name(refused: dict[str, Any]) -> None:
    told = error(api().chat(**refused), 400, "unsupported_parameter")
    assert told["param"] == next(iter(refused))
    assert told["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"temperature": -1}, "temperature"), ({"temperature": "hot"}, "temperature"), ({"top_p": 0}, "top_p"),
        ({"top_p": 1.5}, "top_p"), ({"top_k": -2}, "top_k"), ({"seed": 2**64}, "seed"), ({"seed": 10**400}, "seed"),
        ({"max_tokens": 0}, "max_tokens"), ({"max_completion_tokens": 0}, "max_completion_tokens"),
        ({"repetition_penalty": 0}, "repetition_penalty"),
        ({"stop": [""]}, "stop"), ({"stop": ["x"] * 17}, "stop"), ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"), ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "system", "content": "x"}]}, "messages"),
        ({"llava_preprocess": "blur"}, "llava_preprocess"),
    ],
    ids=str,
)  # fmt: skip
def test_values_that_can_not_be_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    response = api().chat(**fields)
    assert (response.status_code, response.json()["error"]["param"]) == (400, param), response.text


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"\xff", b"[" * 100_000, b'{"a":' * 100_000])
def test_what_is_no_json_object_is_refused(body: bytes) -> None:
    assert api().post(body).status_code == 400


def test_another_model_is_not_here() -> None:
    server = api(name="eyes")
    assert server.chat(model="eyes").json()["model"] == "eyes"
    assert server.chat(model="fake").json()["model"] == "eyes"
    assert error(server.chat(model="gpt-5"), 404, "model_not_found")["param"] == "model"
    assert error(server.ask("GET", "/v1/models/gpt-5"), 404, "model_not_found")
    assert server.ask("GET", "/v1/models/eyes").json()["id"] == "eyes"


def test_the_model_says_what_clients_ask_of_it() -> None:
    listed = api(votes=None, max_pictures=3).ask("GET", "/v1/models").json()
    assert listed["object"] == "list"
    (model,) = listed["data"]
    assert (model["id"], model["object"], model["owned_by"], model["max_model_len"]) == ("fake", "model", "llava", 2048)
    assert (model["picture_tokens"], model["max_pictures"], model["votes"]) == (64, 3, False)
    assert model["preprocess"] == ["crop", "pad", "resize"]


def test_names_with_slashes() -> None:
    server = Api(fake(name="llava-hf/llava-1.5-7b-hf"), Settings())
    assert server.ask("GET", "/v1/models/llava-hf/llava-1.5-7b-hf").json()["id"] == "llava-hf/llava-1.5-7b-hf"


def test_input_tokens_are_what_the_engine_counts_without_decoding() -> None:
    server = api()
    cut = png_bytes(size=(300, 200))
    response = server.ask("POST", f"{CHAT}/input_tokens", json={"messages": [user("What is this?", cut)]})
    assert response.json() == {"input_tokens": 3 + 64}


def test_a_conversation_that_is_too_long_is_told_in_the_words_that_clients_look_for() -> None:
    told = error(
        api().chat({"messages": [{"role": "user", "content": "word " * 3000}]}), 400, "context_length_exceeded"
    )
    assert "maximum context length is 2048 tokens" in told["message"]
    assert "3,000" in told["message"]


def test_errors_of_the_engine() -> None:
    for raised, status, code in (
        (ContextOverflowError(5, 4), 400, "context_length_exceeded"),
        (ConversationError("No.", "Do."), 400, "invalid_messages"),
        (PictureError("Torn.", "Mend."), 400, "invalid_image"),
        (OutOfMemoryError("Full.", "Wait.", PLAN), 503, "out_of_memory"),
        (BusyError("Full.", 7), 429, "queue_full"),
        (EngineAwayError("Gone.", "Look."), 502, "engine_away"),
        (ModelError("NaN.", "Look."), 500, "engine_failed"),
    ):
        for stream in (False, True):
            response = api([raised]).chat(stream=stream)
            assert error(response, status, code)
            assert response.headers.get("retry-after") == {"queue_full": "7", "out_of_memory": "5"}.get(code)


def test_a_bug_says_nothing_but_where_to_look() -> None:
    for stream in (False, True):
        server = api([RuntimeError("secret words")])
        response = server.chat(stream=stream)
        assert response.headers["x-request-id"] in error(response, 500, "internal_error")["message"]
        assert "secret" not in response.text + "".join(server.lines)
        assert any("RuntimeError" in line and "fake_engine" in line for line in server.lines)


def test_an_error_after_the_first_word_of_a_stream_is_an_event_and_the_end() -> None:
    server = api(["Yes", RuntimeError("secret words")])
    *_, last = events(server.chat(stream=True).text)
    assert last["error"]["code"] == "internal_error"
    assert "RuntimeError" in "".join(server.lines)
    assert "secret" not in "".join(server.lines) + json.dumps(last)
    *_, last = events(api(["Yes", ContextOverflowError(5, 4)]).chat(stream=True).text)
    assert last["error"]["code"] == "context_length_exceeded"


def test_addresses_that_are_none() -> None:
    assert error(api().ask("GET", "/v2/x"), 404, "not_found")
    assert error(api().ask("POST", "/v1/completions", json={}), 404, "not_found")
    response = api().ask("GET", CHAT)
    assert error(response, 405, "method_not_allowed")
    assert "POST" in response.headers["allow"]


def test_health_says_whether_to_come() -> None:
    assert api(key="secret").ask("GET", "/health").json() == {"status": "ok"}


def test_metrics_are_what_prometheus_reads() -> None:
    server = api(["a", "b", "c"])
    text = server.ask("GET", "/metrics").text
    families = {family.name: family for family in text_string_to_metric_families(text)}
    assert {"llava_running", "llava_waiting", "llava_first_token_seconds", "llava_completion_tokens"} <= set(families)
    server.chat(HELLO)
    after = text_string_to_metric_families(server.service.metrics.text(server.service.gauges()))
    values = {(one.name, *one.labels.values()): one.value for family in after for one in family.samples}
    assert values["llava_requests_total", "200"] == 1
    assert values["llava_answers_total", "stop"] == 1
    assert (values["llava_prompt_tokens_total",], values["llava_completion_tokens_total",]) == (1, 3)
    assert values["llava_first_token_seconds_count",] == values["llava_first_token_seconds_bucket", "+Inf"] == 1
    assert values["llava_between_tokens_seconds_count",] == 2


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_request_is_one_line_without_its_words(form: str) -> None:
    server = api(["An answer"], form=form)
    response = server.chat({"messages": [user("A question\x1b[31m", png_bytes())]})
    (line,) = server.lines
    assert response.headers["x-request-id"] in line
    assert "question" not in line and "answer" not in line and data_url()[-20:] not in line
    if form == "json":
        fields = json.loads(line)
        assert (fields["status"], fields["path"], fields["pictures"]) == (200, CHAT, 1)
        assert (fields["prompt_tokens"], fields["completion_tokens"]) == (66, 1)
    else:
        assert f"POST {CHAT} 200" in line and "66+1 tokens, 1 picture " in line


def test_a_request_id_is_the_clients_where_it_can_be_logged() -> None:
    headers = {"x-request-id": "mine-1"}
    assert api().ask("GET", "/health", headers=headers).headers["x-request-id"] == "mine-1"
    headers = {"x-request-id": "mine \x1b[31m"}
    assert api().ask("GET", "/health", headers=headers).headers["x-request-id"].startswith("req_")


@pytest.mark.parametrize("stream", [True, False])
def test_a_log_that_nobody_takes_is_no_reason_to_be_silent(stream: bool) -> None:
    server = api(["Yes"], [RuntimeError("secret")])

    class Full(list[str]):
        def append(self, line: str) -> None:
            raise BrokenPipeError

    server.lines = Full()
    assert "Yes" in server.chat(stream=stream).text
    assert error(server.chat(stream=stream), 500, "internal_error")


@pytest.mark.parametrize("stream", [True, False])
def test_an_engine_that_goes_on_after_its_reply_is_not_listened_to(stream: bool) -> None:
    class Talkative:
        card = fake().card

        def stream(self, *args: Any, **more: Any) -> Any:
            yield from fake(["Yes"]).stream(*args, **more)
            yield " and no"

        def close(self) -> None:
            pass

    text = Api(Talkative(), Settings()).chat(stream=stream).text  # type: ignore[arg-type]
    assert '"Yes"' in text and "and no" not in text
