"""`--engine` on the command line: asking a server, its errors, its models, and what does not go with it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fakes.far_server import FarServer, Said
from tests.fakes.recorded_streams import PROMPT_TOKENS, RECORDED, TEXT
from tests.llava_tui.conftest import Llava
from tests.llava_tui.stage import drawn_file

OURS = RECORDED["llava"]
KEY = "sk-very-secret-0123456789"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LLAVA_ENGINE_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_answer_and_nothing_else(llava: Llava, tmp_path: Path) -> None:
    with FarServer(OURS) as server:
        done = llava("ask", "-i", str(drawn_file(tmp_path)), "-q", "What?", "--engine", server.url)
        body = server.questions[0].body
    assert (done.code, done.out, done.err) == (0, f"{TEXT}\n", "")
    assert [part["type"] for part in body["messages"][0]["content"]] == ["image_url", "text"]


def test_json_and_stats_of_what_is_known(llava: Llava, tmp_path: Path) -> None:
    with FarServer(OURS) as server:
        picture = str(drawn_file(tmp_path))
        done = llava("ask", "-i", picture, "-q", "What?", "--engine", server.url, "--json", "--stats")
    answer = json.loads(done.out)
    assert (answer["answer"], answer["model"], answer["where"]) == (TEXT, OURS.model, server.where)
    assert answer["prompt_tokens"] == PROMPT_TOKENS
    assert answer["images"][0]["tokens"] is None
    assert f"{OURS.model} at {server.where}" in done.err
    with FarServer(RECORDED["llama-cpp-python"]) as server:
        done = llava("ask", "What?", "--engine", server.url, "--stats")
    assert "prompt" not in done.err


def test_a_named_model_of_several(llava: Llava) -> None:
    models = {"data": [{"id": "one"}, {"id": "two"}]}
    with FarServer(OURS, places={"/v1/models": models}) as server:
        done = llava("ask", "What?", "--engine", server.url)
        assert done.code == 1
        assert "one, two" in done.err and "--model" in done.err
        assert llava("ask", "What?", "--engine", server.url, "--model", "two").code == 0
        assert server.questions[0].body["model"] == "two"


def test_what_was_said_before_it_broke_off_is_printed(llava: Llava) -> None:
    with FarServer(OURS, Said([OURS.stream[:900]], cut=True)) as server:
        done = llava("ask", "What?", "--engine", server.url)
    assert done.code == 1
    assert done.out.startswith("A red")
    assert "broke off" in done.err
    assert "Traceback" not in done.err


def test_the_key_is_in_no_line(llava: Llava, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    stream = b'data: {"error":{"message":"bad key ' + KEY.encode() + b'"}}\n\n'
    with FarServer(OURS, Said([OURS.stream]), Said([stream])) as server:
        for _ in range(2):
            done = llava("ask", "?", "--engine", server.url, "--engine-key-file", str(tmp_path / "key"), "--json")
            assert KEY not in done.out + done.err
        assert server.questions[0].headers["authorization"] == f"Bearer {KEY}"
    kept = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "key"]
    assert not any(KEY.encode() in data for data in kept)


@pytest.mark.parametrize(
    ("more", "flag"),
    [
        (["--quantize", "int8"], "--quantize"),
        (["--device", "cpu"], "--device"),
        (["--base", "b"], "--base"),
        (["--parity"], "--parity"),
    ],
)
def test_what_is_for_models_of_this_machine_is_refused_by_name(llava: Llava, more: list[str], flag: str) -> None:
    with FarServer(OURS) as server:
        done = llava("ask", "?", "--engine", server.url, *more)
        assert server.requests == []
    assert done.code == 2
    assert flag in done.err and "--engine" in done.err


def test_the_models_of_a_server_are_listed(llava: Llava) -> None:
    rows = [
        {"id": "maker/see\x1b[31mr", "context_length": 8000, "architecture": {"input_modalities": ["text", "image"]}},
        {"id": "blind", "architecture": {"input_modalities": ["text"]}},
        {"id": "plain"},
    ]
    with FarServer(OURS, places={"/v1/models": {"data": rows}}) as server:
        done = llava("models", "list", "--engine", server.url)
        found = json.loads(llava("models", "list", "--engine", server.url, "--json").out)
    assert done.code == 0
    assert "maker/seer  8,000 tokens, sees pictures" in done.out
    assert "blind  can not see" in done.out
    assert "\x1b" not in done.out
    assert found["where"] == server.where
    assert [one["name"] for one in found["models"]] == ["maker/seer", "blind", "plain"]
    assert [one["sees"] for one in found["models"]] == [True, False, None]


def test_the_doctor_says_that_there_is_a_key_and_not_which(llava: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_ENGINE_KEY", KEY)
    for how in ([], ["--json"]):
        done = llava("doctor", *how)
        assert "LLAVA_ENGINE_KEY" in done.out
        assert KEY not in done.out
