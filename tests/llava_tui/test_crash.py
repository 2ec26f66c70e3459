"""A crash file says what broke and where, and nothing of what a person said."""

from __future__ import annotations

import importlib
import json
import os
import platform
import re
import stat
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer

from llava_engine.pictures.opening import open_picture
from llava_tui.crash import write_report

SECRET = "my grandmother's photo, it's private"


def broken(said: str) -> None:
    kept = said.upper()
    raise ValueError(f"can not parse {said!r} of length {len(kept)}")


def caught(said: str) -> Exception:
    try:
        try:
            broken(said)
        except ValueError as error:
            raise RuntimeError("no answer") from error
    except RuntimeError as error:
        return error
    raise AssertionError


def test_a_report_says_what_broke_where_and_with_which_versions(tmp_path: Path) -> None:
    path = write_report(caught(SECRET), tmp_path)
    assert path is not None
    report = path.read_text(encoding="utf-8")
    assert "builtins.RuntimeError: no answer" in report
    assert "builtins.ValueError: can not parse" in report
    assert "of length 36" in report
    assert "in broken" in report
    assert Path(__file__).name in report
    assert platform.python_version() in report
    assert "textual " in report


def test_nothing_that_was_said_is_in_it(tmp_path: Path) -> None:
    path = write_report(caught(SECRET), tmp_path)
    assert path is not None
    report = path.read_text(encoding="utf-8").lower()
    assert not any(part in report for part in ("grandmother", "photo, it", "s private"))


def test_a_group_of_errors_tells_each(tmp_path: Path) -> None:
    path = write_report(ExceptionGroup("tasks", [caught_from(lambda: {}["x"]), caught("hello there, you")]), tmp_path)
    assert path is not None
    report = path.read_text(encoding="utf-8")
    assert "builtins.KeyError: …" in report
    assert "RuntimeError: no answer" in report


def caught_from(does: Callable[[], object]) -> Exception:
    try:
        does()
    except Exception as error:
        return error
    raise AssertionError


def raises(error: type[Exception], message: str) -> None:
    raise error(message)


def raises_from_two_lines(said: str) -> None:
    raise ValueError(
        f"{said} is no answer, "
        f"nor is {said.title()}."
    )  # fmt: skip


WORDS = "dear Grandmother at Rosenweg 5 ring 017055512"

LEAKS: list[Callable[[], object]] = [
    lambda: int(WORDS),
    lambda: {}[WORDS],  # type: ignore[index]
    lambda: raises(ValueError, WORDS),
    lambda: raises(RuntimeError, f"said: {WORDS}"),
    lambda: raises_from_two_lines(WORDS),
    lambda: json.loads('{"a": ' + WORDS),
    lambda: Path(f"/home/{WORDS}/photo.png").read_bytes(),
    lambda: importlib.import_module(WORDS),
    lambda: getattr(object(), WORDS),
    lambda: (WORDS + "é").encode("ascii"),
    lambda: b"\xff".decode() + WORDS,
    lambda: urllib.request.urlopen(f"nothing://{WORDS.replace(' ', '.')}/"),
    lambda: [][WORDS],  # type: ignore[call-overload]
    lambda: compile(WORDS, WORDS, "eval"),
    lambda: torch.load(WORDS, weights_only=True),
    lambda: torch.zeros(2).reshape(3),
    lambda: Tokenizer.from_str(WORDS),
    lambda: Image.open(WORDS),
    lambda: open_picture(f"https://{WORDS.replace(' ', '.')}:99999/x"),
]


@pytest.mark.parametrize("leak", LEAKS, ids=range(len(LEAKS)))
def test_no_word_of_what_was_said_read_or_fetched_is_in_it(tmp_path: Path, leak: Callable[[], object]) -> None:
    path = write_report(caught_from(leak), tmp_path)
    assert path is not None
    report = path.read_text(encoding="utf-8")
    assert not [word for word in WORDS.lower().split() if len(word) > 4 and word in report.lower()]
    assert str(Path.home()) not in report and str(tmp_path) not in report
    assert str(Path(__file__).parent) not in report  # files by their place in the project, not on this disk
    assert re.search(r"^[\w.]+(Error|Exception)\b.*: ", report, re.MULTILINE)


def test_what_stands_in_the_code_is_kept(tmp_path: Path) -> None:
    def message(does: Callable[[], object]) -> str:
        path = write_report(caught_from(does), tmp_path)
        assert path is not None
        return path.read_text(encoding="utf-8").splitlines()[-1]

    assert message(lambda: raises_from_two_lines("x")) == "builtins.ValueError: … is no answer, nor is …."
    assert message(lambda: Path("/none/x").read_bytes()) == (
        "builtins.FileNotFoundError: ENOENT, No such file or directory"
    )
    assert message(lambda: json.loads("x")) == "json.decoder.JSONDecodeError: Expecting value…"
    assert message(lambda: object().lost) == "builtins.AttributeError: …lost…"  # type: ignore[attr-defined]
    assert message(lambda: len(5)) == "builtins.TypeError: object of type 'int' has no len()"  # type: ignore[arg-type]


def test_all_that_it_makes_is_for_this_person_alone(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        path = write_report(RuntimeError("x"), tmp_path / "home" / "state")
    finally:
        os.umask(before)
    assert path is not None
    for folder in (path.parent, tmp_path / "home" / "state", tmp_path / "home"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_reports_do_not_overwrite_each_other_and_only_the_latest_stay(tmp_path: Path) -> None:
    paths = [write_report(RuntimeError(str(number)), tmp_path) for number in range(30)]
    assert len(set(paths)) == 30
    assert set((tmp_path / "crashes").iterdir()) == set(paths[10:])


def test_where_nothing_can_be_written_there_is_no_report_and_no_other_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_report(RuntimeError("x"), tmp_path / "file") is None
