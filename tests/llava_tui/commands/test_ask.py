"""`llava ask` as a person or a script meets it, with a scripted engine in the model's place."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from llava_engine.pictures import opening
from tests.fakes.fake_engine import FAKE_CARD, FakeEngine
from tests.llava_tui.conftest import Done, Llava


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
    "line", ["-i {0} {1}", "{0} {1}", "-q What? {0} {1}", "What? {0} {1}", "{0} What? {1}", "-i {0} What? {1}"]
)
def test_a_word_that_is_a_picture_is_never_the_question(llava: Llava, tmp_path: Path, line: str) -> None:
    for name, colour in (("red.png", "red"), ("my blue one", "blue")):
        Image.new("RGB", (8, 8), colour).save(tmp_path / name, "PNG")
    engine = FakeEngine(["So."])
    words = [word.format(tmp_path / "red.png", tmp_path / "my blue one") for word in line.split()]
    assert llava("ask", *words, engine=engine).code == 0
    assert [opened.name for opened in engine.conversations[0].pictures] == ["red.png", "my blue one"]
    assert asked(engine) == ["What?" if "What?" in line else "Describe these pictures."]


def test_what_stands_after_query_is_a_question_whatever_it_looks_like(llava: Llava, picture: Path) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", str(picture), "-q", str(picture), engine=engine).code == 0
    assert asked(engine) == [str(picture)]


@pytest.mark.parametrize("word", ["none.png", "none.HEIC", "file:/none", "./none.webp", "data:image/png;base64,AAAA"])
def test_a_picture_that_can_not_be_opened_is_no_question_either(llava: Llava, word: str) -> None:
    engine = FakeEngine(["So."])
    done = llava("ask", word, engine=engine)
    assert (done.code, done.out) == (1, "")
    assert not engine.conversations


@pytest.mark.parametrize("question", ["What is in photo.png?", "Is it a .png", "http", "Is this https://example.org ?"])
def test_a_question_may_speak_of_pictures(llava: Llava, question: str) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", question, engine=engine).code == 0
    assert asked(engine) == [question]


@pytest.mark.parametrize("line", ["{0} -i {0}", "-i {0} -i {0} {0}"])
def test_pictures_whose_order_would_be_lost_are_refused(llava: Llava, picture: Path, line: str) -> None:
    done = llava("ask", *line.format(picture).split(), engine=FakeEngine())
    assert (done.code, done.out) == (2, "")
    assert "is a picture: give it with -i" in " ".join(done.err.split())


@pytest.mark.parametrize("line", ["-", "-q -", "Why? -", "-q Why? -"])
def test_standard_input_is_read_when_it_is_asked_for(llava: Llava, picture: Path, line: str) -> None:
    engine = FakeEngine(["So."])
    assert llava("ask", "-i", str(picture), *line.split(), engine=engine, stdin=b"In French.\n").code == 0
    assert asked(engine) == ["Why?\n\nIn French." if "Why?" in line else "In French."]


def test_more_pictures_than_fit_are_refused_before_one_is_opened(
    llava: Llava, picture: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(opening, "open_picture", None)
    done = llava("ask", *["-i", str(picture)] * 60)
    assert (done.code, done.out) == (1, "")
    assert "at least 3,840 tokens" in done.err  # 64 for each
    done = llava("ask", *["-i", str(picture)] * 10, "--context", "640")
    assert "at least 640 tokens" in done.err


def test_a_question_longer_than_any_model_holds_is_refused(llava: Llava) -> None:
    done = llava("ask", engine=FakeEngine(), stdin=b"word " * 2**20)
    assert (done.code, done.out) == (1, "")
    assert "4 MiB" in done.err


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["What", "is", "this?"],
        ["-i", "-", "-"],
        ["-i", "-", "-q", "-"],
        ["-q", "  "],
        ["one", "-q", "two"],
        ["-i", "-", "-i", "-"],
        ["Why?", "--temperature", "-1"],
        ["Why?", "--temperature", "nan"],
        ["Why?", "--temperature", "inf"],
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


def test_a_picture_where_the_question_should_be_is_said(llava: Llava, picture: Path) -> None:
    done = llava("ask", engine=FakeEngine(), stdin=picture.read_bytes())
    assert (done.code, done.out) == (1, "")
    assert "llava ask -i -" in done.err


def test_json_tells_what_it_took(llava: Llava, picture: Path) -> None:
    done = llava("ask", "-i", str(picture), "What?", "--json", engine=FakeEngine(["A ", "thing."]))
    assert (done.code, done.err) == (0, "")
    answer = json.loads(done.out)
    [image] = answer.pop("images")
    assert (image["name"], image["size"], image["tokens"]) == ("red.png", [32, 20], 64)
    assert set(answer) == {
        "answer",
        "model",
        "where",
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
    assert answer["where"] is None


def test_stats_are_one_line_beside_the_answer(llava: Llava) -> None:
    done = llava("ask", "Why?", "--stats", engine=FakeEngine(["So."]))
    assert done.out == "So.\n"
    assert len(done.err.splitlines()) == 1
    assert "1 tokens" in done.err


@pytest.mark.parametrize("how", [[], ["--json"]], ids=["text", "json"])
def test_what_is_odd_about_a_model_is_said_beside_the_answer(llava: Llava, how: list[str]) -> None:
    card = replace(
        FAKE_CARD, about=("A fake in no layout.",), notes=("Its config names\nmy\x1b]0;own\x07 base.", "More.")
    )
    done = llava("ask", "Why?", *how, engine=FakeEngine(["So."], card=card))
    assert (done.code, done.err.splitlines()) == (0, ["Its config names my base.", "More."])
    assert (json.loads(done.out)["answer"] if how else done.out.strip()) == "So."


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


def test_a_bug_keeps_its_traceback_and_leaves_a_report(llava: Llava, tmp_path: Path) -> None:
    done = llava("ask", "Why?", engine=FakeEngine([ZeroDivisionError("a bug")]))
    assert done.code == 1
    assert "ZeroDivisionError: a bug" in done.err
    assert str(tmp_path) in done.err.splitlines()[-1]
    assert any("ZeroDivisionError" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())
