"""What all commands share that ask a judge: options, what asking will take, asking, and what is said at the end."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from llava_engine.errors import UsageError
from llava_engine.opening import Flag
from llava_engine.terminal_safe import strip_control

if TYPE_CHECKING:
    from training.evaluation.judge import Ask, Judge
    from training.evaluation.judged_run import Ran, Work


def _flag(default: Any, help: str, metavar: str = "") -> Any:
    return field(default=default, metadata={"flag": Flag(help, metavar)})


@dataclass(frozen=True)
class JudgeChoice:
    """Which judge, and how it is asked; each field is an option.

    Attributes:
        judge: the server's name for the model.
        judge_url: the address of an OpenAI-compatible server.
        insecure: take http beyond this machine.
        jobs: how many questions are asked at once.
        timeout: seconds for one reply.
        dry_run: ask nothing; say what it would take.
        price_in, price_out: of a million tokens.
        budget: what may be spent, in the currency of the prices.
        restart: begin again.
    """

    judge: str = _flag("", "The judge's model, by the server's name for it.", "MODEL")
    judge_url: str = _flag("https://api.openai.com/v1", "Its server; default: OpenAI's.", "URL")
    insecure: bool = _flag(False, "Take http beyond this machine; everybody on the way can read the key.")
    jobs: int = _flag(8, "So many questions at once; default: 8.", "N")
    timeout: int = _flag(300, "Seconds for one reply; default: 300.", "S")
    dry_run: bool = _flag(False, "Ask nothing: print what it would take, and one whole message.")
    price_in: float | None = _flag(None, "Of a million tokens that are asked.", "X")
    price_out: float | None = _flag(None, "Of a million tokens that are said.", "X")
    budget: float | None = _flag(None, "Refuse to begin what may cost more; needs both prices.", "X")
    restart: bool = _flag(False, "Begin again; what is there is lost, but for kept replies.")


def judged(choice: JudgeChoice, work: Work[Any], out: Path, what: str) -> Ran | None:
    """Ask, and say how it ended; None for a dry run.

    Args:
        choice: of the judge.
        work: what is asked.
        out: the file of rows.
        what: the rows, as people call them ("reviews").

    Raises:
        typer.Exit: 3 where something got no usable reply, 130 where it was stopped.
    """
    from training.evaluation.answer_cli import FAILED, interruptible, progress
    from training.evaluation.judge import Judge, cache_folder, find_key
    from training.evaluation.judged_run import beside, carry_out

    if not choice.judge:
        raise UsageError("--judge: no model is named.", "For example --judge gpt-4o.")
    if choice.jobs < 1 or choice.timeout < 1:
        raise UsageError("--jobs and --timeout are 1 or more.")
    key, told = find_key(os.environ), progress()
    judge = Judge(
        choice.judge, choice.judge_url, key, cache_folder(os.environ), insecure=choice.insecure,
        within_s=choice.timeout, tell=lambda line: typer.echo(strip_control(line), err=True),
    )  # fmt: skip
    with closing(judge):
        if choice.dry_run:
            typer.echo(_dry(choice, judge, _asks(work)))
            return None
        if choice.budget is not None and (price := _price(choice, judge, _asks(work))) > choice.budget:
            raise UsageError(f"--budget: it may cost {price:.2f}, which is more.", "See --dry-run, or ask for less.")
        with interruptible() as cancelled:
            ran = carry_out(
                work, judge, out, choice.jobs, restart=choice.restart, cancelled=cancelled, on_progress=told
            )
    kept = f", {ran.kept:,} of them from before" if ran.kept else ""
    typer.echo(f"{len(ran.rows):,} of {ran.wanted:,} {what}{kept}: {out}")
    if ran.failed:
        of, bad = next(iter(ran.failed.items()))
        line = f"{len(ran.failed):,} came to nothing, see {beside(out, 'failed.jsonl')}. The first: {of}: {bad.why}"
        typer.echo(strip_control(line), err=True)
    if not ran.whole:
        raise typer.Exit(130)
    if ran.failed:
        raise typer.Exit(FAILED)
    return ran


def _asks(work: Work[Any]) -> list[Ask]:
    return [ask for task in work.tasks.values() for ask in work.asks(task)]


def _dry(choice: JudgeChoice, judge: Judge, asks: Sequence[Ask]) -> str:
    from training.evaluation.judge import Cost

    left = [ask for ask in asks if judge.kept(ask) is None]
    cost = Cost.of(left)
    lines = [
        f"{cost.requests:,} requests to {judge.model} at {judge.url}"
        + (f"; {len(asks) - len(left):,} more are kept from before" if len(left) < len(asks) else ""),
        f"about {cost.tokens_in:,} tokens in (letters / 4), at most about {cost.tokens_out:,} out",
        "its price is not known here: --price-in and --price-out, of a million tokens"
        if choice.price_in is None or choice.price_out is None
        else f"at most about {cost.price(choice.price_in, choice.price_out):.2f}, by the prices that you gave",
    ]
    if asks:
        first = (left or asks)[0]
        lines += ["", f"The first, at temperature {first.temperature}, {first.max_tokens:,} tokens at most:"]
        for message in first.messages:
            lines += [f"--- {message['role']}", message["content"]]
    return strip_control("\n".join(lines))


def _price(choice: JudgeChoice, judge: Judge, asks: Sequence[Ask]) -> float:
    from training.evaluation.judge import Cost

    if choice.price_in is None or choice.price_out is None:
        raise UsageError("--budget: what tokens cost is not known here.", "Give --price-in and --price-out.")
    return Cost.of(ask for ask in asks if judge.kept(ask) is None).price(choice.price_in, choice.price_out)
