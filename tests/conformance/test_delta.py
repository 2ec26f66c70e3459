"""Deltas as the original computes them: every tensor's SHA-256, applied and made, and the finished model's files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures

pytestmark = needs_fixtures


def goldens() -> list[Any]:
    """Every golden about deltas, whatever it is called."""
    folder = FIXTURES / "goldens"
    return [golden(file.name) for file in sorted(folder.glob("delta*.json"))] if folder.exists() else []


every_delta = pytest.mark.parametrize("case", goldens(), ids=lambda case: Path(case["delta"]).name)


def checksums(folder: Path) -> dict[str, tuple[str, list[int], str]]:
    files = TensorFiles(folder)
    found = {}
    for name in files.tensors:
        tensor = files.read(name).contiguous()
        digest = hashlib.sha256(tensor.reshape(-1).view(torch.uint8).numpy().data).hexdigest()
        found[name] = (str(tensor.dtype).removeprefix("torch."), list(tensor.shape), digest)
    return found


def expected(table: dict[str, Any]) -> dict[str, tuple[str, list[int], str]]:
    return {name: (entry["dtype"], entry["shape"], entry["sha256"]) for name, entry in table.items()}


@every_delta
def test_applying_gives_the_originals_bytes(tmp_path: Path, case: Any) -> None:
    delta.apply(FIXTURES / case["base"], FIXTURES / case["delta"], tmp_path / "x")
    assert checksums(tmp_path / "x") == expected(case["apply_expected"])
    assert checksums(tmp_path / "x") == checksums(FIXTURES / case["expected_target"])


@every_delta
def test_making_gives_the_originals_bytes_and_the_way_back_loses_nothing(tmp_path: Path, case: Any) -> None:
    target = FIXTURES / case["expected_target"]
    delta.make(FIXTURES / case["base"], target, tmp_path / "made")
    assert checksums(tmp_path / "made") == expected(case["make_delta_from_expected_target"])
    delta.apply(FIXTURES / case["base"], tmp_path / "made", tmp_path / "again")
    assert checksums(tmp_path / "again") == checksums(target)


@every_delta
def test_a_base_of_its_family_is_known_and_any_other_refused(tmp_path: Path, case: Any) -> None:
    ours = FIXTURES / case["base"]
    assert delta.verify(ours, FIXTURES / case["delta"], FIXTURES / case["expected_target"]).differing == ()
    others = [
        folder
        for folder in (FIXTURES / "checkpoints").iterdir()
        if folder != ours and (list(folder.glob("model*.safetensors")) or list(folder.glob("pytorch_model*.bin")))
    ]
    assert others
    for other in others:
        if other == FIXTURES / case["delta"]:
            continue
        with pytest.raises(ModelError):
            delta.apply(other, FIXTURES / case["delta"], tmp_path / "x")
    assert not list(tmp_path.iterdir())
