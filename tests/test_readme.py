"""What README.md shows is run as it is written there, in a folder with the pictures that it names."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from tests.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

# What can not be run in a test: full screens, downloads, hours of training, changes to the person's own shell.
NOT_HERE = re.compile(r"^pip |llava chat|://|--model|llava (train|eval) (?!--help)|--install-completion")
RUNNABLE = [line for line in SHELL_LINES if "llava" in line and not NOT_HERE.search(line)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures of the README."""
    for name, colour in (("photo.jpg", "red"), ("a.png", "green"), ("b.png", "blue")):
        image = Image.new("RGB", (200, 160), "white")
        ImageDraw.Draw(image).ellipse((60, 40, 140, 120), fill=colour)
        image.save(tmp_path / name)
    return tmp_path


@pytest.mark.parametrize("line", RUNNABLE)
def test_the_shell_lines_work(line: str, folder: Path) -> None:
    here = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=os.environ | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "LLAVA_HOME": str(folder / "home")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_the_python_works(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\S+(stop|length) \d+ [\d.]+", done.stdout)


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if line.startswith("llava")])
def test_every_option_that_is_shown_exists(line: str) -> None:
    words = shlex.split(line, comments=True)
    command = [word for word in words[1:] if not word.startswith("-")][: 2 if words[1] in {"train", "eval"} else 1]
    code = f"import sys; sys.argv = ['llava', *{command!r}, '--help']\nfrom llava_tui.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shown = set(re.findall(r"(?<!\w)--?\w[\w-]*", done.stdout))
    assert {word for word in words if word.startswith("-") and word != "-"} <= shown


def test_the_two_commands_stand_at_the_top() -> None:
    assert SHELL_LINES[:2] == [
        "pip install -c constraints.txt . && llava chat",
        "pip install -c constraints.txt -e '.[test]' && pytest",
    ]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^):#]+)\)", re.sub(r"<!--.*?-->", "", README, flags=re.DOTALL)))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_model_card_has_the_same_figures() -> None:
    between = re.compile(r"<!-- figures:begin -->\n(.*?)<!-- figures:end -->", re.DOTALL)
    card = (ROOT / "llava_engine" / "embedded" / "README.md").read_text(encoding="utf-8")
    assert between.findall(card) == between.findall(README)
    assert between.findall(README)[0].startswith("| family |")
