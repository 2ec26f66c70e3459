"""Pretraining and finetuning on the picture world: packed questions, grounded mentions, and the tower's labels.

Pretraining moves the projector alone, on captions. Finetuning moves projector and language model; late in the run the
tower too, slowly, with its patch labels beside it. Knows no drawing and no asking: batches come from world_batches.py.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
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
from training.embedded.shared_prefix import PackedStates, run_packed
from training.embedded.tower import HEADS_FILE, PatchHeads, normalized, patch_loss
from training.embedded.world_batches import BatchKey, Group, WorldBatch
from training.saving import write_tensors
from training.trainer import ParameterGroup, Source

Figures = dict[str, tuple[float, float]]
QUEUE = 4  # steps between a key and its loss, at most


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
        self._harder_from: int | None = None  # the step from which pictures hold `most` items
        self._right = 0.0  # running share of wholly right answers

    def batch_key(self, step: int, progress: float) -> BatchKey:
        """The curriculum."""
        curriculum = self.curriculum
        harder = self._harder_from is not None and step >= self._harder_from
        return BatchKey(
            step,
            most=curriculum.most if harder or self.name == "pretrain" else curriculum.first_most,
            plain=max(0.0, 1 - progress / curriculum.plain_until) if curriculum.plain_until else 0.0,
            wide=harder,
        )

    def loss(self, batch: WorldBatch, step: int, progress: float) -> tuple[Tensor, Figures]:
        """Mean over answer tokens, and what stands beside it."""
        model, curriculum, device = self.model, self.curriculum, self.model.language_model.embed_tokens.weight.device
        tower_moves = self.name == "finetune" and progress >= curriculum.unfreeze_at
        pixels = normalized(batch.pictures.to(device))
        with torch.set_grad_enabled(tower_moves):
            hidden = model.vision_tower(pixels, model.config.vision_feature_layer)
            patches = hidden if model.config.keep_class_token else hidden[:, 1:]
        prefix = self._prefix(batch.prefix.to(device), model.projector(patches))
        groups = [replace(group, segments=group.segments.to(device)) for group in batch.groups]
        assert isinstance(model.language_model, LanguageModel)  # tuning.py has refused others
        states = run_packed(model.language_model, prefix, [group.segments for group in groups])
        loss, figures = answer_loss(model, groups, states)
        figures["answer_loss"] = (loss.item(), 1.0)
        if self.name == "finetune":
            mentioned = torch.cat(
                [s.middle.flatten(0, 1)[g.mention_at] for g, s in zip(batch.groups, states, strict=True)]
            )
            targets = torch.cat([group.mention_targets for group in batch.groups])
            grounded = self.mentions(mentioned, targets.to(device))
            figures["mentions_loss"] = (grounded.item(), 1.0)
            loss = loss + curriculum.mentions * grounded
            if tower_moves:
                labels = {name: label.to(device) for name, label in batch.labels.items()}
                labelled, seen = patch_loss(self.heads, hidden[:, 1:], labels)
                loss = loss + curriculum.labels * labelled
                figures |= {f"patch_{name}": seen[name] for name in ("kind", "colour", "rank")}
        self._watch(step, figures["right"])
        return loss, figures

    def _prefix(self, ids: Tensor, projected: Tensor) -> Tensor:
        """(P,) ids and (B, patches, width) -> (B, P, width); of two pictures the first is the next one of the batch."""
        batch, tokens, _ = projected.shape
        shown = int((ids == self.model.config.image_token_id).sum()) // tokens
        features = torch.cat([projected.roll(-turn, 0) for turn in range(shown - 1, -1, -1)], dim=1)
        return self.model.embed(ids.expand(batch, -1), features.flatten(0, 1))

    def _watch(self, step: int, right: tuple[float, float]) -> None:
        """Pictures become harder when most answers are right."""
        share = right[0] / max(1.0, right[1])
        self._right += (share - self._right) / 50
        if self._harder_from is None and self._right >= self.curriculum.mastered:
            self._harder_from = step + QUEUE

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
        """The curriculum's place."""
        return {"harder_from": self._harder_from, "right": self._right}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        self._harder_from, self._right = state["harder_from"], state["right"]

    def export(self, out: Path) -> None:
        """The model, and the patch heads for a later stage."""
        self._save(self.model, out)
        write_tensors(self.heads.state_dict(), out / HEADS_FILE)


def answer_loss(model: LlavaModel, groups: list[Group], states: list[PackedStates]) -> tuple[Tensor, Figures]:
    """Cross-entropy, the mean over supervised tokens.

    The figures are how many segments are wholly right (each token the likeliest, given those before it), over all as
    "right" and by family. For greedy decoding that is the very same as exact answers.
    """
    logits = model.language_model.logits(torch.cat([state.final for state in states]))
    targets = torch.cat([
        torch.where(state.asked >= 0, group.segments.targets.flatten()[state.asked.clamp(min=0)], -1)
        for group, state in zip(groups, states, strict=True)
    ])  # fmt: skip
    loss = F.cross_entropy(logits, targets, ignore_index=-1)
    wrong = ((logits.detach().argmax(-1) != targets) & (targets >= 0)).cpu()
    counts: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for group, state, missed in zip(groups, states, torch.split(wrong, [len(s.asked) for s in states]), strict=True):
        length = group.segments.ids.shape[-1]
        failed = set((state.asked.cpu()[missed] // length).tolist())
        for index, family in enumerate(name for mine in group.families for name in mine):
            for name in ("right", family):
                counts[name][0] += index not in failed
                counts[name][1] += 1
    return loss, {name: (right, count) for name, (right, count) in counts.items()}
