"""Projector files as the original's trainers wrote them, read strictly over every base and tower of the fixtures.

The original took each tensor by the last part of its name, where an embedding and the projector are both "weight": the
later one in the file won, which happened to be the projector.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.opening import Placement
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import FORWARDS, forward

pytestmark = needs_fixtures

FILES = sorted(path.name for path in (FIXTURES / "projectors").glob("*.bin"))
BASES = sorted({forward(name)["base"] for name in FORWARDS if forward(name).get("base")})
TOWERS = sorted(path.parent for path in (FIXTURES / "vision").glob("*/config.json"))


@cache
def stored(name: str) -> dict[str, Tensor]:
    found: dict[str, Tensor] = torch.load(FIXTURES / "projectors" / name, weights_only=True)
    return found


def opened_over_all(file: Path) -> dict[tuple[str, str], Checkpoint | ModelError]:
    """Over each base, with each tower: what opens, and why the others do not."""
    found: dict[tuple[str, str], Checkpoint | ModelError] = {}
    for base in BASES:
        for tower in TOWERS:
            try:
                found[base, tower.name] = open_checkpoint(file, base=FIXTURES / base, towers={"": tower})
            except ModelError as error:
                found[base, tower.name] = error
    return found


@pytest.mark.parametrize("name", FILES)
def test_every_tensor_of_a_file_is_used_and_none_is_changed(name: str) -> None:
    width = next(
        tensor.shape[1] for key, tensor in stored(name).items() if key.endswith(("projector.weight", "0.weight"))
    )
    fitting = 0
    for found in opened_over_all(FIXTURES / "projectors" / name).values():
        if isinstance(found, ModelError):
            continue
        assert found.found.form == "projector"
        assert found.config.vision.hidden_size == width  # another tower's is refused
        for key, tensor in stored(name).items():
            assert torch.equal(found.tensors.read(tensor_names.canonical(key)), tensor), key
        load_for_inference(found.config, found.tensors, Placement(device="cpu", dtype="float32"))
        fitting += 1
    assert fitting


@pytest.mark.parametrize("name", FILES)
def test_the_order_in_the_file_means_nothing(name: str, tmp_path: Path) -> None:
    turned = tmp_path / name
    torch.save(dict(reversed(stored(name).items())), turned)
    before, after = opened_over_all(FIXTURES / "projectors" / name), opened_over_all(turned)
    for pair, found in before.items():
        again = after[pair]
        assert type(again) is type(found)
        if isinstance(found, ModelError) or isinstance(again, ModelError):
            continue
        for key, tensor in stored(name).items():
            assert torch.equal(again.tensors.read(tensor_names.canonical(key)), tensor), key
    # What the original did with it: right only as long as the projector comes last.
    last = {key.rsplit(".", 1)[-1]: key for key in stored(name)}
    assert "projector" in last["weight"]


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_lacks_a_tensor_or_has_one_more_is_refused(name: str, tmp_path: Path) -> None:
    for key in stored(name):
        if key.endswith("bias"):
            less = tmp_path / "less.bin"
            torch.save({other: tensor for other, tensor in stored(name).items() if other != key}, less)
            assert all(_refused(found) for found in opened_over_all(less).values())
    more = tmp_path / "more.bin"
    torch.save(stored(name) | {"model.mm_projector.9.weight": torch.zeros(2, 2)}, more)
    assert all(_refused(found) for found in opened_over_all(more).values())


def _refused(found: Checkpoint | ModelError) -> bool:
    """When it is opened, or at the latest when its tensors are counted."""
    if isinstance(found, ModelError):
        return True
    try:
        load_for_inference(found.config, found.tensors, Placement(device="cpu", dtype="float32"))
    except ModelError:
        return True
    return False
