"""Pictures put among the text's embeddings as the original's two states do it, with what they lose on the way.

In default, every picture is seen and nothing is cut: `LlavaModel.embed`. Knows no text and no files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from llava_engine.model.config import MptConfig
from llava_engine.model.llava import LlavaModel

PICTURE = -200


@dataclass(frozen=True)
class Marks:
    """June's tokens for pictures.

    Attributes:
        patch: stands once for each projected patch.
        around: what goes before and after the patches, or None where the checkpoint has no such tokens.
    """

    patch: int
    around: tuple[int, int] | None


def june(model: LlavaModel, ids: Tensor, features: Sequence[Tensor] | None, marks: Marks) -> Tensor:
    """June 2023, whose batches have one picture for each row.

    With marks, each picture of a row is put into the row as it was at first, so only the last is there in the end;
    without, there may be one. Which picture is next: a row of text alone counts as one with Llama, and not with MPT,
    which without marks always takes the first.

    Args:
        model: the model.
        ids: (B, T), the patches written out.
        features: (n, hidden_size) of each picture, or None when the call shows none.
        marks: the checkpoint's.

    Returns:
        (B, T, hidden_size).

    Raises:
        ValueError: marks or patches do not fit the pictures.
    """
    x = model.embed(ids, None)
    if features is None:
        return x
    mpt = isinstance(model.config.language, MptConfig)
    rows: list[Tensor] = []
    picture = 0
    for row_ids, row in zip(ids, x, strict=True):
        patches = torch.where(row_ids == marks.patch)[0]
        if not len(patches):
            picture += 0 if mpt else 1
        elif marks.around is None:
            row = _in_place_of(patches, row, features[picture])
            picture += 0 if mpt else 1
        else:
            starts, ends = (torch.where(row_ids == mark)[0].tolist() for mark in marks.around)
            if len(starts) != len(ends):
                raise ValueError(f"{len(starts)} marks before pictures and {len(ends)} after them")
            for start in starts:
                shown = features[picture]
                end = start + len(shown) + 1
                if end not in ends:
                    raise ValueError(f"no mark ends the picture at {start}")
                whole = torch.cat([x[len(rows), : start + 1], shown.to(x.dtype), x[len(rows), end:]])
                row, picture = whole, picture + 1
        rows.append(row)
    return torch.stack(rows)


def _in_place_of(patches: Tensor, row: Tensor, shown: Tensor) -> Tensor:
    """One picture for all patches of a row, which must be as many and stand together."""
    first, count = int(patches[0]), len(shown)
    if len(patches) != count:
        raise ValueError(f"{len(patches)} patch tokens for a picture of {count}")
    if int(patches[-1]) - first + 1 != count:
        raise ValueError("the patch tokens do not stand together")
    return torch.cat([row[:first], shown.to(row.dtype), row[first + count :]])


def newest(model: LlavaModel, ids: Sequence[int], features: Sequence[Tensor] | None, longest: int | None) -> Tensor:
    """The newest state: all pictures are seen, and what is longer than training's longest is cut off, end first.

    Args:
        model: the model.
        ids: with `PICTURE` once for each picture.
        features: (n, hidden_size) of each picture, or None when the call shows none; then nothing is cut.
        longest: `tokenizer_model_max_length` of config.json.

    Returns:
        (1, T, hidden_size).
    """
    if features is None:
        return model.embed(torch.tensor([ids]), None)
    left, parts, start = list(features), [], 0
    places = [place for place, token in enumerate(ids) if token == PICTURE]
    for place in [*places, len(ids)]:
        parts.append(model.embed(torch.tensor([ids[start:place]], dtype=torch.long), None)[0])
        if place < len(ids):
            parts.append(left.pop(0))
        start = place + 1
    return torch.cat(parts)[None, :longest]
