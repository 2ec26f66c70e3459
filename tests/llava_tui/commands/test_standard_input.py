"""Whose standard input it is, with real pipes, files, shells and wrappers; `probe` stands for `llava ask`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from llava_tui.commands import standard_input
from tests.source import ROOT

PROBE = "from llava_tui.commands import standard_input; print(repr(standard_input.read_if_brought()), flush=True)"
WRAPPER = "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)"
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="whose input it is can be seen on Linux only")


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with `probe`, `wrapper` and a list of three names."""
    for name, code in (("probe", PROBE), ("wrapper", WRAPPER)):
        (tmp_path / name).write_text(f"#!{sys.executable}\n{code}\n")
        (tmp_path / name).chmod(0o755)
    (tmp_path / "handing-on").write_text('#!/bin/sh\n./probe "$@"\nexit $?\n')
    (tmp_path / "handing-on").chmod(0o755)
    (tmp_path / "list").write_text("one\ntwo\nthree\n")
    (tmp_path / "question").write_text("How many?\n")
    return tmp_path


def shell(room: Path, line: str) -> list[str]:
    done = subprocess.run(
        ["bash", "-c", line],
        cwd=room,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize(
    "line",
    [
        "echo 'How many?' | ./probe ask",
        "./probe ask < question; true",
        "echo 'How many?' | ./wrapper ./probe ask -i 'a b.png'",
        "echo 'How many?' | ./wrapper ./wrapper ./probe ask",
        "echo 'How many?' | ./handing-on ask -i a.png",
        "(sleep 0.5; echo 'How many?') | ./probe ask",
    ],
)
@on_linux
def test_what_is_brought_to_the_command_alone_is_read(room: Path, line: str) -> None:
    assert shell(room, line) == ["'How many?\\n'"]


@pytest.mark.parametrize(
    "line",
    [
        "while read f; do ./probe ask; done < list",
        "cat list | while read f; do ./probe ask; done",
        "cat list | while read f; do ./wrapper ./probe ask -i $f; done",
        "while read f; do (cd . && ./probe ask; true); done < list",
        "while read f; do said=$(./probe ask -i $f); echo $said; done < list",
        "printf './probe ask\\n./probe ask\\n./probe ask\\n' | bash",
    ],
)
@on_linux
def test_what_a_shell_around_it_reads_is_left_to_it(room: Path, line: str) -> None:
    assert shell(room, line) == ["''"] * 3


def test_nothing_is_read_from_nothing(room: Path) -> None:
    assert shell(room, "./probe ask < /dev/null; ./probe ask <&-") == ["''", "''"]


def test_a_silent_pipe_is_given_up(room: Path) -> None:
    reading, writing = os.pipe()
    try:
        begun = time.monotonic()
        done = subprocess.run(
            [sys.executable, room / "probe", "ask"],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdin=reading,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.stdout == "''\n"
        assert time.monotonic() - begun >= standard_input.PATIENCE_S
    finally:
        os.close(reading)
        os.close(writing)


def test_an_endless_one_is_refused_in_little_memory(room: Path) -> None:
    limited = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({2**30},) * 2)\n"
    code = "from llava_tui.commands import standard_input\ntry: standard_input.read()\nexcept Exception as error: "
    (room / "endless").write_text(limited + code + "print(type(error).__name__)")
    assert shell(room, f"{sys.executable} endless < /dev/zero") == ["ConversationError"]
    assert shell(room, f"yes | {sys.executable} endless") == ["ConversationError"]
