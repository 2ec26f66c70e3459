"""The embedded model from nothing: killed in every stage and called again, it ends with the same weights."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

CHILD = """
import os, signal, sys
from pathlib import Path
from training.config import FlatThenLinear, Optim
from training.embedded.rebuild import Means, rebuild
from training.embedded.settings import Part, Plan, TinyShape
from training.track import Track

out, workers, stage, killed_at = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
told = Track.step

def step(self, number, *rest):
    told(self, number, *rest)
    if (self._stage, number) == (stage, killed_at):
        os.kill(os.getpid(), signal.SIGKILL)

Track.step = step
optim = Optim(1e-3, schedule=FlatThenLinear(warmup=2))
plan = Plan(Part(5, 4, optim), Part(5, 4, optim), Part(5, 4, optim), Part(10, 2, optim))
shape = TinyShape(patch=24, tower_width=32, tower_layers=2, tower_heads=4, tower_mlp=48,
                  width=32, layers=2, heads=4, mlp=48, vocabulary=700)
stopped = rebuild(out, plan, Means(workers=workers, threads=1, save_minutes=0), 3, lambda line: None, shape=shape)
assert stopped is None
"""


def child(out: Path, workers: int, stage: str = "", killed_at: int = 0) -> int:
    words = [sys.executable, "-c", CHILD, str(out), str(workers), stage, str(killed_at)]
    return subprocess.run(words, capture_output=True, check=False, timeout=300).returncode


@pytest.mark.slow
def test_killed_in_every_stage_it_ends_with_the_same_weights(tmp_path: Path) -> None:
    """The parts are drawn by two processes, the straight run by none; the ninth step has the tower moving."""
    assert child(tmp_path / "straight", workers=0) == 0
    for stage, step in (("tower", 3), ("language", 2), ("pretrain", 4), ("finetune", 3), ("finetune", 9)):
        assert child(tmp_path / "parts", 2, stage, step) == -signal.SIGKILL
    assert child(tmp_path / "parts", workers=2) == 0
    straight, parts = (
        load_file(tmp_path / name / "finetune" / "model" / "model.safetensors") for name in ("straight", "parts")
    )
    assert straight.keys() == parts.keys()
    assert all(straight[name].equal(parts[name]) for name in straight)
    rows = [json.loads(line) for line in (tmp_path / "parts" / "finetune" / "metrics.jsonl").read_text().splitlines()]
    assert [row["step"] for row in rows] == sorted({row["step"] for row in rows})
    before = (tmp_path / "parts" / "finetune" / "model" / "model.safetensors").stat().st_mtime_ns
    assert child(tmp_path / "parts", workers=0) == 0  # all is done: nothing is written again
    assert (tmp_path / "parts" / "finetune" / "model" / "model.safetensors").stat().st_mtime_ns == before
