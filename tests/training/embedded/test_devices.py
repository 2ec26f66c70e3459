"""A step makes every tensor on the device of its batch and reads nothing from it: else the meta device refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llava_engine.checkpoints.load import load_trainable
from llava_engine.checkpoints.open import open_checkpoint
from training.config import Task
from training.embedded.settings import TinyShape
from training.embedded.text import TextSource, TextStage, new_language_model
from training.embedded.tiny import language_config, vision_config
from training.embedded.tower import TowerStage, new_tower
from training.embedded.world_batches import BatchKey, WorldSource
from training.embedded.world_objective import WorldStage
from training.embedded.writing import Writer
from training.movable import moved
from training.trainer import Stage

META = torch.device("meta")


def step(stage: Stage, batch: object, progress: float) -> None:
    for module in stage.modules().values():
        module.to(META)
    for group in stage.groups():
        for parameter in group.parameters:
            parameter.requires_grad_(progress >= group.start)
    loss, figures = stage.loss(moved(batch, META), 0, progress)
    loss.backward()  # type: ignore[no-untyped-call]
    assert loss.device == META
    assert not figures.names or figures.table.device == META


def test_a_step_of_the_tower() -> None:
    shape = TinyShape(patch=24, tower_width=32, tower_layers=1, tower_heads=4, tower_mlp=32)
    stage = TowerStage(new_tower(vision_config(shape), seed=0), layer=-1, seed=0, size=4)
    step(stage, stage.source[0], 0.0)


@pytest.mark.parametrize(("task", "progress"), [("pretrain", 0.0), ("finetune", 0.0), ("finetune", 0.9)])
def test_a_step_of_the_world(start: Path, task: Task, progress: float) -> None:
    checkpoint = open_checkpoint(start / "model")
    model = load_trainable(checkpoint.config, checkpoint.tensors)
    source = WorldSource(0, Writer(checkpoint.encoder), checkpoint.config.vision.grid, pictures=3)
    batches = (source[BatchKey(number)] for number in range(99))
    batch = next(batch for batch in batches if len(batch.pictures_at) == 2)  # another picture before the picture
    step(WorldStage(task, model, source, lambda model, out: None), batch, progress)


def test_a_step_of_text(start: Path) -> None:
    tokenizer = open_checkpoint(start / "model").tokenizer
    config = language_config(TinyShape(width=32, layers=2, heads=4, mlp=48), tokenizer)
    source = TextSource(0, tokenizer, 3)
    step(TextStage(new_language_model(config, 0), source), source[0], 0.0)
