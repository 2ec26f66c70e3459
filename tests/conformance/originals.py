"""The goldens' cases as parameters, and their checkpoints opened once: everything by glob and from the JSON."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from llava_engine.model.config import MptConfig
from llava_engine.parity.original import Original
from llava_engine.pictures.opening import Picture, open_picture
from tests.conformance.fixtures import FIXTURES, golden

FORWARDS = sorted(path.name for path in (FIXTURES / "goldens").glob("forward_*.json"))
UNSURE = 1e-3  # two tokens whose logits are nearer than this may change places on another machine


@cache
def forward(name: str) -> Any:
    """A golden forward_*.json."""
    return golden(name)


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    """The tensors beside it."""
    return load_file(FIXTURES / "goldens" / Path(name).with_suffix(".safetensors").name)


def forward_cases() -> list[tuple[str, str]]:
    """(file, case) of all."""
    return [(name, case["case"]) for name in FORWARDS for case in forward(name)["cases"]]


def case_of(name: str, case: str) -> Any:
    """One case of a golden."""
    return next(each for each in forward(name)["cases"] if each["case"] == case)


@cache
def opened(checkpoint: str, base: str | None = None) -> Original:
    """A checkpoint by its path in the fixtures."""
    return Original.load(FIXTURES / checkpoint, base=FIXTURES / base if base else None)


def original_of(name: str) -> Original:
    """The checkpoint of a forward golden."""
    return opened(forward(name)["checkpoint"], forward(name).get("base"))


def pictures(names: Sequence[str]) -> list[Picture]:
    """Pictures by name."""
    return [_picture(name) for name in names]


@cache
def _picture(name: str) -> Picture:
    return open_picture(FIXTURES / "images" / name)


def tolerance(original: Original) -> float:
    """Of logits, as the fixtures' README allows."""
    config = original.checkpoint.config
    return 2e-4 if isinstance(config.language, MptConfig) or config.tiles is not None else 1e-4


def sure(case: Any) -> int:
    """How many greedy tokens are beyond doubt."""
    gaps = case["greedy_top2_gaps"]
    return next((step for step, gap in enumerate(gaps) if gap <= UNSURE), len(gaps))
