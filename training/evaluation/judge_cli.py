"""`llava eval review`, `summarize`, `grade mmvet`: answers that no rule can score are put before a judge."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.errors import DataError, UsageError
from llava_engine.files.atomic import write_text
from llava_engine.flags import mounted
from llava_engine.terminal_safe import strip_control
from training.evaluation.judge_command import JudgeChoice, judged

if TYPE_CHECKING:
    from training.evaluation.answers import Coverage
    from training.evaluation.judge import Ask
    from training.evaluation.review import Rule

grade = typer.Typer(help="Have a judge grade answers: mmvet.", no_args_is_help=True)

Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 if an answer is missing, double or unknown.")]
RuleName = Annotated[
    str, typer.Option("--rule", metavar="NAME", help="ours, or original: how LLaVA's scripts read a reply.")
]


@mounted(typer.Option)
def review(
    questions: Annotated[Path, typer.Argument(metavar="QUESTIONS", help="JSON lines with image and category.")],
    first: Annotated[Path, typer.Argument(metavar="A", help="Answers to compare with.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Answers that are judged beside them.")],
    context: Annotated[Path, typer.Option("--context", metavar="FILE", help="Captions (and boxes) of the pictures.")],
    rules: Annotated[Path, typer.Option("--rules", metavar="FILE", help="{category: {role, prompt}}")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The reviews; gone on with if begun.")],
    both_orders: Annotated[
        bool, typer.Option("--both-orders", help="Ask a second time with A and B in each other's place.")
    ] = False,
    rule: RuleName = "ours",
    strict: Strict = False,
    *,
    choice: JudgeChoice,
) -> None:
    """Have a judge compare two answer files.

    Question by question. Its key comes from LLAVA_JUDGE_KEY or OPENAI_API_KEY. What it said is kept: a run that was
    stopped goes on, and the same questions cost nothing a second time.
    """
    from training.evaluation.asked import read_questions
    from training.evaluation.judged_run import Form, Work, as_lines, hashes
    from training.evaluation.review import Compared, read_compared

    chosen, file = _rule(rule), read_questions(questions)
    found = read_compared(file, first, second, context, rules)
    for path, coverage in zip((first, second), found.coverage, strict=True):
        _tell(path, coverage)

    def asks(task: Compared) -> list[Ask]:
        return [task.ask(), *([task.ask(swapped=True)] if both_orders else [])]

    header = {
        "judge": choice.judge, "url": choice.judge_url, "both_orders": both_orders, "rule": rule,
        **hashes(questions=questions, first=first, second=second, context=context, rules=rules),
    }  # fmt: skip
    work = Work(
        found.compared,
        asks,
        lambda judge, task, cancelled: task.row(
            [judge.ask(ask, cancelled=cancelled).text for ask in asks(task)], chosen
        ),
        header,
        Form("question_id", as_lines),
    )
    if ran := judged(choice, work, out, "reviews"):
        failed = sum(row["tuple"][0] < 0 for row in ran.rows.values())
        if failed:
            typer.echo(f"{failed:,} replies could not be read; summaries leave them out.", err=True)
        if strict and not all(coverage.whole for coverage in found.coverage):
            raise typer.Exit(1)


def summarize(
    reviews: Annotated[list[Path], typer.Argument(metavar="REVIEWS...", help="Files of reviews.")],
    rule: RuleName = "ours",
    reparse: Annotated[
        bool, typer.Option("--reparse", help="Read replies again; say where the stored scores are others.")
    ] = False,
    ignore: Annotated[
        list[str] | None, typer.Option("--ignore", metavar="ID", help="Leave this question out; may be repeated.")
    ] = None,
    questions: Annotated[
        Path | None,
        typer.Option("--questions", metavar="FILE", help="What was asked: intervals by picture, not by question."),
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit 1 if a review has no scores.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object, figures not rounded.")] = False,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", metavar="FILE", help="Write the tables here, too.")
    ] = None,
) -> None:
    """Add a judge's reviews up, by category.

    The second answers in per cent of the first. Reviews without scores are left out and counted; --rule original
    averages them in as -1, as the original does.
    """
    from training.evaluation.asked import read_questions
    from training.evaluation.review_summary import as_markdown, as_text, summarize

    chosen = _rule(rule)
    asked = read_questions(questions).asked if questions is not None else ()
    pictures = {one.key: one.image for one in asked if one.image}
    found = [summarize(path, chosen, reparse=reparse, ignore=ignore or (), pictures=pictures) for path in reviews]
    if markdown is not None:
        write_text(markdown, strip_control("\n".join(map(as_markdown, found))))
    if as_json:
        typer.echo(json.dumps({"files": [one.as_json() for one in found]}, ensure_ascii=False))
    else:
        typer.echo(strip_control("\n\n".join(map(as_text, found))))
    if strict and any(one.failed for one in found):
        raise typer.Exit(1)


@grade.command("mmvet")
@mounted(typer.Option)
def grade_mmvet(
    answers: Annotated[Path, typer.Argument(metavar="ANSWERS", help="JSON lines of question_id and text.")],
    truth: Annotated[Path, typer.Option("--truth", metavar="FILE", help="mm-vet.json")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The grades; gone on with if begun.")],
    runs: Annotated[int, typer.Option("--runs", min=1, metavar="N", help="Grade each so often.")] = 1,
    prompt: Annotated[
        Path | None, typer.Option("--prompt", metavar="FILE", help="What stands before each question's row.")
    ] = None,
    failed_as_zero: Annotated[
        bool, typer.Option("--failed-as-zero", help="A grade that can not be had is 0, as the original has it.")
    ] = False,
    strict: Strict = False,
    *,
    choice: JudgeChoice,
) -> None:
    """Have a judge grade answers to MM-Vet.

    `llava eval mmvet table` makes the table.
    """
    from training.evaluation.judged_run import Work, hashes
    from training.evaluation.mmvet_grading import GRADES, HEAD, read_graded

    head = HEAD if prompt is None else _read(prompt)
    tasks, joined = read_graded(answers, truth, head, runs)
    _tell(answers, joined.coverage)
    header = {
        "judge": choice.judge, "url": choice.judge_url, "runs": runs, "failed_as_zero": failed_as_zero, "prompt": head,
        **hashes(answers=answers, truth=truth),
    }  # fmt: skip
    work = Work(
        tasks,
        lambda task: task.asks,
        lambda judge, task, cancelled: task.graded(judge, cancelled, failed_as_zero=failed_as_zero),
        header,
        GRADES,
    )
    if ran := judged(choice, work, out, "answers graded"):
        failed = [of for of, row in ran.rows.items() if None in row["score"]]
        if failed:
            typer.echo(f"{len(failed):,} got no grade in some run: {', '.join(failed[:5])}", err=True)
        if strict and (failed or not joined.coverage.whole):
            raise typer.Exit(1)


def _rule(name: str) -> Rule:
    from training.evaluation.review import RULES

    if name not in RULES:
        raise UsageError(f"--rule: there is no rule {name!r}.", f"Known: {' and '.join(RULES)}.")
    return name


def _tell(path: Path, coverage: Coverage) -> None:
    said = {"without an answer": coverage.missing, "answered twice, the last counts": coverage.duplicate,
            "not asked, left out": coverage.unknown}  # fmt: skip
    for what, ids in said.items():
        if ids:
            some = ", ".join(ids[:5]) + (" …" if len(ids) > 5 else "")
            typer.echo(strip_control(f"{path.name}: {len(ids):,} {what}: {some}"), err=True)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path} can not be read: {getattr(error, 'strerror', 'it is not UTF-8 text')}.") from None
