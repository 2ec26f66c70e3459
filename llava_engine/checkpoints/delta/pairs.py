"""Which tensor of a base model belongs to which of a delta (or of a finished model), and whether they fit at all.

Headers of both in, pairs out, or an error that says what base is wanted. Reads no tensor and no config.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import prod

import torch

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import StoredTensor, TensorFiles

PLAIN_BASE = "Give the plain language model that the delta was made from."

# What a LLaVA has and its language model has not.
_ADDED = ("mm_projector.", "vision_tower.", "image_newline")
# Tables with a row for each token, to which rows were added.
_TABLES = ("embed_tokens.weight", "wte.weight", "lm_head.weight")
_ROTARY = ".rotary_emb.inv_freq"
# The usual sizes, by layers and width: LLaMA 1 and 2, Vicuna, MPT.
_KNOWN_AS = {(32, 4096): "a 7B", (40, 5120): "a 13B", (60, 6656): "a 33B", (80, 8192): "a 65B or 70B"}

_NUMBERS = {torch.float16, torch.bfloat16, torch.float32, torch.float64, torch.int64, torch.int32, torch.int16}


@dataclass(frozen=True)
class Pair:
    """A tensor of the delta, and what the base has of it.

    Attributes:
        name: in both.
        stored: the delta's (or the finished model's).
        shared: how many of its numbers, from the first, the base has too: all, those of the base's rows, or none.
    """

    name: str
    stored: StoredTensor
    shared: int

    @property
    def numbers(self) -> int:
        """How many numbers the tensor has."""
        return prod(self.stored.shape)

    @property
    def rotary(self) -> bool:
        """A table of rotary frequencies, which old checkpoints stored and every reader computes."""
        return self.name.endswith(_ROTARY)


def pairs(base: TensorFiles, other: TensorFiles, what: str) -> tuple[Pair, ...]:
    """Every tensor of `other` with its counterpart.

    Embeddings and the head may have more rows than the base's: the first rows are the base's. A projector, a tower and
    the like are the delta's own. Rotary frequencies may be missing on either side. All else must be equal in shape.

    Args:
        base: a language model.
        other: a delta, or a finished model.
        what: "delta" or "target", for the messages.

    Raises:
        ModelError: they do not fit.
    """
    added = [name for name in base.tensors if _is_added(name)]
    if added:
        raise ModelError(
            f"{base.folder} is a LLaVA already (it holds {added[0]}), not a base: is the {what} in it already?",
            PLAIN_BASE,
        )
    if not base.tensors.keys() & other.tensors.keys():
        raise ModelError(
            f"{base.folder} and {other.folder} have no tensor in common ({next(iter(base.tensors), 'none')} here, "
            f"{next(iter(other.tensors), 'none')} there).",
            "Both must be in the original layout; llava convert turns one into the other.",
        )
    found = []
    for name, stored in other.tensors.items():
        if name in base.tensors:
            shared = _shared(base, other, name, what)
            if stored.dtype not in _NUMBERS or base.tensors[name].dtype not in _NUMBERS:
                raise ModelError(f"{name} is stored as {stored.dtype}, which can not be added.", PLAIN_BASE)
        elif _is_added(name) or name.endswith(_ROTARY):
            shared = 0
        else:
            raise _misfit(base, other, what, f"the {what} has {name}, and the base has not")
        found.append(Pair(name, stored, shared))
    for name in base.tensors:
        if name not in other.tensors and not name.endswith(_ROTARY):
            raise _misfit(base, other, what, f"the base has {name}, and the {what} has not")
    return tuple(found)


def _shared(base: TensorFiles, other: TensorFiles, name: str, what: str) -> int:
    has, wants = base.tensors[name].shape, other.tensors[name].shape
    longer = len(has) == len(wants) == 2 and has[1] == wants[1] and has[0] < wants[0]
    if has != wants and not (longer and name.endswith(_TABLES)):
        raise _misfit(base, other, what, f"{name} is {_shape(has)} in the base and {_shape(wants)} in the {what}")
    return prod(has)


def _misfit(base: TensorFiles, other: TensorFiles, what: str, detail: str) -> ModelError:
    meant, given = _size(other), _size(base)
    if meant != given:
        return ModelError(
            f"{base.folder} is {given}, but this {what} belongs to {meant}: {detail}.", "Give the base of that size."
        )
    return ModelError(f"{base.folder} is not the base of this {what}: {detail}.", PLAIN_BASE)


def _size(files: TensorFiles) -> str:
    """A model's size in words, from its tensors."""
    layers = {match[1] for name in files.tensors if (match := re.search(r"\.(?:layers|blocks)\.(\d+)\.", name))}
    tables = [stored.shape for name, stored in files.tensors.items() if name.endswith(_TABLES[:2])]
    width = tables[0][-1] if tables and tables[0] else 0
    known = _KNOWN_AS.get((len(layers), width), "a model")
    return f"{known} ({len(layers)} layers, {width:,} wide)"


def _is_added(name: str) -> bool:
    return any(part in name for part in _ADDED)


def _shape(shape: tuple[int, ...]) -> str:
    return " × ".join(f"{size:,}" for size in shape) or "one number"
