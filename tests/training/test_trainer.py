"""The loop: it learns, resumes exactly, stops at Ctrl-C with everything saved, and leaves frozen parts alone."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from llava_engine.errors import DataError
from training.config import STATE_FILE, FlatThenLinear, Optim, Run
from training.figures import Figures
from training.trainer import Outcome, ParameterGroup, train

QUICK = Optim(learning_rate=0.05, schedule=FlatThenLinear(warmup=2))


@dataclass(frozen=True)
class Lines:
    """Points near y = 2x - 1, other ones each step."""

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        x = torch.randn(16, 1, generator=torch.Generator().manual_seed(step))
        return x, 2 * x - 1


class LineStage:
    """Fits a line; a second layer stays frozen until `start`."""

    name = "line"

    def __init__(self, *, start: float = 1.0, interrupt_at: int | None = None) -> None:
        torch.manual_seed(0)
        self.line, self.frozen = nn.Linear(1, 1), nn.Linear(1, 1)
        self.start, self.interrupt_at, self.seen = start, interrupt_at, 0.0
        self.source = Lines()

    def batch_key(self, step: int, progress: float) -> int:
        return step

    def loss(self, batch: tuple[Tensor, Tensor], step: int, progress: float) -> tuple[Tensor, Figures]:
        if step == self.interrupt_at:
            os.kill(os.getpid(), signal.SIGINT)
        self.seen += 1
        x, y = batch
        return (self.line(x) + 0.1 * self.frozen(x) - y).square().mean(), Figures(
            ("right",), torch.tensor([[1.0, 2.0]])
        )

    def groups(self) -> list[ParameterGroup]:
        late = ParameterGroup(tuple(self.frozen.parameters()), 1.0, self.start)
        return [ParameterGroup(tuple(self.line.parameters())), late]

    def modules(self) -> dict[str, nn.Module]:
        return {"line": self.line, "frozen": self.frozen}

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]

    def export(self, out: Path) -> None:
        (out / "exported").write_text("yes")


def run(stage: LineStage, out: Path, *, resume: bool = False, steps: int = 40, workers: int = 0) -> Outcome:
    return train(stage, Run(out, steps=steps, workers=workers, log_steps=10, resume=resume, precision="fp32"), QUICK)


def weights(stage: LineStage) -> list[Tensor]:
    return [p.detach().clone() for module in stage.modules().values() for p in module.parameters()]


def test_the_loss_falls_and_frozen_parts_stay(tmp_path: Path) -> None:
    stage = LineStage()
    before = weights(stage)
    outcome = run(stage, tmp_path)
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["loss"] < 0.2 * rows[0]["loss"]
    assert [row["step"] for row in rows] == [10, 20, 30, 40]
    assert rows[0]["right"] == 0.5
    assert (outcome.step, outcome.interrupted) == (40, False)
    assert (tmp_path / "exported").is_file()
    after = weights(stage)
    assert not torch.equal(before[0], after[0])
    assert torch.equal(before[2], after[2]) and torch.equal(before[3], after[3])


def test_a_late_group_moves_late(tmp_path: Path) -> None:
    stage = LineStage(start=0.5)
    before = weights(stage)
    run(stage, tmp_path / "a", steps=40)
    assert not torch.equal(before[2], weights(stage)[2])


@pytest.mark.parametrize("workers", [0, 1])
def test_stopped_and_resumed_equals_never_stopped(tmp_path: Path, workers: int) -> None:
    straight = LineStage(start=0.4)
    run(straight, tmp_path / "straight", workers=workers)
    stopped = LineStage(start=0.4, interrupt_at=14)
    outcome = run(stopped, tmp_path / "parts", workers=workers)
    assert (outcome.step, outcome.interrupted) == (15, True)
    resumed = LineStage(start=0.4)
    assert run(resumed, tmp_path / "parts", resume=True, workers=workers).step == 40
    assert resumed.seen == 40
    for one, other in zip(weights(straight), weights(resumed), strict=True):
        assert torch.equal(one, other)


def test_a_finished_run_resumes_to_nothing_more(tmp_path: Path) -> None:
    stage = LineStage()
    run(stage, tmp_path)
    again = LineStage()
    outcome = run(again, tmp_path, resume=True)
    assert (outcome.step, outcome.interrupted) == (40, False)
    assert torch.equal(weights(stage)[0], weights(again)[0])


def test_nothing_to_resume_and_another_stage_s_state_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nothing to resume"):
        run(LineStage(), tmp_path, resume=True)
    run(LineStage(), tmp_path, steps=2)
    other = LineStage()
    other.name = "circle"
    with pytest.raises(DataError, match="of 'line', not of 'circle'"):
        run(other, tmp_path, resume=True)
    assert not list(tmp_path.glob("*.part"))
    assert (tmp_path / STATE_FILE).is_file()


def test_a_run_ends_by_steps_or_by_the_clock(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--steps or --minutes"):
        Run(tmp_path)
    with pytest.raises(DataError, match="--steps or --minutes"):
        Run(tmp_path, steps=3, minutes=1)
    outcome = train(LineStage(), Run(tmp_path, minutes=0.002, workers=0), QUICK)
    assert outcome.seconds >= 0.12
    assert not outcome.interrupted
