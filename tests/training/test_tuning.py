"""pretrain and finetune, on rows and on the world: what moves, what stays, what is written."""

from __future__ import annotations

import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import get
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.errors import DataError, ModelError
from llava_engine.opening import Source
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.tiny import TILED, complete
from training.config import Course, Optim, Run, Task
from training.data.batches import BatchSource
from training.data.llava_json import read_rows
from training.data.samples import Samples
from training.embedded.world_objective import WorldStage
from training.tuning import Material, tune

Say = Callable[[str], None]
QUICK = Optim(rate=5e-3, warmup=2)


def tensors(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model" / "model.safetensors")


def moved(before: Path, after: Path) -> set[str]:
    """Which of tower, projector and language model differ in any bit."""
    old, new = tensors(before), tensors(after)
    assert old.keys() == new.keys()
    parts = {"vision_tower": "tower", "multi_modal_projector": "projector", "language_model": "language"}
    changed = {name for name in old if not torch.equal(old[name], new[name])}
    return {word for part, word in parts.items() if any(part in name for name in changed)}


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def quick_run(out: Path, steps: int, *, resume: bool = False) -> Run:
    return Run(out, steps=steps, workers=0, log_steps=5, threads=1, precision="fp32", resume=resume)


def test_a_strangers_link_is_not_brought_into_what_is_written(
    start: Path, photos: Path, tmp_path: Path, silent: Say
) -> None:
    strange = tmp_path / "strange"
    shutil.copytree(start / "model", strange)
    (tmp_path / "private").write_text("mine")
    (strange / "chat_template.jinja").symlink_to(tmp_path / "private")
    with pytest.raises(ModelError, match=r"chat_template\.jinja is a link that leads out"):
        tune(
            "finetune",
            Source(str(strange)),
            Material(str(photos / "rows.json"), photos, batch=5),
            quick_run(tmp_path / "out", 1),
            QUICK,
            Course(thaw=1),
            silent,
        )
    assert not (tmp_path / "out" / "model").exists()


@pytest.mark.parametrize(
    ("task", "data", "course", "moves"),
    [
        ("pretrain", "captions.json", Course(), {"projector"}),
        ("finetune", "rows.json", Course(thaw=1), {"projector", "language"}),
        ("finetune", "rows.json", Course(thaw=0.5), {"projector", "language", "tower"}),
    ],
)
def test_rows_move_what_they_should(
    start: Path, photos: Path, tmp_path: Path, silent: Say, task: Task, data: str, course: Course, moves: set[str]
) -> None:
    material = Material(str(photos / data), photos, batch=5)
    tune(task, Source(str(start)), material, quick_run(tmp_path, 20), QUICK, course, silent)
    assert moved(start, tmp_path) == moves
    assert losses(tmp_path)[-1] < losses(tmp_path)[0]


@pytest.mark.parametrize(
    ("task", "course", "moves"),
    [
        ("pretrain", Course(), {"projector"}),
        ("finetune", Course(thaw=1), {"projector", "language"}),
        ("finetune", Course(thaw=0.5), {"projector", "language", "tower"}),
    ],
)
def test_the_world_moves_what_it_should(
    start: Path, tmp_path: Path, silent: Say, task: Task, course: Course, moves: set[str]
) -> None:
    tune(task, Source(str(start)), Material("world"), quick_run(tmp_path, 12), QUICK, course, silent)
    assert moved(start, tmp_path) == moves
    if "tower" not in moves:  # with the tower its labels come into the loss
        assert losses(tmp_path)[-1] < losses(tmp_path)[0]


def test_a_world_run_stopped_and_resumed_equals_one_never_stopped(
    start: Path, tmp_path: Path, silent: Say, monkeypatch: pytest.MonkeyPatch
) -> None:
    world, course = Material("world"), Course(thaw=0.5, mastered=0.0)  # the pictures become harder in between
    tune("finetune", Source(str(start)), world, quick_run(tmp_path / "straight", 10), QUICK, course, silent)
    plain = WorldStage.loss

    def stopping(self: WorldStage, batch: Any, step: int, progress: float) -> Any:
        if step == 6:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(self, batch, step, progress)

    with monkeypatch.context() as patch:
        patch.setattr(WorldStage, "loss", stopping)
        outcome = tune("finetune", Source(str(start)), world, quick_run(tmp_path / "parts", 10), QUICK, course, silent)
    assert (outcome.step, outcome.interrupted) == (7, True)
    tune("finetune", Source(str(start)), world, quick_run(tmp_path / "parts", 10, resume=True), QUICK, course, silent)
    straight, parts = tensors(tmp_path / "straight"), tensors(tmp_path / "parts")
    assert all(torch.equal(straight[name], parts[name]) for name in straight)


def test_ids_of_rows_are_those_of_chat(start: Path, photos: Path) -> None:
    folder = start / "model"
    tokenizer, template = Tokenizer.from_folder(folder), get("v1")
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    rows = tuple(read_rows(photos / "rows.json"))
    samples = Samples(rows, photos, tokenizer, template, "", 16, tokenizer.special_ids["<image>"], preprocessing, 512)
    sample = samples[0]
    picture = open_picture(str(photos / "red.png"))
    chat = Conversation((Message.user("What is it?", [picture]),), system="")
    asked = assemble(spans(chat, template), tokenizer, [16], tokenizer.special_ids["<image>"])
    assert sample.ids[: len(asked.ids)].tolist() == list(asked.ids)
    torch.testing.assert_close(sample.pixels[0], torch.from_numpy(preprocessing.pixels(picture)))
    learned = [int(token) for token in sample.targets if token >= 0]
    end = tokenizer.special_ids["</s>"]
    assert tokenizer.decode(learned[: learned.index(end)]).strip() == "A red circle."
    assert learned.count(end) == 2


def test_every_row_comes_once_a_round(start: Path, photos: Path) -> None:
    folder = start / "model"
    tokenizer = Tokenizer.from_folder(folder)
    preprocessing = Preprocessing.from_file(folder / "preprocessor_config.json")
    rows = tuple(read_rows(photos / "rows.json"))
    samples = Samples(rows, photos, tokenizer, get("v1"), "", 16, 1, preprocessing, 512)
    source = BatchSource(samples, size=2, seed=1)
    read = [number for step in range(5) for number in source.numbers(step)]
    assert sorted(read[:5]) == sorted(read[5:]) == [0, 1, 2, 3, 4]
    assert read[:5] != read[5:]


def test_a_missing_picture_names_its_row(start: Path, photos: Path, tmp_path: Path, silent: Say) -> None:
    rows = json.loads((photos / "captions.json").read_text())[:1]
    for image, says in (("none.png", "none.png"), ("../secret.png", "outside")):
        rows[0]["image"] = image
        path = tmp_path / "rows.json"
        path.write_text(json.dumps(rows))
        material = Material(str(path), photos, batch=1)
        with pytest.raises(DataError, match=r"rows\.json, row 0") as raised:
            tune("finetune", Source(str(start)), material, quick_run(tmp_path / "out", 1), QUICK, Course(), silent)
        assert says in str(raised.value)


def test_a_model_with_tiles_is_refused(photos: Path, tmp_path: Path, silent: Say) -> None:
    folder, material = complete(TILED, tmp_path / "tiled"), Material(str(photos / "rows.json"), photos, batch=1)
    with pytest.raises(ModelError, match="tiles"):
        tune("finetune", Source(str(folder)), material, quick_run(tmp_path / "out", 1), QUICK, Course(), silent)
