"""A stranger's tokenizer.json may be a program: it costs little, ends nothing, is one error or a working tokenizer."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from tests.llava_engine.conversation.tiny_tokenizers import byte_level_spec, llama_spec


def replace(pattern: str, content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": content}


def doubling(count: int) -> dict[str, Any]:
    steps = [replace("a", "aa") for _ in range(count)]
    return llama_spec(legacy=True) | {"normalizer": {"type": "Sequence", "normalizers": steps}}


def nested(count: int) -> dict[str, Any]:
    step: dict[str, Any] = replace(" ", "▁")
    for _ in range(count):
        step = {"type": "Sequence", "normalizers": [step, step]}
    return llama_spec(legacy=True) | {"normalizer": step}


def split(pattern: str) -> dict[str, Any]:
    step = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    return byte_level_spec() | {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [step, byte_level_spec()["pre_tokenizer"]]}
    }


def written(folder: Path, spec: dict[str, Any]) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    return folder


@pytest.mark.parametrize(
    "spec",
    [doubling(8), doubling(24), nested(12), split("(a+)+$"), split("(?:a|aa)+!"), split("(((("),
     split("(?=(a+))*b")],
    ids=["8 doublings", "24 doublings", "nested", "backtracks", "backtracks twice", "no pattern",
         "looks ahead"],
)  # fmt: skip
def test_it_is_refused_or_reads(tmp_path: Path, spec: dict[str, Any]) -> None:
    code = (
        "import sys; from llava_engine.conversation.tokenizer import Tokenizer\n"
        "from llava_engine.errors import ModelError\n"
        "try: Tokenizer.from_folder(sys.argv[1]).encode('a' * 30, first=True)\n"
        "except ModelError as error: print(error.cause)\n"
    )
    command = [sys.executable, "-c", code, str(written(tmp_path, spec))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=40)  # it does not hang
    assert done.returncode == 0, done.stderr[-2000:]
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 2**20  # KiB: no child came near to 4.5 GB
    if done.stdout:
        assert "tokenizer.json is not a tokenizer that we can read" in done.stdout


def test_steps_that_lengthen_a_text_without_end_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"too much time or memory|too long"):
        Tokenizer.from_folder(written(tmp_path, doubling(40)))


@pytest.mark.parametrize("pattern", [r"\p{N}{1,2}|\p{L}+", r"\s+|\S+"])
def test_a_pattern_that_we_do_not_know_and_that_does_no_harm_is_read(tmp_path: Path, pattern: str) -> None:
    tokenizer = Tokenizer.from_folder(written(tmp_path, split(pattern)))
    assert tokenizer.decode(tokenizer.encode("the cat 12345", first=True)) == "the cat 12345"


@pytest.mark.parametrize("letter", ["q", "ж", "~"])
def test_a_pattern_that_goes_wrong_over_one_letter_alone_is_refused(tmp_path: Path, letter: str) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is not a tokenizer"):
        Tokenizer.from_folder(written(tmp_path, split(f"({letter}+{letter}+)+y")))


def test_a_pattern_that_goes_wrong_later_is_a_users_error() -> None:
    """The trial cannot have all texts."""
    tokenizer = Tokenizer(split("([^x]+[^x]+)+y|(?:q|qq)+!"), {"eos_token": "<|endoftext|>"})
    with pytest.raises(ModelError, match="fails on this text"):
        tokenizer.encode("q" * 60, first=True)


def test_the_usual_shapes_are_read_without_another_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", None)
    for number, spec in enumerate((llama_spec(legacy=True), llama_spec(legacy=False), byte_level_spec())):
        folder = tmp_path / str(number)
        folder.mkdir()
        Tokenizer.from_folder(written(folder, spec))
