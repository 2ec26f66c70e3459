"""A file or folder of the user's appears whole under its name or not at all, whoever writes it and however it fails."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llava_engine.errors import StorageError
from llava_engine.files.atomic import replaced_file, replaced_folder, storage_errors, write_bytes, write_text

LIMITED = """
import resource, sys
from pathlib import Path
import torch
from safetensors.torch import save_file
from llava_engine.errors import StorageError
from llava_engine.files.atomic import replaced_file

folder = Path(sys.argv[1])
zeros = {"zeros": torch.zeros(100_000)}

def through_a_file(part):
    with part.open("wb") as file:
        torch.save(zeros, file)

writers = {
    "torch": lambda part: torch.save(zeros, part),
    "torch-file": through_a_file,
    "safetensors": lambda part: save_file(zeros, part),
    "bytes": lambda part: part.write_bytes(bytes(400_000)),
}
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
for name, write in writers.items():
    try:
        with replaced_file(folder / name) as part:
            write(part)
    except StorageError as error:
        print(name, "|", error.cause)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="a limit of the file's size stands for the full disk")
def test_a_disk_that_takes_no_more_is_one_clear_error_for_every_writer(tmp_path: Path) -> None:
    names = ("torch", "torch-file", "safetensors", "bytes")
    for name in names:
        (tmp_path / name).write_text("before")
    run = subprocess.run([sys.executable, "-c", LIMITED, str(tmp_path)], capture_output=True, text=True, check=True)
    said = dict(line.split(" | ") for line in run.stdout.splitlines())
    assert list(said) == list(names)
    assert all(cause.startswith(f"{tmp_path / name} can not be written: ") for name, cause in said.items())
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == dict.fromkeys(names, "before")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    file = tmp_path / "settings.json"
    write_text(file, "one\nline ☃\n")
    assert file.read_bytes() == "one\nline ☃\n".encode()
    write_bytes(file, b"\x00\xff")
    assert file.read_bytes() == b"\x00\xff"
    assert [path.name for path in tmp_path.iterdir()] == ["settings.json"]


@pytest.mark.skipif(sys.platform == "win32", reason="permissions of POSIX")
def test_permissions_follow_the_umask_and_the_wish(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "shared", "")
        write_text(tmp_path / "private", "", 0o600)
        with replaced_file(tmp_path / "by-others") as part:  # as safetensors does: a file of its own, put in place
            other = tmp_path / "other"
            other.touch(mode=0o600)
            other.replace(part)
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
    assert modes == {"shared": 0o640, "private": 0o600, "by-others": 0o640}


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RuntimeError("shapes differ"), OSError(28, "x")], ids=repr)
def test_what_was_there_stays_when_writing_ends_badly(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "file").write_text("before")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "inside").write_text("before")
    expected: type[BaseException] = StorageError if isinstance(error, OSError) else type(error)
    with pytest.raises(expected), replaced_file(tmp_path / "file") as part:
        part.write_text("half")
        raise error
    with pytest.raises(expected), replaced_folder(tmp_path / "folder") as draft:
        (draft / "inside").write_text("half")
        raise error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert (tmp_path / "file").read_text() == (tmp_path / "folder" / "inside").read_text() == "before"


def test_a_place_without_its_folder_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"gone/file can not be written: No such file"):
        write_text(tmp_path / "gone" / "file", "")


@pytest.mark.parametrize(
    "raised",
    [lambda: RuntimeError("expected 3 dimensions"), lambda: ValueError("I/O operation"), lambda: KeyError("disk")],
    ids=["torch's", "value", "key"],
)
def test_bugs_are_not_taken_for_storage_errors(tmp_path: Path, raised: Callable[[], Exception]) -> None:
    error = raised()
    with pytest.raises(type(error)), storage_errors(tmp_path):
        raise error


def test_a_full_disk_says_to_free_space_and_a_forbidden_one_does_not(tmp_path: Path) -> None:
    remedies = {}
    for number in (28, 13):
        with pytest.raises(StorageError) as caught, storage_errors(tmp_path):
            raise OSError(number, os.strerror(number))
        remedies[number] = caught.value.remedy
    assert "Free some space" in remedies[28] and "space" not in remedies[13]


def test_what_a_killed_process_left_goes_a_day_later(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".state.12-3.part", ".state.13-4.part", ".state2.12-3.part"))
    for left in (old, young, other):
        left.touch()
    for left in (old, other):
        os.utime(left, (time.time() - 2 * 86400,) * 2)
    write_text(tmp_path / "state", "")
    assert not old.exists() and young.exists() and other.exists()
