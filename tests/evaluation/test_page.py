"""Every command that docs/evaluation.md shows exists, with the options that it is shown with."""

from __future__ import annotations

import re
import shlex

import pytest
from typer.testing import CliRunner

from llava_tui.cli import app
from tests.source import ROOT

PAGE = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
LINES = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("llava ")]


def test_the_page_shows_commands() -> None:
    assert COMMANDS


@pytest.mark.parametrize("line", COMMANDS)
def test_a_command_is_there_with_its_options(line: str) -> None:
    words = shlex.split(line, comments=True)[1:]
    options = [word for word in words if word.startswith("-")]
    command = words[: words.index(options[0])] if options else words
    result = CliRunner().invoke(app, [*command, "--help"])
    assert result.exit_code == 0, result.output
    assert set(options) <= set(re.findall(r"(?<!\w)--?\w[\w-]*", result.stdout))
