"""A base, a model made from it and their difference, by plain tensor arithmetic as the original does it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.tensor_files import TensorFiles
from tests.llava_engine.originals import LLAMA, WIDTH, language, projector

ROWS, MORE = 300, 303
BASE_CONFIG = {"model_type": "llama", **LLAMA}
INTEGERS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}

Tensors = dict[str, Tensor]


def halves(tensors: Tensors) -> Tensors:
    return {name: tensor.half() for name, tensor in tensors.items()}


def base_tensors(seed: int = 0) -> Tensors:
    return halves(language(ROWS, seed))


def tuned(tensors: Tensors, amount: float = 0.01, seed: int = 5) -> Tensors:
    """As training might leave them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor.float() + amount * tensor.float().std() * torch.randn(tensor.shape, generator=generator)).half()
        for name, tensor in tensors.items()
    }


def target_tensors(base: Tensors) -> Tensors:
    """A LLaVA of June over a base: three more tokens, and a projector."""
    made = tuned(base) | halves(projector(1))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        made[name] = torch.cat([made[name], torch.full((MORE - ROWS, WIDTH), 0.25, dtype=torch.float16)])
    return made


def difference(target: Tensors, base: Tensors) -> Tensors:
    """As the original's make_delta: in place, in float16, the base's block at the top left."""
    made = {name: tensor.clone() for name, tensor in target.items()}
    for name, tensor in base.items():
        made[name][tuple(slice(size) for size in tensor.shape)] -= tensor
    return made


def total(change: Tensors, base: Tensors) -> Tensors:
    """As the original's apply_delta."""
    made = {name: tensor.clone() for name, tensor in change.items()}
    for name, tensor in base.items():
        made[name][tuple(slice(size) for size in tensor.shape)] += tensor
    return made


def read(folder: Path) -> Tensors:
    files = TensorFiles(folder)
    return {name: files.read(name) for name in files.tensors}


def same_bits(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype
        and tensor.shape == other[name].shape
        and torch.equal(tensor.reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
        for name, tensor in one.items()
    )


def nothing_new(tmp_path: Path) -> bool:
    return {path.name for path in tmp_path.iterdir()} <= {"base", "target", "change", "other"}


def refused(tmp_path: Path, base: Path, change: Path, says: str, **options: Any) -> None:
    with pytest.raises((ModelError, StorageError), match=says):
        delta.apply(base, change, options.pop("target", tmp_path / "made"), **options)
    assert nothing_new(tmp_path)


def after(count: int, act: Any) -> Any:
    """What tells progress and acts when it was told so often."""
    calls: list[object] = []

    def tell(at: object) -> None:
        calls.append(at)
        if len(calls) > count:
            act(at)

    return tell
