"""`verify` compares without writing; memory is a few pieces at any size."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.delta import delta
from tests.llava_engine.checkpoints.delta.deltas import (
    BASE_CONFIG,
    nothing_new,
)
from tests.llava_engine.originals import JUNE, write


def test_verify_compares_with_a_target_and_writes_nothing(tmp_path: Path, base: Path, change: Path) -> None:
    delta.apply(base, change, tmp_path / "target")
    same = delta.verify(base, change, tmp_path / "target")
    assert (same.against, same.differing) == ("target", ())
    tensors = load_file(tmp_path / "target" / "model.safetensors")
    tensors["lm_head.weight"][-1, -1] += 1
    del tensors["model.mm_projector.bias"]
    save_file(tensors | {"extra": torch.ones(1)}, tmp_path / "target" / "model.safetensors")
    other = delta.verify(base, change, tmp_path / "target")
    assert set(other.differing) == {"lm_head.weight", "model.mm_projector.bias", "extra"}
    assert other.sha256 == same.sha256
    assert nothing_new(tmp_path)


def test_verify_holds_our_own_delta_to_what_it_says(tmp_path: Path, base: Path, target: Path) -> None:
    delta.make(base, target, tmp_path / "made")
    good = delta.verify(base, tmp_path / "made")
    assert (good.against, good.differing) == ("record", ())
    tensors = load_file(tmp_path / "made" / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, tmp_path / "made" / "model.safetensors")
    assert delta.verify(base, tmp_path / "made").differing == ("model.norm.weight",)


def test_verify_without_anything_to_compare_with_says_so(base: Path, change: Path) -> None:
    assert delta.verify(base, change).against is None


# Memory

PEAK = """
import resource, sys
from pathlib import Path
from llava_engine.checkpoints.delta import delta
import torch, safetensors
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
getattr(delta, sys.argv[1])(*map(Path, sys.argv[2:]))
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_memory_is_a_few_pieces_whatever_the_size(tmp_path: Path, form: str) -> None:
    big = {"model.layers.0.mlp.up_proj.weight": torch.zeros(192, 2**20, dtype=torch.float16)}  # 384 MiB
    for name, config in (("base", BASE_CONFIG), ("change", JUNE)):
        folder = write(tmp_path / name, config, {}, names=False)
        if form == "bin":
            torch.save(big, folder / "pytorch_model.bin")
        else:
            save_file(big, folder / "model.safetensors")
    del big
    script = tmp_path / "peak.py"
    script.write_text(PEAK)
    command = [sys.executable, str(script), "apply", *(str(tmp_path / name) for name in ("base", "change", "made"))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 250
