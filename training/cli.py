"""`llava train`: tiny, pretrain, finetune, embedded.

Turns options into settings, shows progress, and says how to go on after Ctrl-C. Importing it imports neither torch nor
transformers: each command fetches what it needs when it runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.errors import DataError, UsageError
from llava_engine.flags import mounted
from llava_engine.opening import Placement, Source
from llava_engine.terminal_safe import one_line, strip_control
from training.config import STATE_FILE, Optim, Precision, Run
from training.embedded.settings import PLAN, Curriculum, Start

if TYPE_CHECKING:
    from training.embedded.rebuild import Means
    from training.trainer import Outcome

# What of a model's placement is for inference only: to drop it unsaid would be to train otherwise than asked for.
_NOT_IN_TRAINING = {
    "--dtype": "Weights are trained in float32; --precision says how products are computed.",
    "--quantize": "Quantized weights can not move by small steps; quantize the trained model when you open it.",
    "--max-memory": "No memory is planned for training; --batch makes a step smaller.",
    "--devices": "Training takes one device: --device.",
    "--slots": "Nobody is answered while a model is trained.",
}

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Train a model: a tiny one from nothing, or any LLaVA on data of yours.",
    epilog="""\b
Examples:
  llava train embedded --out runs                       the model that comes along, from nothing
  llava train tiny --out runs/tiny                      only its start: tower, tokenizer, language model
  llava train pretrain --model runs/tiny --data world --minutes 4 --out runs/pretrain
  llava train finetune --model runs/pretrain --data world --minutes 75 --out runs/finetune
  llava train finetune --model llava-7b --data rows.json --images photos --steps 1000 --out runs/mine
""",
)


class PrecisionOption(StrEnum):
    """How products are computed."""

    auto = "auto"
    bf16 = "bf16"
    fp32 = "fp32"


Out = Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="The run's folder: model, state, metrics.")]
Model = Annotated[
    str, typer.Option("--model", "-m", metavar="FOLDER|ID", help="Where to start: a model, or a run's folder.")
]
Data = Annotated[
    str,
    typer.Option(
        "--data", "-d", metavar="FILE|world", help="Rows in LLaVA's form (.json, .jsonl), or the picture world."
    ),
]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="The folder that the rows' pictures are in.")
]
Steps = Annotated[int | None, typer.Option("--steps", metavar="N", min=1, help="End after so many steps …")]
Minutes = Annotated[
    float | None, typer.Option("--minutes", metavar="N", help="… or after so many minutes of training.")
]
Rate = Annotated[
    float | None,
    typer.Option(
        "--rate",
        metavar="R",
        help="The highest learning rate; by default that of LLaVA's recipes, and the world's own.",
    ),
]
Batch = Annotated[
    int | None, typer.Option("--batch", metavar="N", min=1, help="Rows a step, or pictures of the world.")
]
Seed = Annotated[int, typer.Option("--seed", metavar="S", help="The same seed and steps give the same weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state in --out.")]
SaveMinutes = Annotated[float, typer.Option("--save-minutes", metavar="N", help="Write model and state this often.")]
Workers = Annotated[int, typer.Option("--workers", metavar="N", min=0, help="Processes that prepare batches.")]
Threads = Annotated[
    int | None, typer.Option("--threads", metavar="N", min=1, help="Processor cores for the training itself.")
]
Device = Annotated[str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.")]
PrecisionChoice = Annotated[PrecisionOption, typer.Option("--precision", help="bf16 where the machine is fast at it.")]


@app.command()
def tiny(
    out: Out,
    only: Annotated[
        Start | None, typer.Option("--only", help="Make one part, so that parts can run side by side.")
    ] = None,
    tower_steps: Annotated[
        int, typer.Option("--tower-steps", metavar="N", min=1, help="How long the tower is trained.")
    ] = (PLAN.tower.steps),
    language_steps: Annotated[
        int,
        typer.Option("--language-steps", metavar="N", min=1, help="How long the language model is trained on text."),
    ] = PLAN.language.steps,
    seed: Seed = 0,
    resume: Resume = False,
    threads: Threads = 1,
    workers: Workers = 1,
    device: Device = "auto",
) -> None:
    """Make a tiny LLaVA to begin with.

    Its tower knows drawn shapes, its language model knows words.
    """
    from training.embedded.rebuild import make_start

    plan = replace(
        PLAN, tower=replace(PLAN.tower, steps=tower_steps), language=replace(PLAN.language, steps=language_steps)
    )
    means = _means(device, workers, threads)
    stopped = make_start(out, plan, means, seed, _progress(), only=only, resume=resume)
    _finished(stopped, f"llava train tiny --out {out} --resume")
    if only in (None, Start.together):
        typer.echo(strip_control(f"The tiny start is in {out / 'model'}."), err=True)


@app.command()
@mounted(typer.Option)
def pretrain(
    model: Model,
    data: Data,
    out: Out,
    images: Images = None,
    steps: Steps = None,
    minutes: Minutes = None,
    rate: Rate = None,
    batch: Batch = None,
    seed: Seed = 0,
    resume: Resume = False,
    save_minutes: SaveMinutes = 5.0,
    workers: Workers = 1,
    threads: Threads = None,
    precision: PrecisionChoice = PrecisionOption.auto,
    *,
    source: Source,
    placement: Placement,
) -> None:
    """Align the projector on captions.

    Tower and language model stay as they are.
    """
    from training import tuning

    run = _run(out, steps, minutes, seed, resume, save_minutes, workers, threads, precision, placement)
    settings = tuning.DataSettings(data, images, batch, placement.context)
    _finished(tuning.tune("pretrain", source, settings, run, _optim(data, rate), Curriculum(), _progress()), _again())


@app.command()
@mounted(typer.Option)
def finetune(
    model: Model,
    data: Data,
    out: Out,
    images: Images = None,
    steps: Steps = None,
    minutes: Minutes = None,
    rate: Rate = None,
    unfreeze_at: Annotated[
        float | None,
        typer.Option(
            "--unfreeze-at",
            metavar="PART",
            min=0,
            max=1,
            help="Train the tower too after this part of the run; 0.8 for the world, else never.",
        ),
    ] = None,
    batch: Batch = None,
    seed: Seed = 0,
    resume: Resume = False,
    save_minutes: SaveMinutes = 5.0,
    workers: Workers = 1,
    threads: Threads = None,
    precision: PrecisionChoice = PrecisionOption.auto,
    *,
    source: Source,
    placement: Placement,
) -> None:
    """Train projector and language model on conversations.

    Conversations about pictures; over the picture world the tower learns too, late in the run.
    """
    from training import tuning

    usual = Curriculum().unfreeze_at if data == tuning.WORLD else 1.0
    curriculum = Curriculum(unfreeze_at=usual if unfreeze_at is None else unfreeze_at)
    run = _run(out, steps, minutes, seed, resume, save_minutes, workers, threads, precision, placement)
    settings = tuning.DataSettings(data, images, batch, placement.context)
    _finished(tuning.tune("finetune", source, settings, run, _optim(data, rate), curriculum, _progress()), _again())


@app.command()
def embedded(
    out: Out,
    seed: Seed = 0,
    scale: Annotated[
        float,
        typer.Option("--scale", metavar="X", min=0, help="All steps times this; 0.001 tries the way in a minute."),
    ] = 1.0,
    threads: Threads = 1,
    workers: Workers = 1,
    device: Device = "auto",
) -> None:
    """Rebuild the model that comes along, from nothing.

    Stage by stage; called again, it goes on where it stopped.
    """
    from training.embedded.rebuild import rebuild

    stopped = rebuild(out, PLAN.scaled(scale), _means(device, workers, threads), seed, _progress())
    _finished(stopped, _again(resume=False))
    typer.echo(strip_control(f"The model is in {out / 'finetune' / 'model'}."), err=True)


def _means(device: str, workers: int, threads: int | None) -> Means:
    from llava_engine.model.placement import first_device
    from training.embedded.rebuild import Means

    return Means(first_device(device), workers, threads)


def _run(
    out: Path,
    steps: int | None,
    minutes: float | None,
    seed: int,
    resume: bool,
    save_minutes: float,
    workers: int,
    threads: int | None,
    precision: PrecisionOption,
    placement: Placement,
) -> Run:
    from llava_engine.model.placement import first_device

    for flag in placement.changed():
        if flag in _NOT_IN_TRAINING:
            raise UsageError(f"{flag} does not go with training.", _NOT_IN_TRAINING[flag])
    named: Precision = precision.value
    if not resume and (out / STATE_FILE).is_file():
        raise DataError(f"{out} holds a run already.", "Go on with --resume, or choose another --out.")
    return Run(
        out,
        steps=steps,
        minutes=minutes,
        seed=seed,
        save_minutes=save_minutes,
        workers=workers,
        threads=threads,
        precision=named,
        device=first_device(placement.device),
        resume=resume,
    )


def _optim(data: str, rate: float | None) -> Optim | None:
    from training import tuning

    if rate is None:
        return None
    return replace(PLAN.finetune.optim if data == tuning.WORLD else Optim(), learning_rate=rate)


def _progress() -> Callable[[str], None]:
    """Shows progress on standard error: one line that changes on a terminal, a line each time elsewhere."""
    if not sys.stderr.isatty():
        return lambda line: typer.echo(strip_control(line), err=True)

    def show(line: str) -> None:
        typer.echo(f"\r\x1b[2K{one_line(line)}" + ("\n" if line.endswith("done") else ""), nl=False, err=True)

    return show


def _again(*, resume: bool = True) -> str:
    """This command, with --resume where it takes that."""
    words = ["llava", *sys.argv[1:]]
    return " ".join([*words, *(["--resume"] if resume and "--resume" not in words else [])])


def _finished(outcome: Outcome | None, again: str) -> None:
    if outcome is not None and outcome.interrupted:
        typer.echo(
            strip_control(f"Stopped after step {outcome.step}; everything is saved. Go on with:\n  {again}"), err=True
        )
        raise typer.Exit(130)
