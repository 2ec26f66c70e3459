"""`llava train` as a person types it: the whole way in a few steps, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import DataError, LlavaError, ModelError, UsageError
from training.cli import app


def llava_train(*words: str | Path) -> str:
    result = CliRunner().invoke(app, [str(word) for word in words])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert result.exit_code == 0, result.output
    return result.output


def test_importing_the_command_line_loads_no_torch() -> None:
    code = "import sys, training.cli; print([m for m in ('torch', 'transformers', 'numpy', 'PIL') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_whole_way_in_a_few_steps(tmp_path: Path) -> None:
    few = ["--workers", "0", "--threads", "1"]
    llava_train("tiny", "--out", tmp_path / "tiny", "--tower-steps", "2", "--language-steps", "2", *few)
    for task, start in (("pretrain", "tiny"), ("finetune", "pretrain")):
        words: list[str | Path] = ["--model", tmp_path / start, "--data", "world", "--out", tmp_path / task, *few]
        said = llava_train(task, *words, "--steps", "2")
        assert f"{task}: step 2" in said
        with pytest.raises(DataError, match="holds a run already"):
            llava_train(task, *words, "--steps", "2")
        assert f"{task}: step 3" in llava_train(task, *words, "--steps", "3", "--resume")
    config = open_checkpoint(tmp_path / "finetune" / "model").config
    assert (config.template, config.system, config.picture_tokens) == ("v1", "", 64)
    size = sum(file.stat().st_size for file in (tmp_path / "finetune" / "model").iterdir())
    assert size < 12 * 2**20
    rows = [json.loads(line) for line in (tmp_path / "finetune" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == [2, 3]
    assert all(0 <= row["right"] <= 1 for row in rows)


def test_rows_and_their_errors(start: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words: list[str | Path] = ["finetune", "--model", start, "--images", photos, "--out", out, "--workers", "0"]
    llava_train(*words, "--data", photos / "rows.json", "--steps", "2", "--batch", "2")
    assert (out / "model" / "model.safetensors").is_file()
    with pytest.raises(DataError, match="There is no file"):
        llava_train(*words, "--data", photos / "none.json", "--steps", "2", "--resume")
    with pytest.raises(DataError, match="--steps or --minutes"):
        llava_train(*words, "--data", photos / "rows.json", "--resume")


@pytest.mark.parametrize(
    ("option", "value", "error"),
    [
        ("--quantize", "int8", UsageError),
        ("--dtype", "float16", UsageError),
        ("--max-memory", "6GiB", UsageError),
        ("--devices", "0,1", UsageError),
        ("--context", "9999999", UsageError),
        ("--template", "nobodys", ModelError),
        ("--base", "nowhere", ModelError),
    ],
)
def test_an_opening_option_is_heeded_or_refused_and_never_ignored(
    start: Path, photos: Path, tmp_path: Path, option: str, value: str, error: type[LlavaError]
) -> None:
    words: list[str | Path] = ["--model", start, "--images", photos, "--out", tmp_path / "out", "--steps", "1"]
    for task in ("pretrain", "finetune"):
        with pytest.raises(error) as raised:
            llava_train(task, *words, "--data", photos / "rows.json", option, value)
        assert option in raised.value.cause or value in raised.value.cause
        assert raised.value.remedy
    assert not (tmp_path / "out").exists()


def test_the_template_and_the_context_that_are_asked_for_are_trained_with(
    start: Path, photos: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = ["finetune", "--model", start, "--images", photos, "--workers", "0", "--steps", "1"]
    words += ["--data", photos / "rows.json", "--device", "cpu"]
    llava_train(*words, "--out", tmp_path / "v0", "--template", "v0")
    assert open_checkpoint(tmp_path / "v0" / "model").config.template == "v0"
    with pytest.raises(LlavaError, match="do not fit into 6 tokens"):
        llava_train(*words, "--out", tmp_path / "short", "--context", "6", "--batch", "4")
    with pytest.raises(UsageError, match="world"):
        llava_train(*words[:-4], "--data", "world", "--out", tmp_path / "world", "--context", "20")
