"""A folder appears when it is whole, goes on where it was cut off, and never with other inputs."""

from __future__ import annotations

from collections import namedtuple
from pathlib import Path

import pytest

from llava_engine.errors import StorageError
from llava_engine.files import drafts
from llava_engine.files.drafts import check_space, draft_folder, stamps, unfinished


def cut_off(target: Path, made_from: dict[str, object], file: str = "model-1.safetensors") -> None:
    with pytest.raises(KeyboardInterrupt), draft_folder(target, made_from, resume=False) as draft:
        (draft / file).write_text("whole")
        raise KeyboardInterrupt


def test_it_appears_when_it_is_whole_and_holds_nothing_of_ours(tmp_path: Path) -> None:
    with draft_folder(tmp_path / "deep" / "made", {"a": 1}, resume=False) as draft:
        (draft / "model.safetensors").write_text("whole")
        assert not (tmp_path / "deep" / "made").exists()
    assert [file.name for file in (tmp_path / "deep").rglob("*")] == ["made", "model.safetensors"]


def test_what_was_cut_off_goes_on(tmp_path: Path) -> None:
    cut_off(tmp_path / "made", {"a": (1, 2)})
    assert not (tmp_path / "made").exists()
    with pytest.raises(StorageError, match="--resume"), draft_folder(tmp_path / "made", {"a": (1, 2)}, resume=False):
        pass
    with draft_folder(tmp_path / "made", {"a": (1, 2)}, resume=True) as draft:
        assert (draft / "model-1.safetensors").read_text() == "whole"
    assert (tmp_path / "made" / "model-1.safetensors").exists()


def test_nothing_stays_of_a_draft_without_a_whole_file(tmp_path: Path) -> None:
    cut_off(tmp_path / "made", {}, "model-1.safetensors.part")
    assert not list(tmp_path.iterdir())


def test_nobody_goes_on_with_other_inputs(tmp_path: Path) -> None:
    source = tmp_path / "source.bin"
    source.write_text("one")
    cut_off(tmp_path / "made", stamps([source]))
    source.write_text("other")
    with (
        pytest.raises(StorageError, match="other files"),
        draft_folder(tmp_path / "made", stamps([source]), resume=True),
    ):
        pass
    assert (unfinished(tmp_path / "made") / "model-1.safetensors").exists()


def test_a_taken_place_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    (tmp_path / "link").symlink_to(tmp_path / "full")
    for taken in ("full", "file", "dangling", "link"):
        with pytest.raises(StorageError, match="there already"), draft_folder(tmp_path / taken, {}, resume=True):
            pass
    assert (tmp_path / "full" / "thesis.txt").read_text() == "mine"
    assert not list(tmp_path.glob(".*"))


def test_an_empty_folder_may_be_filled(tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    with draft_folder(tmp_path / "made", {}, resume=False) as draft:
        (draft / "model.safetensors").write_text("whole")
    assert (tmp_path / "made" / "model.safetensors").exists()


def test_a_disk_that_is_too_small_is_said_with_both_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(drafts.shutil, "disk_usage", lambda _: usage(10**12, 0, 3 * 10**9))
    check_space(tmp_path / "deep" / "made", 2 * 10**9)
    with pytest.raises(StorageError, match=r"26\.1 GB.*3\.0 GB"):
        check_space(tmp_path / "deep" / "made", 26 * 10**9)
    assert not list(tmp_path.iterdir())


def test_a_place_that_may_not_be_written_to_is_an_error_of_ours(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StorageError, match="made"), draft_folder(tmp_path / "file" / "made", {}, resume=False):
        pass
