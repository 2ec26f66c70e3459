"""June's loss of a batch: samples labelled, padded and masked by its trainer, pictures put in by its model.

In default, spans say what is learned, masks know lengths, and each row sees its own pictures. Here padding is what has
the pad's id (so a real unknown token is not read either), and every row brings a picture, zeros where it has none.
Nothing of the product calls it: docs/parity.md offers it to whoever compares losses with the original's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from llava_engine.parity.embedding import june
from llava_engine.parity.labels import IGNORED, Said, Trainer, labelled
from llava_engine.parity.original import Original, tokenizer_of
from llava_engine.parity.original_templates import TEMPLATES
from llava_engine.pictures.opening import Picture

# What --version of June's trainer stood for.
VERSIONS = {"v0": "default", "v1": "vicuna_v1_1", "mpt": "mpt"}


@dataclass(frozen=True)
class Sample:
    """One row of a data file, its picture opened."""

    turns: tuple[Said, ...]
    picture: Picture | None


@dataclass(frozen=True)
class BatchLoss:
    """What a batch came to.

    Attributes:
        loss: mean cross entropy of the supervised tokens.
        shape: (rows, tokens) after padding.
        supervised: how many tokens have a label.
    """

    loss: float
    shape: tuple[int, int]
    supervised: int


def trainer_of(original: Original, version: str, pad_id: int, max_length: int) -> Trainer:
    """The trainer that a finished June checkpoint came from; it read text with the slow tokenizer."""
    config = original.checkpoint.config
    return Trainer(
        commit="b4be90b",
        template=TEMPLATES["b4be90b"][VERSIONS[version]],
        tokenizer=tokenizer_of(original.checkpoint, "b4be90b", fast=False, renewed=version == "v0"),
        pad_id=pad_id,
        max_length=max_length,
        start_end=bool(config.wrap_pictures),
        patches=config.picture_tokens,
    )


@torch.inference_mode()
def batch_loss(original: Original, samples: Sequence[Sample], trainer: Trainer) -> BatchLoss:
    """The loss that June's model gives one batch in evaluation; raises `ValueError` where pictures do not fit."""
    made = [labelled(sample.turns, sample.picture is not None, trainer) for sample in samples]
    ids = _padded([each.ids for each in made], trainer.pad_id)  # (B, T)
    labels = _padded([each.labels for each in made], IGNORED)
    x = june(original.model, ids, _features(original, samples), original.marks)
    count = ids.shape[1]
    causal = torch.ones(count, count, dtype=torch.bool).tril()
    mask = causal & (ids != trainer.pad_id)[:, None, None, :]  # (B, 1, T, T)
    language = original.model.language_model
    logits = language.logits(language(x, torch.arange(count), mask=mask))
    loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=IGNORED)
    return BatchLoss(float(loss), (len(samples), count), int((labels != IGNORED).sum()))


def _features(original: Original, samples: Sequence[Sample]) -> list[Tensor]:
    """Of each row's picture; a row without one brings zeros."""
    side = original.model.config.vision.image_size
    nothing = original.model.encode_pictures(torch.zeros(1, 3, side, side))[0]
    return [nothing if each.picture is None else original.features([each.picture])[0] for each in samples]


def _padded(rows: Sequence[Sequence[int]], value: int) -> Tensor:
    longest = max(map(len, rows))
    return torch.tensor([[*row, *[value] * (longest - len(row))] for row in rows])
