"""The model that comes along, from nothing: the stages in their order, each in its own folder of a run.

A stage that is done is passed over, one that was stopped or killed goes on from its state: so the same call, made
again, ends with the very weights of a call that was never stopped. Knows no command line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.opening import Source
from training.config import STATE_FILE, Run, Task
from training.embedded import tiny
from training.embedded.settings import Curriculum, Part, Plan, Start, TinyShape
from training.trainer import Outcome
from training.tuning import WORLD, DataSettings, tune

Say = Callable[[str], None]


@dataclass(frozen=True)
class Means:
    """What a run is computed with; it changes no batch.

    Attributes:
        device: as torch names it.
        workers: processes that draw and ask.
        threads: processor cores for the training itself; None leaves it to torch.
        save_minutes: the state is written this often.
    """

    device: str = "cpu"
    workers: int = 1
    threads: int | None = None
    save_minutes: float = 2.0

    def run(self, out: Path, steps: int, seed: int, *, resume: bool = True) -> Run:
        """A stage's run into a folder, which goes on where it stopped if it was begun and `resume` is said."""
        return Run(
            out,
            steps=steps,
            seed=seed,
            save_minutes=self.save_minutes,
            threads=self.threads,
            workers=self.workers,
            device=self.device,
            resume=resume and (out / STATE_FILE).is_file(),
        )


def make_start(
    out: Path,
    plan: Plan,
    means: Means,
    seed: int,
    say: Say,
    *,
    shape: TinyShape = TinyShape(),  # noqa: B008 - frozen
    only: Start | None = None,
    resume: bool = True,
) -> Outcome | None:
    """Tokenizer, tower and language model, and all of them together as a model in `out`/model.

    Args:
        out: the folder of all parts.
        plan: how long the parts are trained.
        means: what with.
        seed: of everything.
        say: shows progress lines.
        shape: of tower and language model.
        only: make this part alone.
        resume: go on with parts that were begun.

    Returns:
        How the stage ended that was stopped; None when all is done.
    """
    if only in (None, Start.tokenizer) and not (resume and (out / "tokenizer" / "tokenizer_config.json").is_file()):
        tiny.make_tokenizer(shape, out / "tokenizer", seed)
    if only in (None, Start.tower):
        run = means.run(out / "tower", plan.tower.steps, seed, resume=resume)
        if (outcome := tiny.train_tower(shape, run, plan.tower, say)).interrupted:
            return outcome
    if only in (None, Start.language):
        run = means.run(out / "language", plan.language.steps, seed, resume=resume)
        tokenizer = Tokenizer.from_folder(out / "tokenizer")
        if (outcome := tiny.train_language(shape, run, tokenizer, plan.language, say)).interrupted:
            return outcome
    if only in (None, Start.together):
        folders = {name: out / name for name in ("tower", "language", "tokenizer")}
        tiny.put_together(shape, **folders, out=out, seed=seed)
    return None


def rebuild(
    out: Path,
    plan: Plan,
    means: Means,
    seed: int,
    say: Say,
    *,
    shape: TinyShape = TinyShape(),  # noqa: B008 - frozen
) -> Outcome | None:
    """Every stage; the model is in `out`/finetune/model then. See `make_start` for what is given and returned."""
    stopped = make_start(out / "tiny", plan, means, seed, say, shape=shape)
    stages: list[tuple[Task, str, Part]] = [
        ("pretrain", "tiny", plan.pretrain),
        ("finetune", "pretrain", plan.finetune),
    ]
    for task, start, part in stages:
        if stopped is not None:
            break
        run = means.run(out / task, part.steps, seed)
        outcome = tune(
            task, Source(str(out / start)), DataSettings(WORLD, batch=part.size), run, part.optim, Curriculum(), say
        )
        stopped = outcome if outcome.interrupted else None
    return stopped
