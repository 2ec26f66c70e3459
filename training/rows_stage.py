"""Pretraining and finetuning on rows of a file: one conversation a row, the loss on what the assistant says.

Pretraining moves the projector alone. Finetuning moves projector and language model, and the tower as well when it is
asked to. Knows no files: batches come from data/batches.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.errors import DataError
from llava_engine.model.llava import LlavaModel
from training.config import Task
from training.data.collate import Batch
from training.figures import Figures
from training.trainer import ParameterGroup, Source


class RowsStage:
    """One of the two tasks."""

    def __init__(
        self,
        task: Task,
        model: LlavaModel,
        source: Source,
        save: Callable[[LlavaModel, Path], None],
        *,
        unfreeze_at: float = 1.0,
        tower_rate: float = 0.3,
    ) -> None:
        """`save` writes the model into a run's folder; the tower moves from `unfreeze_at` of the run on (1: never)."""
        self.name: str = task
        self.model, self.source, self._save = model, source, save
        self.unfreeze_at = 1.0 if task == "pretrain" else unfreeze_at
        self.tower_rate = tower_rate
        for parameter in model.parameters():
            parameter.requires_grad_(False)

    def batch_key(self, step: int, progress: float) -> int:
        """The step itself decides the rows."""
        return step

    def loss(self, batch: Batch, step: int, progress: float) -> tuple[Tensor, Figures]:
        """Cross-entropy, the mean over supervised tokens; "token" is how often the right one is the likeliest."""
        targets = batch.targets.flatten()
        logits = self.model(batch.ids, batch.pixels if len(batch.pixels) else None).flatten(0, 1)
        asked = targets >= 0
        if not asked.any():
            raise DataError("A batch has nothing to learn: its answers lie behind the model's context.")
        loss = F.cross_entropy(logits, targets, ignore_index=-1)
        if not loss.requires_grad:  # no picture in the batch, and only the projector is trained
            loss = loss + 0.0 * sum(parameter.sum() for parameter in self.model.projector.parameters())
        right = (logits.detach().argmax(-1) == targets) & asked
        return loss, Figures(("token",), torch.stack([right.sum(), asked.sum()]).float().unsqueeze(0))

    def groups(self) -> list[ParameterGroup]:
        """Projector; when finetuning, the language model too, and the tower if it shall."""
        projector = tuple(self.model.projector.parameters())
        if self.name == "pretrain":
            return [ParameterGroup(projector)]
        groups = [ParameterGroup((*projector, *self.model.language_model.parameters()))]
        if self.unfreeze_at < 1:
            groups.append(
                ParameterGroup(tuple(self.model.vision_tower.parameters()), self.tower_rate, self.unfreeze_at)
            )
        return groups

    def modules(self) -> dict[str, nn.Module]:
        """The model."""
        return {"model": self.model}

    def state_dict(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing more."""

    def export(self, out: Path) -> None:
        """The model, in the layout that it came in."""
        self._save(self.model, out)
