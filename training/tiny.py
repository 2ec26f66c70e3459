"""The tiny LLaVA to begin with: its shape, and the stages that make its parts (`llava train tiny`).

Tower, tokenizer and language model are made apart, each by its own stage, and put together here with a new projector.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llava_engine.model.config import VisionConfig
from training.config import Optim, Run, TinyShape
from training.tower import TowerStage, new_tower
from training.trainer import Outcome, train

FEATURE_LAYER = -1  # the tower is ours: its last layer is made to be read


def vision_config(shape: TinyShape) -> VisionConfig:
    """The tower's shape in CLIP's terms."""
    return VisionConfig(
        image_size=shape.picture,
        patch_size=shape.patch,
        hidden_size=shape.tower_width,
        intermediate_size=shape.tower_mlp,
        num_hidden_layers=shape.tower_layers,
        num_attention_heads=shape.tower_heads,
        hidden_act="gelu",
    )


def train_tower(shape: TinyShape, run: Run, say: Callable[[str], None]) -> Outcome:
    """Stage 0, into the run's folder."""
    stage = TowerStage(new_tower(vision_config(shape), run.seed), layer=FEATURE_LAYER, seed=run.seed)
    return train(stage, run, Optim(warmup=60), say)
