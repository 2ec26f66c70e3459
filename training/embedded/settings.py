"""The settings of the tiny model and of how it is trained, as frozen values. Knows no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from enum import StrEnum

from training.config import FlatThenLinear, Optim


@dataclass(frozen=True)
class TinyShape:
    """The sizes of the tiny LLaVA that `llava train tiny` starts.

    Attributes:
        picture: side of the square picture that the tower sees, in pixels.
        patch: side of a patch; the picture has (picture / patch)² tokens.
        tower_width, tower_layers, tower_heads, tower_mlp: the CLIP tower.
        width, layers, heads, mlp: the Llama.
        vocabulary: pieces of the tokenizer, at most.
        context: how many tokens the Llama can hold.
    """

    picture: int = 96
    patch: int = 12
    tower_width: int = 128
    tower_layers: int = 5
    tower_heads: int = 4
    tower_mlp: int = 512
    width: int = 128
    layers: int = 5
    heads: int = 4
    mlp: int = 352
    vocabulary: int = 1200
    context: int = 2048


@dataclass(frozen=True)
class Curriculum:
    """How finetuning goes on.

    Attributes:
        first_most: items a picture has at first, when only the core's families are asked.
        first_until: part of the run in which that is so.
        most: items a picture has then, at most; with them come the families beyond the core.
        plain_until: part of the run in which the plainest wordings fade out.
        verdict_from: part of the run after which a yes or no stands before its fact; before, the fact leads to it.
        unfreeze_at: part of the run after which the tower moves too; 1 keeps it frozen.
        tower_rate: the tower's rate, as a factor.
        labels: weight of the tower's patch labels while it moves.
        mentions: weight of the grounded mentions.
    """

    first_most: int = 2
    first_until: float = 0.1
    most: int = 6
    plain_until: float = 0.1
    verdict_from: float = 0.5
    unfreeze_at: float = 0.8
    tower_rate: float = 0.1
    labels: float = 0.3
    mentions: float = 0.5


class Start(StrEnum):
    """A part of the tiny start."""

    tokenizer = "tokenizer"
    tower = "tower"
    language = "language"
    together = "together"


@dataclass(frozen=True)
class Part:
    """How one stage is trained.

    Attributes:
        steps: how many.
        size: pictures a step, or lines of text.
        optim: how weights move.
    """

    steps: int
    size: int
    optim: Optim


def _optim(rate: float, warmup: int) -> Optim:
    return Optim(
        learning_rate=rate, betas=(0.9, 0.98), weight_decay=0.05, schedule=FlatThenLinear(warmup=warmup, flat=0.5)
    )


@dataclass(frozen=True)
class Plan:
    """How the shipped model is made; docs/embedded-model.md says what was tried and what each stage gave."""

    tower: Part = Part(24_000, 32, _optim(1e-3, 60))
    language: Part = Part(600, 64, _optim(1e-3, 100))
    pretrain: Part = Part(400, 64, _optim(1e-3, 100))
    finetune: Part = Part(30_000, 8, _optim(1e-3, 100))

    def scaled(self, scale: float) -> Plan:
        """All steps times `scale`, and at least one."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        return Plan(**{name: replace(part, steps=max(1, round(scale * part.steps))) for name, part in parts.items()})


PLAN = Plan()
