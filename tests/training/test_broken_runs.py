"""Runs that meet a bad row, a full disk or a damaged state: one line, and what was trained stays."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llava_engine.errors import DataError, StorageError, UsageError
from llava_engine.files.lock import held
from tests.source import ROOT
from tests.training.test_trainer import Lines, LineStage, run
from training.config import STATE_FILE, Optim, Run
from training.trainer import LOCK_FILE, train


@dataclass(frozen=True)
class BadAt(Lines):
    """Lines, of which one step's can not be read."""

    step: int

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        if step == self.step:
            raise DataError(f"rows.json, row {step} (id 'x') shows none.png, which is not there.", "Leave it out.")
        return super().__getitem__(step)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("bad", [0, 5])
def test_a_bad_row_is_one_line_and_what_was_trained_is_saved(tmp_path: Path, workers: int, bad: int) -> None:
    stage = LineStage()
    stage.source = BadAt(bad)
    with pytest.raises(DataError) as raised:
        run(stage, tmp_path, workers=workers)
    assert raised.value.cause == f"rows.json, row {bad} (id 'x') shows none.png, which is not there."
    assert raised.value.remedy == "Leave it out."
    assert not (tmp_path / "metrics.jsonl").exists()
    assert (tmp_path / STATE_FILE).exists() == bool(bad)
    if bad:
        assert run(LineStage(), tmp_path, resume=True).step == 40


class Dying(Lines):
    """Lines whose process is killed, as the system does when memory runs out."""

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        if step == 3:
            os.kill(os.getpid(), signal.SIGKILL)
        return super().__getitem__(step)


def test_a_killed_worker_is_one_line_and_what_was_trained_is_saved(tmp_path: Path) -> None:
    stage = LineStage()
    stage.source = Dying()
    with pytest.raises(DataError, match="was ended by the system"):
        run(stage, tmp_path, workers=1)
    assert run(LineStage(), tmp_path, resume=True).step == 40


@pytest.mark.parametrize("damage", ["cut", "empty", "garbled", "another form", "no dict"])
def test_a_damaged_state_is_one_line(tmp_path: Path, damage: str) -> None:
    run(LineStage(), tmp_path, steps=4)
    state = tmp_path / STATE_FILE
    whole = state.read_bytes()
    match damage:
        case "cut":
            state.write_bytes(whole[: len(whole) // 2])
        case "empty":
            state.write_bytes(b"")
        case "garbled":
            state.write_bytes(bytes(byte ^ 0x5A for byte in whole))
        case "another form":
            torch.save({"stage": "line", "step": 3}, state)
        case _:
            torch.save([1, 2], state)
    with pytest.raises(DataError, match=r"training state in .* is damaged"):
        run(LineStage(), tmp_path, resume=True)


def test_a_state_is_loaded_when_the_modules_are_where_they_train(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(LineStage(), tmp_path, steps=4)
    moved: list[str] = []
    loaded: list[int] = []
    load = torch.optim.AdamW.load_state_dict

    def moving(self: nn.Linear, device: str) -> nn.Linear:
        moved.append(device)
        return self

    def loading(self: torch.optim.AdamW, state: dict[str, Any]) -> None:
        loaded.append(len(moved))
        load(self, state)

    monkeypatch.setattr(nn.Linear, "to", moving)
    monkeypatch.setattr(torch.optim.AdamW, "load_state_dict", loading)
    assert run(LineStage(), tmp_path, steps=6, resume=True).step == 6
    assert loaded == [2]  # both modules


def test_a_resumed_run_heeds_the_settings_that_it_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(LineStage(), tmp_path, steps=4)
    seen: list[dict[str, Any]] = []
    step = torch.optim.AdamW.step

    def stepping(self: torch.optim.AdamW) -> Any:
        seen.append({name: self.param_groups[0][name] for name in ("betas", "weight_decay")})
        return step(self)

    monkeypatch.setattr(torch.optim.AdamW, "step", stepping)
    optim = Optim(1e-3, (0.5, 0.6), weight_decay=0.25)
    train(LineStage(), Run(tmp_path, steps=5, workers=0, resume=True, precision="fp32"), optim)
    assert seen == [{"betas": (0.5, 0.6), "weight_decay": 0.25}]


@pytest.mark.parametrize("rate", [0.0, -1e-3, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(UsageError, match="--rate must be above 0"):
        Optim(rate)


def test_two_runs_never_train_into_one_folder(tmp_path: Path) -> None:
    run(LineStage(), tmp_path, steps=4)
    with held(tmp_path / LOCK_FILE, tmp_path), pytest.raises(StorageError, match="is being written by process"):
        run(LineStage(), tmp_path, resume=True)
    assert run(LineStage(), tmp_path, resume=True).step == 40
    assert not (tmp_path / LOCK_FILE).exists()


FULL_DISK = """
import resource, sys
from pathlib import Path
from torch import nn
from llava_engine.errors import StorageError
from tests.training.test_trainer import LineStage, run

class Wide(LineStage):
    def __init__(self):
        super().__init__()
        self.wide = nn.Linear(400, 400)
    def modules(self):
        return super().modules() | {"wide": self.wide}

out = Path(sys.argv[1])
run(Wide(), out, steps=4)
before = (out / "training-state.pt").read_bytes()
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
try:
    run(Wide(), out, steps=8, resume=True)
except StorageError as error:
    print(error.cause)
assert (out / "training-state.pt").read_bytes() == before
assert not [file for file in out.iterdir() if "part" in file.name], list(out.iterdir())
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert run(Wide(), out, steps=8, resume=True).step == 8
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit there")
def test_a_full_disk_is_one_line_and_the_state_before_stays(tmp_path: Path) -> None:
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "training-state.pt can not be written" in done.stdout
