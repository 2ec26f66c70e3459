"""Pretraining and finetuning on the picture world: packed questions, grounded mentions, and the tower's labels.

Pretraining moves the projector alone, on captions. Finetuning moves projector and language model; late in the run the
tower too, slowly, with its patch labels beside it. Knows no drawing and no asking: batches come from world_batches.py.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.language import LanguageModel
from llava_engine.model.llava import LlavaModel
from training.config import Task
from training.embedded.mentions import MentionHeads
from training.embedded.settings import Curriculum
from training.embedded.shared_prefix import run_packed
from training.embedded.tower import HEADS_FILE, PatchHeads, normalized, patch_loss
from training.embedded.world_batches import WATCHED, BatchKey, WorldBatch
from training.figures import Figures
from training.saving import write_tensors
from training.trainer import ParameterGroup, Source


class WorldStage:
    """One of the two tasks."""

    def __init__(
        self,
        task: Task,
        model: LlavaModel,
        source: Source,
        save: Callable[[LlavaModel, Path], None],
        *,
        heads: PatchHeads | None = None,
        curriculum: Curriculum = Curriculum(),  # noqa: B008 - frozen
        seed: int = 0,
    ) -> None:
        """Set up a task.

        Args:
            task: which.
            model: with float32 parameters.
            source: batches as world_batches.py draws them.
            save: writes the model into a run's folder.
            heads: the tower's patch heads; None starts new ones.
            curriculum: how finetuning goes on.
            seed: of the heads that are new.
        """
        self.name: str = task
        self.model, self.source, self.curriculum, self._save = model, source, curriculum, save
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.mentions = MentionHeads(model.config.language.hidden_size)
            self.heads = heads or PatchHeads(model.config.vision.hidden_size)
        for parameter in model.parameters():
            parameter.requires_grad_(False)

    def batch_key(self, step: int, progress: float) -> BatchKey:
        """The curriculum."""
        curriculum = self.curriculum
        wide = self.name == "pretrain" or progress >= curriculum.first_until
        return BatchKey(
            step,
            most=curriculum.most if wide else curriculum.first_most,
            plain=max(0.0, 1 - progress / curriculum.plain_until) if curriculum.plain_until else 0.0,
            wide=wide,
            order="verdict" if progress >= curriculum.verdict_from else "fact",
        )

    def loss(self, batch: WorldBatch, step: int, progress: float) -> tuple[Tensor, Figures]:
        """Mean over answer tokens, and what stands beside it."""
        model, curriculum = self.model, self.curriculum
        tower_moves = self.name == "finetune" and progress >= curriculum.unfreeze_at
        with torch.set_grad_enabled(tower_moves):
            hidden = model.vision_tower(normalized(batch.pictures), model.config.vision_feature_layer)
            patches = hidden if model.config.keep_class_token else hidden[:, 1:]
        prefix = self._prefix(batch, model.projector(patches))
        assert isinstance(model.language_model, LanguageModel)  # tuning.py has refused others
        states = run_packed(model.language_model, prefix, batch.groups, batch.asked)
        loss, figures = answer_loss(model.language_model.logits(states.asked), batch)
        if self.name == "finetune":
            grounded = self.mentions(states.middle[batch.mention_at], batch.mention_targets)
            figures |= Figures.of(mentions_loss=grounded)
            loss = loss + curriculum.mentions * grounded
            if tower_moves:
                labelled, seen = patch_loss(self.heads, hidden[:, 1:], batch.patches)
                loss = loss + curriculum.labels * labelled
                figures |= Figures(tuple(f"patch_{name}" for name in seen.names), seen.table)
        return loss, figures

    def _prefix(self, batch: WorldBatch, projected: Tensor) -> Tensor:
        """(B, patches, width) -> (B, P, width); of two pictures the first is the next one of the batch."""
        count, tokens, _ = projected.shape
        words = self.model.language_model.embed(batch.prefix).expand(count, -1, -1)
        parts, end = [], 0
        for turn, start in zip(range(len(batch.pictures_at) - 1, -1, -1), batch.pictures_at, strict=True):
            parts += [words[:, end:start], projected.roll(-turn, 0).to(words.dtype)]
            end = start + tokens
        return torch.cat([*parts, words[:, end:]], dim=1)

    def groups(self) -> list[ParameterGroup]:
        """Projector; when finetuning, language model and heads too, and the tower late and slowly."""
        model, curriculum = self.model, self.curriculum
        if self.name == "pretrain":
            return [ParameterGroup(tuple(model.projector.parameters()))]
        whole = [*model.projector.parameters(), *model.language_model.parameters(), *self.mentions.parameters()]
        rates = [ParameterGroup(tuple(whole))]
        if curriculum.unfreeze_at < 1:
            tower = (*model.vision_tower.parameters(), *self.heads.parameters())
            rates.append(ParameterGroup(tower, curriculum.tower_rate, curriculum.unfreeze_at))
        return rates

    def modules(self) -> dict[str, nn.Module]:
        """The model and the heads that are thrown away in the end."""
        return {"model": self.model, "mentions": self.mentions, "heads": self.heads}

    def state_dict(self) -> dict[str, Any]:
        """Nothing more: the curriculum goes by the run's progress."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing more."""

    def export(self, out: Path) -> None:
        """The model, and the patch heads for a later stage."""
        self._save(self.model, out)
        write_tensors(self.heads.state_dict(), out / HEADS_FILE)


def answer_loss(logits: Tensor, batch: WorldBatch) -> tuple[Tensor, Figures]:
    """Cross-entropy, the mean over supervised tokens.

    The figures are how many segments are wholly right (each token the likeliest, given those before it), over all as
    "right" and by family. For greedy decoding that is the very same as exact answers.

    Args:
        logits: (n, vocabulary), for each of the batch's `asked`.
        batch: see `WorldBatch`.
    """
    loss = F.cross_entropy(logits, batch.targets, ignore_index=-1)
    wrong = (logits.detach().argmax(-1) != batch.targets) & (batch.targets >= 0)
    missed = logits.new_zeros(len(batch.families)).index_add_(0, batch.segment, wrong.float())
    right = torch.stack([(missed == 0).float(), torch.ones_like(missed)], dim=1)  # (segments, 2)
    by_family = right.new_zeros(len(WATCHED), 2).index_add_(0, batch.families, right)
    table = torch.cat([right.sum(0, keepdim=True), by_family, torch.stack([loss.detach(), loss.new_ones(())])[None]])
    return loss, Figures(("right", *WATCHED, "answer_loss"), table)
