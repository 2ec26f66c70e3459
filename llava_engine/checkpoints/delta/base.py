"""Whether this is the very base that a delta was made from, told from a sample of the numbers.

A delta of ours records hashes of a sample of its base. Of any other it can be told by arithmetic. Where a finished
weight t is within a factor of two of the base's b, t - b is exact in floating point (Sterbenz 1974), so b + delta needs
no rounding. That holds for every number with |delta| <= |b| / 4 over the right base, without exception; over another
base, even one fine-tuned from the right one, b and t often differ in their exponents and a part of the sums has to be
rounded (a fine-tune that moves weights by 0.2 % of their spread: 0.5 % of the sums; an unrelated model: 30 %). A delta
that was rounded after a subtraction in a wider format tells nothing: nearly all of its sums (88 % and more) are
inexact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from llava_engine.checkpoints.delta.pairs import PLAIN_BASE, Pair
from llava_engine.errors import ModelError
from llava_engine.files.flat import FlatReader
from llava_engine.files.tensor_files import TensorFiles

_BLOCKS, _BLOCK = 8, 8192  # of a large tensor: so many runs of so many numbers, spread evenly
_ENOUGH = 1000  # sums that can tell, at least
_NONE = 2e-4  # as good as no rounding
_NEARLY_ALL = 0.85  # the delta itself was rounded

# What a config says of a base that shapes do not; the first Llama and the second differ here.
_TELLING = (
    ("max_position_embeddings", "positions"),
    ("rms_norm_eps", "as rms_norm_eps"),
    ("rope_theta", "as rope_theta"),
    ("num_attention_heads", "attention heads"),
    ("num_key_value_heads", "key/value heads"),
)


@dataclass(frozen=True)
class Likeness:
    """What a sample of base and delta says.

    Attributes:
        base: "right", "wrong", or "unknown" (too little can tell, or the delta was rounded after a subtraction in a
            wider format).
        inexact: the share of sums that need rounding, of those that may not.
        alike: the cosine between delta and base: a whole model in place of a delta is like its base.
    """

    base: Literal["right", "wrong", "unknown"]
    inexact: float
    alike: float


def likeness(base: TensorFiles, delta: TensorFiles, found: Sequence[Pair]) -> Likeness:
    """Compare a sample of all shared tensors of floats."""
    inexact = telling = 0
    product = base_square = delta_square = 0.0
    floats = [pair for pair in found if pair.shared and not pair.rotary and pair.stored.dtype.is_floating_point]
    for sampled, changed in zip(_samples(base, floats), _samples(delta, floats), strict=True):
        dtype = changed.dtype
        here, change = sampled.to(dtype).double(), changed.double()
        total = here + change  # exact: 53 bits hold the sum of any two that can tell, of float16
        tells = (change != 0) & (change.abs() <= here.abs() / 4)
        telling += int(tells.sum())
        inexact += int((tells & (total != total.to(dtype).double())).sum())
        product += float(here @ change)
        base_square += float(here @ here)
        delta_square += float(change @ change)
    share = inexact / telling if telling else 0.0
    known = telling >= _ENOUGH and share < _NEARLY_ALL
    verdict: Literal["right", "wrong", "unknown"] = "unknown" if not known else "right" if share < _NONE else "wrong"
    squares = base_square * delta_square
    return Likeness(verdict, share, product / squares**0.5 if squares > 0 else 0.0)


def sample_hashes(base: TensorFiles, found: Sequence[Pair]) -> dict[str, str]:
    """A hash of the sample of every shared tensor, in the finished model's dtype, whatever the base is stored in."""
    shared = [pair for pair in found if pair.shared]
    return {
        pair.name: hashlib.sha256(sample.to(pair.stored.dtype).view(torch.uint8).numpy().data).hexdigest()
        for pair, sample in zip(shared, _samples(base, shared), strict=True)
    }


def check_delta_base(
    base: TensorFiles,
    delta: TensorFiles,
    found: Sequence[Pair],
    *,
    recorded: Mapping[str, str] | None,
    meant: str,
    base_config: Mapping[str, Any],
    delta_config: Mapping[str, Any],
) -> str:
    """Refuse a base that fits in its shapes but is another one.

    Args:
        base: the language model.
        delta: over it.
        found: from `pairs`.
        recorded: the hashes that came with the delta, if it is one of ours.
        meant: what the delta says of its base, for a person; "" when it says nothing.
        base_config: its config.json.
        delta_config: its config.json.

    Returns:
        How sure it is, one sentence.

    Raises:
        ModelError: it is the wrong one, or the delta is none.
    """
    if recorded is not None:
        ours = sample_hashes(base, found)
        wrong = [name for name, value in ours.items() if recorded.get(name) != value]
        if wrong:
            raise ModelError(
                f"{base.folder} is not the model that this delta was made from: {len(wrong)} of {len(ours)} tensors "
                f"differ, {wrong[0]} first{f'; meant is {meant}' if meant else ''}.",
                PLAIN_BASE,
            )
        return "The base is the one that the delta was made from."
    result = likeness(base, delta, found)
    if result.alike > 0.5:
        raise ModelError(
            f"{delta.folder} holds a whole model, not a delta: its weights are like the base's.",
            "It needs no base: use it as it is.",
        )
    differences = _differences(base_config, delta_config)
    says = f" The delta's base has {', '.join(differences)}." if differences else ""
    if result.base == "right":
        return "The base is the one that the delta was made from: their sums are exact."
    if result.base == "wrong":
        raise ModelError(
            f"{base.folder} has the right shapes, but is not the model that this delta was made from: "
            f"{result.inexact:.1%} of the sums that must be exact are not.{says}",
            "A model fine-tuned from the right base is a wrong base too (Vicuna for LLaMA). --force applies it anyway.",
        )
    if says:
        raise ModelError(
            f"{base.folder} has the right shapes, but another config than the delta's base.{says}",
            f"{PLAIN_BASE} --force applies it anyway.",
        )
    return "The base fits in shape; whether it is the very one can not be told from this delta."


def _samples(files: TensorFiles, found: Sequence[Pair]) -> Iterator[Tensor]:
    """Of each tensor, some of the numbers that both have: (n,)."""
    with closing(FlatReader(files)) as flat:
        for pair in found:
            if pair.shared <= _BLOCKS * _BLOCK:
                yield flat.read(pair.name, 0, pair.shared)
            else:
                starts = ((pair.shared - _BLOCK) * block // (_BLOCKS - 1) for block in range(_BLOCKS))
                yield torch.cat([flat.read(pair.name, start, start + _BLOCK) for start in starts])


def _differences(base: Mapping[str, Any], delta: Mapping[str, Any]) -> list[str]:
    return [
        f"{_number(delta[key])} {word}, this one {_number(base[key])}"
        for key, word in _TELLING
        if isinstance(base.get(key), int | float)
        and isinstance(delta.get(key), int | float)
        and base[key] != delta[key]
    ]


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"
