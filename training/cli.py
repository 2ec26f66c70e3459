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
from training.config import STATE_FILE, Optim, Precision, Run, Task
from training.embedded.settings import OPTIM, Curriculum, EmbeddedSteps, TinyShape

if TYPE_CHECKING:
    from training.trainer import Outcome

EMBEDDED = EmbeddedSteps()

# What of a model's placement is for inference only: to drop it unsaid would be to train otherwise than asked for.
_NOT_IN_TRAINING = {
    "--dtype": "Weights are trained in float32; --precision says how products are computed.",
    "--quantize": "Quantized weights can not move by small steps; quantize the trained model when you open it.",
    "--max-memory": "No memory is planned for training; --batch makes a step smaller.",
    "--devices": "Training takes one device: --device.",
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


class Part(StrEnum):
    """A part of the tiny start."""

    tokenizer = "tokenizer"
    tower = "tower"
    language = "language"
    together = "together"


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
Steps = Annotated[int | None, typer.Option("--steps", min=1, help="End after so many steps …")]
Minutes = Annotated[float | None, typer.Option("--minutes", help="… or after so many minutes of training.")]
Rate = Annotated[
    float | None,
    typer.Option("--rate", help="The highest learning rate; by default that of LLaVA's recipes, and the world's own."),
]
Batch = Annotated[int, typer.Option("--batch", min=1, help="Rows a step (with --data FILE).")]
Seed = Annotated[int, typer.Option("--seed", help="The same seed and steps give the same weights.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on from the state in --out.")]
SaveMinutes = Annotated[float, typer.Option("--save-minutes", help="Write model and state this often.")]
Workers = Annotated[int, typer.Option("--workers", min=0, help="Processes that prepare batches.")]
Threads = Annotated[int | None, typer.Option("--threads", min=1, help="Processor cores for the training itself.")]
PrecisionChoice = Annotated[PrecisionOption, typer.Option("--precision", help="bf16 where the machine is fast at it.")]


@app.command()
def tiny(
    out: Out,
    only: Annotated[
        Part | None, typer.Option("--only", help="Make one part, so that parts can run side by side.")
    ] = None,
    tower_steps: Annotated[int, typer.Option("--tower-steps", min=1, help="How long the tower is trained.")] = (
        EMBEDDED.tower
    ),
    language_steps: Annotated[
        int, typer.Option("--language-steps", min=1, help="How long the language model is trained on text.")
    ] = EMBEDDED.language,
    seed: Seed = 0,
    resume: Resume = False,
    threads: Threads = 1,
    workers: Workers = 1,
) -> None:
    """Make a tiny LLaVA to begin with: a tower that knows drawn shapes, a language model that knows words."""
    from llava_engine.conversation.tokenizer import Tokenizer
    from training.embedded import tiny as parts

    shape = TinyShape()

    def run(name: str, steps: int) -> Run:
        going_on = resume and (out / name / STATE_FILE).is_file()
        return Run(out / name, steps=steps, seed=seed, workers=workers, threads=threads, resume=going_on)

    again = f"llava train tiny --out {out} --resume"
    if only in (None, Part.tokenizer) and not (resume and (out / "tokenizer" / "tokenizer.json").is_file()):
        parts.make_tokenizer(shape, out / "tokenizer", seed)
    if only in (None, Part.tower):
        _finished(parts.train_tower(shape, run("tower", tower_steps), _progress()), again)
    if only in (None, Part.language):
        tokenizer = Tokenizer.from_folder(out / "tokenizer")
        _finished(
            parts.train_language(shape, run("language", language_steps), tokenizer, _progress()),
            again,
        )
    if only in (None, Part.together):
        folders = {name: out / name for name in ("tower", "language", "tokenizer")}
        parts.put_together(shape, **folders, out=out, seed=seed)
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
    batch: Batch = 32,
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
    """Align the projector on captions; tower and language model stay as they are."""
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
            min=0,
            max=1,
            help="Train the tower too after this part of the run; 0.8 for the world, else never.",
        ),
    ] = None,
    batch: Batch = 16,
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
    """Train projector and language model on conversations about pictures; late in the run the tower too."""
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
        float, typer.Option("--scale", help="All steps times this; 0.001 tries the way in a minute.")
    ] = 1.0,
    threads: Threads = 1,
) -> None:
    """Rebuild the model that comes along, from nothing, stage by stage; call it again to go on where it stopped."""
    from training import tuning

    steps = EMBEDDED.scaled(scale)
    tiny(out / "tiny", None, steps.tower, steps.language, seed, True, threads, 1)
    stages: list[tuple[Task, str, int]] = [
        ("pretrain", "tiny", steps.pretrain),
        ("finetune", "pretrain", steps.finetune),
    ]
    for task, start, count in stages:
        going_on = (out / task / STATE_FILE).is_file()
        run = Run(out / task, steps=count, seed=seed, threads=threads, resume=going_on)
        source = Source(str(out / start))
        outcome = tuning.tune(task, source, tuning.DataSettings(tuning.WORLD), run, OPTIM, Curriculum(), _progress())
        _finished(outcome, f"llava train embedded --out {out}")
    typer.echo(strip_control(f"The model is in {out / 'finetune' / 'model'}."), err=True)


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
    return replace(OPTIM if data == tuning.WORLD else Optim(), learning_rate=rate)


def _progress() -> Callable[[str], None]:
    """Shows progress on standard error: one line that changes on a terminal, a line each time elsewhere."""
    if not sys.stderr.isatty():
        return lambda line: typer.echo(strip_control(line), err=True)

    def show(line: str) -> None:
        typer.echo(f"\r\x1b[2K{one_line(line)}" + ("\n" if line.endswith("done") else ""), nl=False, err=True)

    return show


def _again() -> str:
    """This command, with --resume."""
    words = ["llava", *sys.argv[1:]]
    return " ".join([*words, *([] if "--resume" in words else ["--resume"])])


def _finished(outcome: Outcome, again: str) -> None:
    if outcome.interrupted:
        typer.echo(
            strip_control(f"Stopped after step {outcome.step}; everything is saved. Go on with:\n  {again}"), err=True
        )
        raise typer.Exit(130)
