"""What a run tells while it goes on: a progress line, and rows of metrics.jsonl.

In: one call a step. Out: lines for whoever shows them, numbers for whoever plots them. Knows no torch.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any, TextIO

from llava_engine.files.atomic import storage_errors
from training.config import Run

METRICS_FILE = "metrics.jsonl"
SAY_EVERY_S = 5.0


class Track:
    """Sums up steps, and says so. A row's figures are means over the steps since the row before."""

    def __init__(self, run: Run, stage: str, step: int, seconds: float, say: Callable[[str], None]) -> None:
        self._run, self._stage, self._say = run, stage, say
        self._file: TextIO | None = None  # there is none before there is a row
        self._step, self._seconds = step, seconds
        self._losses: list[float] = []
        self._sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
        self._said = 0.0
        self._last: dict[str, Any] = {}

    def step(
        self, step: int, seconds: float, loss: float, rate: float, figures: dict[str, tuple[float, float]]
    ) -> None:
        """One step is done: `step` in all, after `seconds` of training."""
        self._losses.append(loss)
        for name, (total, count) in figures.items():
            self._sums[name][0] += total
            self._sums[name][1] += count
        if step % self._run.log_steps == 0:
            self._write(step, seconds, rate)
        if time.monotonic() - self._said > SAY_EVERY_S:
            self._said = time.monotonic()
            self._say(self._line(step, seconds, loss, rate))

    def close(self, step: int, seconds: float) -> None:
        """The run is over (or stopped): write what is left."""
        if self._losses:
            self._write(step, seconds, 0.0)
        if self._file is not None:
            self._file.close()
        self._say(f"{self._stage}: step {step}, {seconds / 60:.1f} min, done")

    def _write(self, step: int, seconds: float, rate: float) -> None:
        row: dict[str, Any] = {
            "stage": self._stage,
            "step": step,
            "minutes": round(seconds / 60, 2),
            "loss": round(sum(self._losses) / len(self._losses), 4),
            "learning_rate": float(f"{rate:.3g}"),
            "s_per_step": round((seconds - self._seconds) / max(1, step - self._step), 4),
        }
        figures = {name: round(total / count, 4) for name, (total, count) in sorted(self._sums.items()) if count}
        path = self._run.out / METRICS_FILE
        with storage_errors(path):
            if self._file is None:
                self._file = path.open("a", encoding="utf-8")
            self._file.write(json.dumps(row | figures) + "\n")
            self._file.flush()
        self._last = row | figures
        self._losses.clear()
        self._sums.clear()
        self._step, self._seconds = step, seconds

    def _line(self, step: int, seconds: float, loss: float, rate: float) -> str:
        done = self._run.progress(step, seconds)
        left = seconds * (1 - done) / done / 60 if done > 0 else 0.0
        of = f"/{self._run.steps}" if self._run.steps is not None else ""
        exact = f" · right {100 * self._last['right']:.1f} %" if "right" in self._last else ""
        return (
            f"{self._stage}: step {step}{of} · {100 * done:.1f} % · loss {loss:.3f}{exact}"
            f" · rate {rate:.2g} · {left:.1f} min left"
        )
