"""What a run tells while it goes on: a progress line, and rows of metrics.jsonl.

In: one call a step. Out: lines for whoever shows them, numbers for whoever plots them. What a step hands over is read
only when it is written or shown, so that a GPU need not wait for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any, TextIO

from torch import Tensor

from llava_engine.files.atomic import storage_errors, write_text
from training.config import Run
from training.figures import Figures

METRICS_FILE = "metrics.jsonl"
SAY_EVERY_S = 5.0


class Track:
    """Sums up steps, and says so. A row's figures are means over the steps since the row before."""

    def __init__(self, run: Run, stage: str, step: int, seconds: float, say: Callable[[str], None]) -> None:
        self._run, self._stage, self._say = run, stage, say
        self._file: TextIO | None = None  # there is none before there is a row
        self._step, self._seconds = step, seconds
        self.steps = 0  # since it began
        self.waited = 0.0  # seconds since the row before in which the next batch was not there yet
        self._sums: Figures | None = None
        self._said = 0.0
        self._last: dict[str, Any] = {}
        if run.resume:
            self._forget_after(step)

    def step(self, step: int, seconds: float, loss: Tensor, rate: float, figures: Figures) -> None:
        """One step is done: `step` in all, after `seconds` of training."""
        self.steps += 1
        figures = Figures.of(loss=loss) | figures
        self._sums = figures if self._sums is None else self._sums + figures
        if step % self._run.log_steps == 0:
            self._write(step, seconds, rate)
        if time.monotonic() - self._said > SAY_EVERY_S:
            self._said = time.monotonic()
            self._say(self._line(step, seconds, loss.item(), rate))

    def close(self, step: int, seconds: float) -> None:
        """The run is over (or stopped): write what is left."""
        if self._sums is not None:
            self._write(step, seconds, 0.0)
        if self._file is not None:
            self._file.close()
        self._say(f"{self._stage}: step {step}, {seconds / 60:.1f} min, done")

    def _write(self, step: int, seconds: float, rate: float) -> None:
        assert self._sums is not None
        means = {name: round(mean, 4) for name, mean in self._sums.means().items()}
        row: dict[str, Any] = {
            "stage": self._stage,
            "step": step,
            "minutes": round(seconds / 60, 2),
            "loss": means.pop("loss"),
            "learning_rate": float(f"{rate:.3g}"),
            "s_per_step": round((seconds - self._seconds) / max(1, step - self._step), 4),
            "waiting": round(self.waited / max(1e-9, seconds - self._seconds), 3),
            **dict(sorted(means.items())),
        }
        path = self._run.out / METRICS_FILE
        with storage_errors(path):
            if self._file is None:
                self._file = path.open("a", encoding="utf-8")
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
        self._last, self._sums, self.waited = row, None, 0.0
        self._step, self._seconds = step, seconds

    def _forget_after(self, step: int) -> None:
        """Rows of steps that a killed run did after its last saved state; they are done again now."""
        path = self._run.out / METRICS_FILE
        with storage_errors(path):
            lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
            kept = [line for line in lines if _step_of(line) <= step]
            if kept != lines:
                write_text(path, "".join(line + "\n" for line in kept))

    def _line(self, step: int, seconds: float, loss: float, rate: float) -> str:
        done = self._run.progress(step, seconds)
        left = seconds * (1 - done) / done / 60 if done > 0 else 0.0
        of = f"/{self._run.steps}" if self._run.steps is not None else ""
        exact = f" · right {100 * self._last['right']:.1f} %" if "right" in self._last else ""
        return (
            f"{self._stage}: step {step}{of} · {100 * done:.1f} % · loss {loss:.3f}{exact}"
            f" · rate {rate:.2g} · {left:.1f} min left"
        )


def _step_of(line: str) -> float:
    """The step of a row; a row that was cut off while it was written is of no step."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        return float("inf")
