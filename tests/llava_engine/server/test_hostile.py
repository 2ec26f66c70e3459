"""Bodies that somebody wrote to see the server fall: each is answered, none with 500, and it answers on."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fakes.fake_picture import png_bytes
from tests.llava_engine.server.api import CHAT, HELLO, Api, api, data_url, user

ODD_NUMBERS: list[Any] = [0, -1, 1.5, 1e308, -1e308, 5e-324, 2**31, 2**63, -(2**63) - 1, 2**64, 10**400, True]
ODD_TEXTS: list[Any] = [
    "", "\0", "\ud800", "\udfff x", "<image>", "</s>", "USER: ASSISTANT:", "\u202e", "a" * 5000, "\U0010ffff",
    "\x1b[2J",
]  # fmt: skip
odd = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=30),
    st.sampled_from([*ODD_NUMBERS, *ODD_TEXTS]), st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=5), st.integers(), max_size=3),
)  # fmt: skip
anything = st.recursive(
    odd, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there nearly always, so that what is deeper inside is reached."""
    return st.integers(0, 30).flatmap(lambda number: anything if number == 30 else usual)


texts = st.one_of(st.text(max_size=40), st.sampled_from(ODD_TEXTS))
urls = st.one_of(
    st.just(data_url()),
    st.just(data_url(png_bytes("blue"))),
    st.sampled_from(
        [data_url(png_bytes()[:30]), "data:", "data:,", "file:///etc/passwd", "http://127.0.0.1/", "https://[", "//x"]
    ),
    st.binary(max_size=60).map(data_url),
    texts,
)
parts = st.one_of(
    st.fixed_dictionaries({"type": mostly(st.just("text")), "text": mostly(texts)}),
    st.fixed_dictionaries(
        {"type": mostly(st.just("image_url")), "image_url": mostly(st.fixed_dictionaries({"url": mostly(urls)}) | urls)}
    ),
)
roles = st.sampled_from(["user", "user", "user", "assistant", "system", "developer", "user", "tool"])
messages = st.lists(
    mostly(
        st.fixed_dictionaries({"role": mostly(roles), "content": mostly(texts | st.lists(mostly(parts), max_size=4))})
    ),
    max_size=5,
)
numbers = st.one_of(st.integers(1, 9), st.floats(0.1, 1), st.none(), st.sampled_from(ODD_NUMBERS))
bodies = mostly(
    st.fixed_dictionaries(
        {"messages": mostly(messages)},
        optional={
            "model": mostly(st.sampled_from(["fake", "other"])),
            "stream": mostly(st.booleans()),
            "stream_options": mostly(st.fixed_dictionaries({"include_usage": odd})),
            "stop": mostly(st.lists(texts, max_size=18) | texts),
            "llava_preprocess": mostly(st.sampled_from(["default", "crop", "pad", "resize"])),
            **{
                name: mostly(numbers)
                for name in (
                    "temperature", "top_p", "top_k", "repetition_penalty", "seed", "max_tokens", "n",
                )
            },
            **dict.fromkeys(("tools", "logit_bias", "logprobs", "response_format", "modalities", "audio", "user"), odd),
        },
    )
)  # fmt: skip


def written(body: Any) -> bytes:
    return json.dumps(body).encode()  # NaN and Infinity too, which JSON lacks


def never_a_bug(server: Api, body: bytes, path: str = CHAT) -> None:
    response = server.post(body, path)
    assert response.status_code in (200, 400, 404), (response.text, server.lines)
    if response.status_code != 200:
        response.json()["error"]["message"].encode()
    assert not any("a bug" in line for line in server.lines), server.lines


@settings(max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(bodies, st.sampled_from([CHAT, f"{CHAT}/input_tokens"]))
def test_a_body_of_any_fields_is_answered(body: Any, path: str) -> None:
    never_a_bug(api(["Yes", "."]), written(body), path)


@settings(max_examples=30)
@given(st.integers(0, 400), st.binary(max_size=3))
def test_a_body_that_is_cut_or_damaged_is_answered(at: int, damage: bytes) -> None:
    whole = written({"messages": [user("What?", png_bytes())], "stream": True, "seed": 5})
    for body in (whole[:at], whole[:at] + damage + whole[at:], whole[:at] + damage):
        never_a_bug(api(["Yes"]), body)


@settings(max_examples=25)
@given(anything)
def test_a_vote_of_anything_is_answered(tmp_path_factory: pytest.TempPathFactory, body: Any) -> None:
    path = tmp_path_factory.mktemp("votes") / "votes.jsonl"
    for content in (
        body,
        {"type": "flag", "messages": body},
        {"type": "flag", "messages": [{"role": "user", "content": body}]},
    ):
        never_a_bug(api(votes=path), written(content), "/v1/votes")


DEEP = 100_000


@pytest.mark.parametrize(
    "body",
    [
        b"[" * DEEP, b'{"messages":' * DEEP, b'{"messages":[],"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
        b'{"tools":' + b"[" * DEEP + b"]" * DEEP + b',"messages":[]}', b'{"seed":' + b"9" * 100_000 + b"}",
        b'{"temperature":1e999,"messages":[]}', b'{"messages":[{"role":"user","content":"\\ud800"}]}',
        b'{"messages":[{"role":"user","content":"\xed\xa0\x80"}]}', b"\xef\xbb\xbf{}", b'{"a":1,"a":2}', b"\0" * 1000,
        b'{"messages":[' + b'{"role":"user","content":"x"},' * 20_000 + b'{"role":"user","content":"x"}]}',
        b'{"messages":[{"role":"user","content":[' + b'{"type":"text","text":"x"},' * 20_000 + b'{"type":"text"}]}]}',
        b'{"messages":[' + b'{"role":"user"},{"role":"assistant"},' * 20_000 + b'{"role":"user"}]}',
    ],
    ids=range(14),
)  # fmt: skip
def test_what_is_deep_long_or_no_text(body: bytes) -> None:
    never_a_bug(api(), body)


def test_it_answers_on() -> None:
    server = api(["Yes"])
    for body in (b"[" * DEEP, written(HELLO | {"seed": 10**400})):
        assert server.post(body).status_code == 400
    assert server.chat().status_code == 200
