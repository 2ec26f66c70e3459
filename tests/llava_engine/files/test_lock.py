"""One process at a time: another one is told who is at work, and a killed one stops nobody."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from llava_engine.errors import StorageError
from llava_engine.files import drafts, lock

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals of POSIX")

# Writes half of a file, says so, and writes the rest when a line comes in.
WRITER = """
import sys
from pathlib import Path
from llava_engine.errors import StorageError
from llava_engine.files.drafts import draft_folder
try:
    with draft_folder(Path(sys.argv[1]), {"of": "it"}, resume=True) as draft:
        with (draft / "model.safetensors").open("w") as file:
            file.write("one ")
            file.flush()
            print("half", flush=True)
            sys.stdin.readline()
            file.write("two")
except StorageError as error:
    print(error.cause, flush=True)
"""


@contextmanager
def writer(target: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that has written half of the draft of `target`."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "half\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def begin(target: Path) -> None:
    with drafts.draft_folder(target, {"of": "it"}, resume=True) as draft:
        (draft / "model.safetensors").write_text("mine")


def test_a_second_one_is_told_who_works_there_while_the_first_is_stopped(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with writer(target) as first:
        first.send_signal(signal.SIGSTOP)
        with pytest.raises(StorageError) as caught:
            begin(target)
        said = re.fullmatch(
            rf"{re.escape(str(target))} is being written by process {first.pid}, "
            r"since (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d)\.",
            caught.value.cause,
        )
        assert said and abs(time.mktime(time.strptime(said[1], "%Y-%m-%d %H:%M:%S")) - time.time()) < 600
        first.send_signal(signal.SIGCONT)
        out, _ = first.communicate("on\n")
        assert (first.returncode, out) == (0, "")
    assert (target / "model.safetensors").read_text() == "one two"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_a_killed_one_stops_nobody(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with writer(target) as first:
        first.kill()
        first.wait()
        begin(target)
    assert (target / "model.safetensors").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["made"]


def test_whoever_comes_when_it_is_done_finds_the_place_taken(tmp_path: Path) -> None:
    target = tmp_path / "made"
    with writer(target) as first:
        first.communicate("on\n")
    with pytest.raises(StorageError, match="is there already"):
        begin(target)


def test_a_name_that_was_taken_away_after_it_was_opened_is_opened_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The holder ends, and removes its file, between another one's opening and its locking."""
    file = tmp_path / "lock"
    locks = []

    def late(descriptor: int) -> bool:
        if not locks:
            file.unlink()
        locks.append(os.fstat(descriptor).st_ino)
        return lock_now(descriptor)

    lock_now = lock.try_lock
    monkeypatch.setattr(lock, "try_lock", late)
    with lock.held(file, tmp_path):
        assert file.stat().st_ino == locks[-1] and len(locks) == 2
    assert not file.exists()


def test_a_note_that_nobody_can_read_still_says_that_it_is_held(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    with lock.held(file, tmp_path):
        file.write_text('{"pid": []')
        with pytest.raises(StorageError, match="is being written by another process"), lock.held(file, tmp_path):
            pass
