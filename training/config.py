"""The settings of a training run, as frozen values. Contradictions are refused here, with the flag's name.

Knows no torch, so that the command line may import it before anything heavy.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from llava_engine.errors import DataError, UsageError

Precision = Literal["auto", "bf16", "fp32"]
Task = Literal["pretrain", "finetune"]
STATE_FILE = "training-state.pt"


@dataclass(frozen=True)
class Cosine:
    """A rate that rises in a line and falls along half a cosine to nothing: LLaVA's recipes (Liu et al. 2023).

    Attributes:
        warmup: the part of the run in which it rises.
    """

    warmup: float = 0.03

    def factor(self, step: int, progress: float, steps: int | None) -> float:
        """What part of the highest rate holds at this step, counted from 0.

        Args:
            step: how many steps are done.
            progress: how much of the run is done, from 0 to 1.
            steps: of the whole run; None where it ends by the clock.
        """
        if steps is not None:
            rising = math.ceil(self.warmup * steps)
            if step < rising:
                return (step + 1) / rising  # transformers' own begins at 0, a step that moves nothing
            progress, begun = step / steps, rising / steps
        else:
            begun = self.warmup
            if progress < begun:
                return max(progress, 1e-3) / begun
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (progress - begun) / (1 - begun)))) if begun < 1 else 1.0


@dataclass(frozen=True)
class FlatThenLinear:
    """A rate that rises, stays flat, and falls in a line to almost nothing; see `Cosine.factor`.

    Attributes:
        warmup: steps in which it rises.
        flat: the part of the run after which it begins to fall.
        floor: what is left of it at the very end.
    """

    warmup: int = 100
    flat: float = 0.5
    floor: float = 0.01

    def factor(self, step: int, progress: float, steps: int | None) -> float:
        """As `Cosine.factor`."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = min(1.0, max(0.0, (1 - progress) / (1 - self.flat))) if self.flat < 1 else 1.0
        return rising * (self.floor + (1 - self.floor) * left)


@dataclass(frozen=True)
class Optim:
    """How weights move: AdamW (Loshchilov & Hutter 2019), by default as LLaVA's trainer sets it.

    Attributes:
        learning_rate: the highest.
        betas: decay of the two running means.
        weight_decay: of matrices only.
        clip: the norm of all gradients together is cut to this.
        schedule: how the rate goes over the run.
    """

    learning_rate: float = 2e-5
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    clip: float = 1.0
    schedule: Cosine | FlatThenLinear = Cosine()

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise UsageError(f"--rate must be above 0, not {self.learning_rate}.")

    def rate(self, step: int, progress: float, steps: int | None) -> float:
        """The learning rate at a step; see `Cosine.factor`."""
        return self.learning_rate * self.schedule.factor(step, progress, steps)


def optim_of_rows(task: Task, *, linear_projector: bool) -> Optim:
    """What LLaVA was trained with: 2e-5, and to align a new projector 1e-3, or 2e-3 for the linear one of v0 and v1."""
    if task == "finetune":
        return Optim()
    return Optim(learning_rate=2e-3 if linear_projector else 1e-3)


@dataclass(frozen=True)
class Run:
    """One training run: where it writes, how long it goes on, and with which means.

    Attributes:
        out: the run's folder: the model, the training state and the metrics.
        steps: the run ends after so many steps; None when it ends by the clock.
        minutes: the run ends after so much training time, over all its resumptions. Such a run can not be repeated bit
            for bit, since the rate then follows the clock.
        seed: the same seed and the same steps give the same weights.
        save_minutes: the training state is written this often.
        log_steps: a row of metrics.jsonl stands for so many steps.
        threads: processor cores that torch computes with; None leaves it to torch.
        workers: processes that prepare batches; 0 prepares them between the steps.
        precision: "bf16" computes products in bfloat16 (weights stay fp32); "auto" takes it where the machine has it.
        device: where to train, as torch names it.
        resume: go on from the training state in `out`.
    """

    out: Path
    steps: int | None = None
    minutes: float | None = None
    seed: int = 0
    save_minutes: float = 5.0
    log_steps: int = 50
    threads: int | None = None
    workers: int = 1
    precision: Precision = "auto"
    device: str = "cpu"
    resume: bool = False

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.minutes is None):
            raise DataError("A run needs either --steps or --minutes, not both.", "Give one of the two.")
        if self.steps is not None and self.steps < 1:
            raise DataError(f"--steps must be 1 or more, not {self.steps}.")
        if self.minutes is not None and self.minutes <= 0:
            raise DataError(f"--minutes must be above 0, not {self.minutes}.")

    def progress(self, step: int, seconds: float) -> float:
        """How much of the run is done before `step`, from 0 to 1; `seconds` is the training time so far."""
        done = step / self.steps if self.steps is not None else seconds / (60 * (self.minutes or 1))
        return min(1.0, done)
