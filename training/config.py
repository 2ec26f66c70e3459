"""The settings of a training run, as frozen values. Contradictions are refused here, with the flag's name.

Knows no torch, so that the command line may import it before anything heavy.
"""

from __future__ import annotations

from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Literal

from llava_engine.errors import DataError

Precision = Literal["auto", "bf16", "fp32"]
Task = Literal["pretrain", "finetune"]
STATE_FILE = "training-state.pt"


@dataclass(frozen=True)
class Optim:
    """How weights move: AdamW, with a rate that warms up, stays flat, and falls in a line to almost nothing.

    Attributes:
        rate: the highest learning rate.
        betas: decay of the two running means.
        decay: weight decay, on matrices only.
        clip: the gradient's norm is cut to this.
        warmup: steps in which the rate rises from nothing.
        flat: the part of the run after which the rate begins to fall.
        floor: what is left of the rate at the very end.
    """

    rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.98)
    decay: float = 0.05
    clip: float = 1.0
    warmup: int = 100
    flat: float = 0.5
    floor: float = 0.01

    def factor(self, step: int, progress: float) -> float:
        """What part of `rate` holds at this step; `progress` is how much of the run is done, from 0 to 1."""
        rising = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        left = min(1.0, max(0.0, (1 - progress) / (1 - self.flat))) if self.flat < 1 else 1.0
        return rising * (self.floor + (1 - self.floor) * left)


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


@dataclass(frozen=True)
class TinyShape:
    """The sizes of the tiny LLaVA that `llava train tiny` starts.

    Attributes:
        picture: side of the square picture that the tower sees, in pixels.
        patch: side of a patch; the picture has (picture / patch)² tokens.
        tower_width, tower_layers, tower_heads, tower_mlp: the CLIP tower.
        width, layers, heads, mlp: the Llama.
        vocabulary: pieces of the tokenizer, at most.
        context: how many tokens the Llama can hold.
    """

    picture: int = 96
    patch: int = 12
    tower_width: int = 128
    tower_layers: int = 5
    tower_heads: int = 4
    tower_mlp: int = 512
    width: int = 128
    layers: int = 4
    heads: int = 4
    mlp: int = 352
    vocabulary: int = 1000
    context: int = 2048


@dataclass(frozen=True)
class Course:
    """How finetuning goes on.

    Attributes:
        first_most: items a picture has at first, until `mastered` of the training answers are wholly right.
        most: items a picture has then; with them come the families beyond the core.
        mastered: see above.
        plain_until: part of the run in which the plainest wordings fade out.
        thaw: part of the run after which the tower moves too; 1 keeps it frozen.
        tower_rate: the tower's rate, as a factor.
        labels: weight of the tower's patch labels while it moves.
        mentions: weight of the grounded mentions.
    """

    first_most: int = 2
    most: int = 4
    mastered: float = 0.65
    plain_until: float = 0.1
    thaw: float = 0.8
    tower_rate: float = 0.1
    labels: float = 0.3
    mentions: float = 0.5


@dataclass(frozen=True)
class EmbeddedSteps:
    """How long each stage of the shipped model is trained (docs/embedded-model.md says what each gave)."""

    tower: int = 19_700
    language: int = 400
    pretrain: int = 480
    finetune: int = 15_000

    def scaled(self, scale: float) -> EmbeddedSteps:
        """All of them times `scale`, and at least one."""
        return EmbeddedSteps(*(max(1, round(scale * steps)) for steps in astuple(self)))
