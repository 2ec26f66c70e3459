"""Where files are kept."""

from __future__ import annotations

from pathlib import Path

from llava_tui.paths import Paths, user_paths


def test_one_folder_may_hold_all(tmp_path: Path) -> None:
    assert user_paths({"LLAVA_HOME": str(tmp_path)}) == Paths(
        data=tmp_path / "data", config=tmp_path / "config", state=tmp_path / "state", cache=tmp_path / "cache"
    )
    assert list(tmp_path.iterdir()) == []


def test_otherwise_they_are_this_users_own() -> None:
    paths = user_paths({})
    assert all(path.is_absolute() and "llava" in path.parts for path in vars(paths).values())


def test_home_may_be_written_with_a_tilde() -> None:
    assert user_paths({"LLAVA_HOME": "~/x"}).data == Path.home() / "x" / "data"
