"""A base, a finished model and somebody else's delta, each in a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.llava_engine.checkpoints.delta.deltas import (
    BASE_CONFIG,
    base_tensors,
    difference,
    target_tensors,
)
from tests.llava_engine.originals import JUNE, write


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", BASE_CONFIG, base_tensors())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write(tmp_path / "target", JUNE, target_tensors(base_tensors()), added=("<im_patch>",))


@pytest.fixture
def change(tmp_path: Path) -> Path:
    """Somebody else's delta, in a .bin."""
    folder = write(tmp_path / "change", JUNE, {}, added=("<im_patch>",))
    torch.save(difference(target_tensors(base_tensors()), base_tensors()), folder / "pytorch_model.bin")
    return folder
