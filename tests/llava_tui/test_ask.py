"""`llava ask` as a person or a script meets it, with a scripted engine in the model's place."""

from __future__ import annotations

import io
import json
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

import llava_engine
from llava_engine.contract import EngineLike
from llava_tui import cli
from tests.fakes.fake_engine import FakeEngine


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Llava = Callable[..., Done]


@pytest.fixture
def llava(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Llava:
    """Runs the command line in this process, with standard input as given."""

    def run(*arguments: str, engine: EngineLike | None = None, stdin: bytes = b"") -> Done:
        monkeypatch.setattr(llava_engine, "load", lambda model=None, **_: engine, raising=False)
        monkeypatch.setattr(sys, "argv", ["llava", *arguments])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as end:
            cli.main()
        out, err = capfd.readouterr()
        return Done(int(end.value.code or 0), out, err)

    return run


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "red.png"
    Image.new("RGB", (32, 20), "red").save(path)
    return path


def asked(engine: FakeEngine) -> Sequence[str]:
    [conversation] = engine.conversations
    return [message.text for message in conversation.messages]


def test_the_answer_is_all_that_is_printed(llava: Llava, picture: Path) -> None:
    engine = FakeEngine(["A red ", "thing."])
    assert llava("ask", "-i", str(picture), "-q", "What is this?", engine=engine) == Done(0, "A red thing.\n", "")
    assert asked(engine) == ["What is this?"]
    assert [opened.size for opened in engine.conversations[0].pictures] == [(32, 20)]


@pytest.mark.parametrize(
    ("arguments", "stdin"),
    [(["Why?"], b""), (["-q", "Why?"], b""), (["--query", "Why?"], b"ignored"), ([], b"Why?\n")],
    ids=["argument", "-q", "--query", "standard input"],
)
def test_the_question_may_come_from_anywhere(llava: Llava, arguments: list[str], stdin: bytes) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", *arguments, engine=engine, stdin=stdin).code == 0
    assert asked(engine) == ["Why?"]


def test_a_picture_may_come_from_standard_input(llava: Llava, picture: Path) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", "-i", "-", "What?", engine=engine, stdin=picture.read_bytes()).code == 0
    [opened] = engine.conversations[0].pictures
    assert opened.data == picture.read_bytes()


@pytest.mark.parametrize(("count", "question"), [(1, "Describe this picture."), (2, "Describe these pictures.")])
def test_a_picture_without_a_question_is_described(llava: Llava, picture: Path, count: int, question: str) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", *["-i", str(picture)] * count, engine=engine).code == 0
    assert asked(engine) == [question]


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["-q", "  "],
        ["one", "-q", "two"],
        ["-i", "-", "-i", "-"],
        ["Why?", "--temperature", "-1"],
        ["Why?", "--temperature", "nan"],
        ["Why?", "--max-new-tokens", "0"],
        ["Why?", "--nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_2_and_loads_nothing(llava: Llava, arguments: list[str]) -> None:
    engine = FakeEngine()
    done = llava("ask", *arguments, engine=engine)
    assert (done.code, done.out) == (2, "")
    assert "llava ask" in done.err
    assert not engine.conversations


def test_it_is_greedy_unless_told(llava: Llava) -> None:
    engine = FakeEngine(["So."])
    llava("ask", "Why?", engine=engine)
    llava("ask", "Why?", "--temperature", "0.5", "--seed", "7", "--max-new-tokens", "9", engine=engine)
    greedy, told = engine.samplings
    assert greedy.temperature == 0
    assert (told.temperature, told.seed, told.max_new_tokens) == (0.5, 7, 9)


def test_a_system_text_is_handed_on(llava: Llava) -> None:
    engine = FakeEngine(["So."])
    llava("ask", "Why?", engine=engine)
    llava("ask", "Why?", "--system", "Be brief.", engine=engine)
    assert [conversation.system for conversation in engine.conversations] == [None, "Be brief."]


def test_json_tells_what_it_took(llava: Llava, picture: Path) -> None:
    done = llava("ask", "-i", str(picture), "What?", "--json", engine=FakeEngine(["A ", "thing."]))
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    [image] = answer.pop("images")
    assert (image["name"], image["size"], image["tokens"]) == ("red.png", [32, 20], 64)
    assert set(answer) == {
        "answer",
        "model",
        "template",
        "prompt",
        "prompt_tokens",
        "cached_tokens",
        "completion_tokens",
        "token_ids",
        "finish_reason",
        "time_to_first_token_s",
        "tokens_per_second",
    }
    assert (answer["answer"], answer["finish_reason"], answer["completion_tokens"]) == ("A thing.", "stop", 2)


def test_stats_are_one_line_beside_the_answer(llava: Llava) -> None:
    done = llava("ask", "Why?", "--stats", engine=FakeEngine(["So."]))
    assert done.out == "So.\n"
    assert len(done.err.splitlines()) == 1
    assert "1 tokens" in done.err


def test_ctrl_c_keeps_what_was_said(llava: Llava) -> None:
    engine = FakeEngine(["Half ", threading.Event(), "never"])
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    assert llava("ask", "Why?", engine=engine) == Done(130, "Half \n", "")


def test_ctrl_c_in_json_says_cancelled(llava: Llava) -> None:
    engine = FakeEngine(["Half ", threading.Event(), "never"])
    interrupt = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    done = llava("ask", "Why?", "--json", engine=engine)
    assert (done.code, json.loads(done.out)["finish_reason"]) == (130, "cancelled")


def test_a_conversation_too_long_says_how_long(llava: Llava) -> None:
    done = llava("ask", "word " * 3000, engine=FakeEngine(["never"]))
    assert (done.code, done.out) == (1, "")
    assert "3,000 tokens" in done.err
    assert "2,048" in done.err


def test_a_bug_keeps_its_traceback_and_leaves_a_report(
    llava: Llava, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path))
    done = llava("ask", "Why?", engine=FakeEngine([ZeroDivisionError("a bug")]))
    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err
    assert str(tmp_path) in done.err.splitlines()[-1]
    assert any("ZeroDivisionError" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
