"""A crash file says what broke and where, and nothing of what a person said."""

from __future__ import annotations

import platform
from pathlib import Path

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
    path = write_report(ExceptionGroup("tasks", [KeyError("x"), caught("hello there, you")]), tmp_path)
    assert path is not None
    report = path.read_text(encoding="utf-8")
    assert "KeyError: 'x'" in report
    assert "RuntimeError: no answer" in report


def test_reports_do_not_overwrite_each_other_and_only_the_latest_stay(tmp_path: Path) -> None:
    paths = [write_report(RuntimeError(str(number)), tmp_path) for number in range(30)]
    assert len(set(paths)) == 30
    left = [path.read_text(encoding="utf-8") for path in (tmp_path / "crashes").iterdir()]
    assert len(left) == 20
    assert any("RuntimeError: 29" in report for report in left)


def test_where_nothing_can_be_written_there_is_no_report_and_no_other_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert write_report(RuntimeError("x"), tmp_path / "file") is None
