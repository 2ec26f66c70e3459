"""`llava eval vqa`, `scienceqa run`, `mmbench run`, `merge`: questions -> answers, by any model that chat opens."""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llava_engine.flags import mounted
from llava_engine.opening import EngineSource, Placement

if TYPE_CHECKING:
    from training.evaluation.answering import MakeQuestion, Ran
    from training.evaluation.asked import Asked, QuestionFile

FAILED = 3
"""The exit status where questions could not be answered; a further run tries them again."""

Questions = Annotated[
    Path, typer.Argument(metavar="QUESTIONS", help="JSON lines of question_id, image and text; or ScienceQA's rows.")
]
Images = Annotated[Path, typer.Option("--images", metavar="DIR", help="The folder of the pictures.")]
Out = Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The answers; gone on with if it was begun.")]
Shard = Annotated[str | None, typer.Option("--shard", metavar="I/N", help="The I-th of N parts of the questions.")]
Limit = Annotated[int | None, typer.Option("--limit", metavar="N", min=1, help="The first N questions only.")]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", metavar="N", min=1, help="An answer ends here at the latest.")
]
Temperature = Annotated[
    float, typer.Option("--temperature", metavar="T", help="0 always says the likeliest; higher is freer.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="The same seed gives the same text.")]
Restart = Annotated[bool, typer.Option("--restart", help="Begin again; the answers that are there are lost.")]


@mounted(typer.Option)
def vqa(
    questions: Questions,
    images: Images,
    out: Out,
    shard: Shard = None,
    limit: Limit = None,
    max_new_tokens: MaxNewTokens = 256,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    restart: Restart = False,
    *,
    source: EngineSource,
    placement: Placement,
) -> None:
    """Answer a file of questions about pictures.

    One bad picture or one overlong question is a line of OUT's errors file and never the end; the exit status is then
    3, and a further run tries those again. A run that was stopped or killed goes on where it was.
    """
    from training.evaluation.asked import read_questions

    sampling = (max_new_tokens, temperature, seed)
    _run(source, placement, read_questions(questions), images, out, shard, limit, sampling, restart)


@mounted(typer.Option)
def scienceqa_run(
    questions: Questions,
    images: Images,
    out: Out,
    two_step: Annotated[
        bool, typer.Option("--two-step", help="Ask for the reasoning, then for the answer (QCM-LEPA).")
    ] = False,
    letters: Annotated[bool, typer.Option("--letters", help="Ask for the option's letter only (version 1.5).")] = False,
    shard: Shard = None,
    limit: Limit = None,
    max_new_tokens: MaxNewTokens = 1024,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    restart: Restart = False,
    *,
    source: EngineSource,
    placement: Placement,
) -> None:
    """Answer ScienceQA, as `scienceqa convert` wrote it. Stops, goes on and fails as `llava eval vqa` does."""
    from llava_engine.errors import UsageError
    from training.evaluation.asked import read_questions

    if two_step and letters:
        raise UsageError(
            "--two-step and --letters do not go together.", "Choose the way that the model was trained in."
        )
    way = "two-step" if two_step else "letters" if letters else ""
    sampling = (max_new_tokens, temperature, seed)
    _run(source, placement, read_questions(questions), images, out, shard, limit, sampling, restart, way)


@mounted(typer.Option)
def mmbench_run(
    table: Annotated[Path, typer.Argument(metavar="TSV", help="MMBench's table; its pictures are in it.")],
    out: Out,
    lang: Annotated[str, typer.Option("--lang", metavar="en|cn", help="Of the instruction.")] = "en",
    shard: Shard = None,
    limit: Limit = None,
    max_new_tokens: MaxNewTokens = 1024,
    temperature: Temperature = 0.0,
    seed: Seed = None,
    restart: Restart = False,
    *,
    source: EngineSource,
    placement: Placement,
) -> None:
    """Answer MMBench by letters. Stops, goes on and fails as `llava eval vqa` does."""
    import hashlib
    from typing import cast

    from llava_engine.errors import UsageError
    from training.evaluation import mmbench_asking
    from training.evaluation.asked import QuestionFile
    from training.evaluation.choices import read_mmbench

    if lang not in ("en", "cn"):
        raise UsageError(f"--lang: there is no instruction in {lang!r}.", "Known: en and cn.")
    rows = read_mmbench(table)
    asked = tuple(mmbench_asking.asked(row) for row in rows)
    file = QuestionFile(table, asked, hashlib.sha256(table.read_bytes()).hexdigest())
    make = mmbench_asking.with_pictures(rows, cast(mmbench_asking.Language, lang))
    sampling = (max_new_tokens, temperature, seed)
    _run(source, placement, file, Path(), out, shard, limit, sampling, restart, f"mmbench {lang}", make)


def merge(
    parts: Annotated[list[Path], typer.Argument(metavar="PART...", help="Answer files of the shards.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file that they make.")],
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="Put them into its order; exit 1 if one is missing."),
    ] = None,
) -> None:
    """Join the answer files of several shards, each question once."""
    from training.evaluation.answering import merge as join
    from training.evaluation.asked import read_questions

    order = None if questions is None else [one.key for one in read_questions(questions).asked]
    missing = join(parts, out, order)
    if missing:
        some = ", ".join(missing[:5])
        typer.echo(f"{len(missing):,} questions have no answer: {some}", err=True)
        raise typer.Exit(1)


def _run(
    source: EngineSource,
    placement: Placement,
    file: QuestionFile,
    images: Path,
    out: Path,
    part: str | None,
    limit: int | None,
    sampling: tuple[int, float, int | None],
    restart: bool,
    way: str = "",
    make: MakeQuestion | None = None,
) -> None:
    from llava_engine.backends.opening import check, open_engine
    from llava_engine.contract import Sampling
    from training.evaluation.answering import answer_questions, errors_file, plainly
    from training.evaluation.asked import shard
    from training.evaluation.run_header import Header
    from training.evaluation.scienceqa_asking import both_steps, for_a_letter, in_two_steps

    most, temperature, seed = sampling
    chosen = Sampling(temperature=temperature, seed=seed, max_new_tokens=most)
    make = make or {"": plainly, "letters": for_a_letter, "two-step": in_two_steps(chosen)}[way]
    asked: list[Asked] = list(file.asked)[:limit]
    if part is not None:
        asked = list(shard(asked, part))
    check(source, placement)
    with closing(open_engine(source, placement)) as engine, interruptible() as cancelled:
        ran = answer_questions(
            engine,
            asked,
            images,
            out,
            chosen,
            Header.of(engine.card, chosen, file.sha256, way),
            make=make,
            said=both_steps() if way == "two-step" else lambda key, reply: reply.text,
            restart=restart,
            cancelled=cancelled,
            on_progress=progress(),
            tell=lambda line: typer.echo(line, err=True),
        )
    _tell(ran, out, errors_file(out))
    if ran.answered + ran.failed < ran.wanted:
        raise typer.Exit(130)
    if ran.failed:
        raise typer.Exit(FAILED)


def _tell(ran: Ran, out: Path, errors: Path) -> None:
    kept = f", {ran.kept:,} of them from before" if ran.kept else ""
    typer.echo(f"{ran.answered:,} of {ran.wanted:,} questions answered{kept}: {out}")
    if ran.half:
        typer.echo("The last line of the run before was cut off; that question was asked again.", err=True)
    if ran.failed:
        why = json.loads(errors.read_text(encoding="utf-8").split("\n")[0])
        first = f"{why['question_id']}: {why['error']}"
        typer.echo(f"{ran.failed:,} could not be answered, see {errors}. The first: {first}", err=True)


def progress() -> Callable[[int, int], None]:
    """A line on a terminal: done, rate, time left; nothing elsewhere."""
    if not sys.stderr.isatty():
        return lambda done, total: None
    begun, first, shown = time.monotonic(), -1, 0.0

    def tell(done: int, total: int) -> None:
        nonlocal first, shown
        now = time.monotonic()
        if first < 0:
            first = done - 1
        if now - shown < 1 and done < total:
            return
        shown = now
        rate = (done - first) / max(now - begun, 1e-3)
        left = (total - done) / rate
        clock = f"{int(left // 3600)}:{int(left // 60) % 60:02}:{int(left) % 60:02}"
        line = f"\r\x1b[K{done:,} of {total:,} · {rate:.1f} a second · {clock} left"
        typer.echo(line, err=True, nl=done == total)

    return tell


@contextmanager
def interruptible() -> Iterator[Callable[[], bool]]:
    """The first Ctrl-C or SIGTERM ends the run with what was answered; the second ends the process."""
    asked = False
    before: dict[int, Any] = {}

    def stop(number: int, frame: object) -> None:
        nonlocal asked
        asked = True
        signal.signal(number, before[number])

    numbers: tuple[int, ...] = (signal.SIGINT, signal.SIGTERM)
    for number in numbers:
        before[number] = signal.signal(number, stop)
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
