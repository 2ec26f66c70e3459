"""`llava eval sets` names commands that exist; the original's flags are taken, and called by their names of today."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from llava_engine.errors import UsageError
from training.evaluation.cli import app
from training.evaluation.old_names import in_our_words
from training.evaluation.score_cli import SETS as SCORED
from training.evaluation.sets import SETS

COMMANDS = [command for one in SETS for command in one.commands]


def parsed(words: list[str]) -> dict[str, Any]:
    """The options of the command that these words mean, or an exception."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    found: dict[str, Any] = command.make_context("it", words).params
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_that_is_named_exists_and_is_whole(command: str) -> None:
    program, group, *words = shlex.split(command)
    assert (program, group) == ("llava", "eval")
    parsed(words)


def test_a_command_that_lacks_something_would_be_found() -> None:
    for wrong in (["score", "pope", "answers.jsonl"], ["sets", "--strange"], ["strange"]):
        with pytest.raises(Exception, match=r"truth|strange"):
            parsed(wrong)


def test_every_set_that_can_be_scored_is_told_of_as_text_and_as_json() -> None:
    found = json.loads(CliRunner().invoke(app, ["sets", "--json"]).stdout)
    assert {*SCORED, "scienceqa", "mmvet", "llava-bench", "pictures"} == {one["name"] for one in found}
    text = CliRunner().invoke(app, ["sets"]).stdout
    assert all(one[field] in text for one in found for field in ("measures", "source", "needs"))
    assert all(command in text for command in COMMANDS)


ORIGINAL = (
    "--model-path liuhaotian/llava-v1.5-13b --model-base=B --question-file q.jsonl --image-folder photos "
    "--answers-file answers/2_8.jsonl --num-chunks 8 --chunk-idx 1 --temperature 0 --conv-mode vicuna_v1"
)


def test_the_originals_flags_are_ours_by_other_names(tmp_path: Path) -> None:
    found = parsed(["vqa", *shlex.split(ORIGINAL)])
    wanted = {
        "questions": "q.jsonl", "images": "photos", "out": "answers/2_8.jsonl", "shard": "2/8",
        "model": "liuhaotian/llava-v1.5-13b", "base": "B", "template": "vicuna_v1", "temperature": "0.0",
    }  # fmt: skip
    assert {name: str(found[name]) for name in wanted} == wanted
    said = CliRunner().invoke(app, ["vqa", "--question-file", str(tmp_path / "none"), "--image-folder", "x", "-o", "y"])
    assert said.stderr.startswith(f"Taken as: root vqa {tmp_path / 'none'} --images x -o y\n")


def test_our_own_words_stay_as_they_are() -> None:
    ours = ["q.jsonl", "--images", "a", "-o", "b", "--shard", "1/2", "--template", "v1"]
    assert in_our_words(ours) == ours


@pytest.mark.parametrize("words", [["--num-chunks", "8"], ["--chunk-idx", "0"], ["--num-chunks=x", "--chunk-idx=0"]])
def test_half_a_chunk_is_refused(words: list[str]) -> None:
    with pytest.raises(UsageError, match="go together"):
        in_our_words(words)
