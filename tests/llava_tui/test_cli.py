"""The `llava` command as a whole: its help, its exit codes, its completion."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from llava_tui.cli import LlavaGroup
from tests.source import ROOT


def llava(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, in a pipe, with nothing on standard input."""
    code = f"import sys; sys.argv = ['llava', *{list(arguments)!r}]\nfrom llava_tui.cli import main\nmain()"
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=os.environ | environment,
        timeout=120,
    )


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command_and_shows_examples(arguments: tuple[str, ...]) -> None:
    done = llava(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    for name, mount in LlavaGroup.mounts.items():
        assert f"  {name}" in done.stdout
        assert f"{mount.section}:" in done.stdout
    assert "llava ask -i photo.jpg" in done.stdout
    assert "\x1b" not in done.stdout


@pytest.mark.parametrize("name", LlavaGroup.mounts)
def test_every_command_explains_itself(name: str) -> None:
    done = llava(name, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"Usage: llava {name}" in done.stdout


@pytest.mark.parametrize(
    "group", ["train", "eval", "eval scienceqa", "eval mmvet", "eval mmbench", "eval grade", "data", "models", "delta"]
)
def test_a_list_of_commands_says_what_each_does_whole(group: str) -> None:
    """On a terminal of 80 columns; typer cuts a line that is longer, and "..." tells nobody anything."""
    done = llava(*group.split(), "--help", COLUMNS="80")
    listed = done.stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    assert listed
    assert "..." not in listed


@pytest.mark.parametrize("name", ["train", "data", "models", "delta"])
def test_where_the_commands_of_a_group_are_named_none_is_left_out(name: str) -> None:
    listed = llava(name, "--help").stdout.partition("Commands:\n")[2].partition("\n\n")[0]
    commands = {line.split()[0] for line in listed.splitlines() if line[:3].strip()}
    assert commands == set(LlavaGroup.mounts[name].help.rpartition(": ")[2].rstrip(".").split(", "))


def test_the_layouts_of_convert_are_named() -> None:
    named = LlavaGroup.mounts["convert"].help.rpartition(": ")[2].rstrip(".").split(", ")
    assert f"<{'|'.join(named)}>" in llava("convert", "--help").stdout


def test_version() -> None:
    assert llava("--version").stdout == f"llava {version('llava')}\n"


@pytest.mark.parametrize("arguments", [("aks",), ("--nonsense",), ("ask", "--nonsense")], ids=" ".join)
def test_a_wrong_command_line_is_2(arguments: tuple[str, ...]) -> None:
    done = llava(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr


def test_a_typing_slip_is_understood() -> None:
    assert "ask" in llava("aks").stderr.splitlines()[-1]


def test_chat_without_a_terminal_says_what_to_use() -> None:
    done = llava("chat")
    assert (done.returncode, done.stdout) == (1, "")
    assert "llava ask" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("llava do", "doctor"), ("llava ask --temper", "--temperature"), ("llava chat --conti", "--continue")],
)
def test_the_shell_completes(typed: str, offered: str) -> None:
    done = llava(_LLAVA_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1))
    assert done.stdout.split() == [offered]


@pytest.mark.parametrize(
    ("closed", "code", "out", "err"),
    [
        ("<&-", 1, "", "standard input is empty"),
        (">&-", 1, "", "Standard output is closed"),
        ("2>&-", 1, "", ""),
        ("<&- 2>&-", 1, "", ""),
        ("<&- >&- 2>&-", 1, "", ""),
    ],
)
def test_closed_streams_are_no_bug(closed: str, code: int, out: str, err: str, tmp_path: Path) -> None:
    """And what is opened then never takes their numbers: a library's word on number 2 must not land in a file."""
    program = (
        "import os, sys; sys.argv = ['llava', 'ask', '-i', '-', 'x']\n"
        "import atexit\nfrom llava_tui.cli import main\n"
        "atexit.register(lambda: os.open('probe', os.O_CREAT | os.O_WRONLY) > 2 or os.mkdir('taken'))\nmain()"
    )
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(ROOT), "LLAVA_HOME": str(tmp_path / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (code, out)
    assert err in done.stderr and "Traceback" not in done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["probe"]  # no crash file either


def test_a_missing_package_is_one_line_with_its_pip_command() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"  # as if it were not installed
        "import llava_tui.commands.doctor, llava_tui.cli\n"
        "def examine(): import transformers\n"
        "llava_tui.commands.doctor.examine = examine\n"
        "sys.argv = ['llava', 'doctor']; llava_tui.cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "pip install -c constraints.txt '.[hf]'" in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_disk_is_said_in_a_line_or_two() -> None:
    code = "import sys; sys.argv = ['llava', '--help']\nfrom llava_tui.cli import main\nmain()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", code], stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert done.returncode == 1
    assert "No space left" in done.stderr
    assert len(done.stderr.splitlines()) <= 3


def test_a_reader_who_goes_away_is_no_error() -> None:
    code = "import sys; sys.argv = ['llava', '--help']\nfrom llava_tui.cli import main\nmain()"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        process.stdout.close()
        assert process.stderr.read() == b""
