"""`llava eval score`, `scienceqa convert|score`, `mmvet table`: answers that are there are scored by rule, offline."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from llava_engine.errors import UsageError

if TYPE_CHECKING:
    from training.evaluation.answers import AnswerFile
    from training.evaluation.report_pictures import Thumbnails
    from training.evaluation.result import Result

Answers = Annotated[Path, typer.Argument(metavar="ANSWERS", help="JSON lines of question_id and text.")]
Strict = Annotated[bool, typer.Option("--strict", help="Exit 1 if an answer is missing, double, unknown or unread.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object: every figure, list and question.")]
Markdown = Annotated[Path | None, typer.Option("--markdown", metavar="FILE", help="Write the table here, too.")]
ReportFile = Annotated[
    Path | None, typer.Option("--report", metavar="FILE", help="Write a page to look at: bars, rows, pictures.")
]
Images = Annotated[
    Path | None, typer.Option("--images", metavar="DIR", help="For the report: the folder of the pictures.")
]
NoPictures = Annotated[bool, typer.Option("--no-pictures", help="Leave the pictures out of the report.")]

scienceqa = typer.Typer(help="ScienceQA: convert, run, score.", no_args_is_help=True)
mmvet = typer.Typer(help="MM-Vet: table.", no_args_is_help=True)
mmbench = typer.Typer(help="MMBench: run.", no_args_is_help=True)

SETS = ("pope", "mme", "gqa", "textvqa", "vqav2", "vizwiz", "mmbench", "seed")
RULES = {"mmbench": ("letters", "exact"), "seed": ("exact", "letters")}


def score(
    name: Annotated[str, typer.Argument(metavar="SET", help=", ".join(SETS))],
    answers: Answers,
    truth: Annotated[Path, typer.Option("--truth", metavar="PATH", help="The set's own file or folder of labels.")],
    questions: Annotated[
        Path | None,
        typer.Option(
            "--questions",
            metavar="FILE",
            help="What was asked, for pope, vizwiz, reports.",
        ),
    ] = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="mmbench, seed: letters or exact.")] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    markdown: Markdown = None,
    report: ReportFile = None,
    images: Images = None,
    no_pictures: NoPictures = False,
) -> None:
    """Score a file of answers by the set's published rule.

    What is missing counts as wrong and stays in the denominator; what no rule can read is wrong, too. Both are named.
    """
    from training.evaluation.answers import read_answers

    result = _scorer(name, truth, questions, rule)(read_answers(answers))
    if report is not None:
        _report(report, result, answers, None if no_pictures else images, questions)
    _show(result, strict, as_json, markdown)


def _scorer(name: str, truth: Path, questions: Path | None, rule: str | None) -> Callable[[AnswerFile], Result]:
    if name not in SETS:
        raise UsageError(f"There is no set {name!r}.", f"Known: {', '.join(SETS)}; and scienceqa score, mmvet table.")
    if rule is not None and rule not in RULES.get(name, ()):
        known = RULES.get(name)
        raise UsageError(f"--rule: {name} has no rule {rule!r}.", f"Known: {' and '.join(known)}." if known else "")
    if name in ("pope", "vizwiz") and questions is None:
        raise UsageError(f"--questions: {name} is joined by what was asked.", "Give the file of questions.")
    from training.evaluation import choices, gqa, short_answers, yes_no

    asked: Any = questions
    chosen: Any = rule or RULES.get(name, ("",))[0]
    return {
        "pope": lambda file: yes_no.score_pope(file, truth, asked),
        "mme": lambda file: yes_no.score_mme(file, truth),
        "gqa": lambda file: gqa.score_gqa(file, truth),
        "textvqa": lambda file: short_answers.score_textvqa(file, truth),
        "vqav2": lambda file: short_answers.score_vqav2(file, truth),
        "vizwiz": lambda file: short_answers.score_vizwiz(file, truth, asked),
        "mmbench": lambda file: choices.score_mmbench(file, truth, chosen),
        "seed": lambda file: choices.score_seed(file, truth, chosen),
    }[name]


def compare(
    name: Annotated[str, typer.Argument(metavar="SET", help=", ".join((*SETS, "scienceqa")))],
    a: Annotated[Path, typer.Argument(metavar="A", help="One answer file.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Another, to the same questions.")],
    truth: Annotated[Path, typer.Option("--truth", metavar="PATH", help="As for score; ScienceQA's folder.")],
    questions: Annotated[Path | None, typer.Option("--questions", metavar="FILE", help="As for score.")] = None,
    rule: Annotated[str | None, typer.Option("--rule", metavar="NAME", help="As for score.")] = None,
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="Of ScienceQA.")] = "test",
    as_json: AsJson = False,
    report: ReportFile = None,
    images: Images = None,
    no_pictures: NoPictures = False,
) -> None:
    """Compare two answer files, question by question.

    Who got what right, and whether that can be chance.
    """
    from llava_engine.terminal_safe import strip_control
    from training.evaluation import compare as comparing
    from training.evaluation.answers import read_answers

    if name == "scienceqa":
        from training.evaluation.scienceqa import read_problems, score_scienceqa

        problems = read_problems(truth, split)
        found = comparing.compare(*(score_scienceqa(read_answers(path), problems) for path in (a, b)))
    else:
        scorer = _scorer(name, truth, questions, rule)
        found = comparing.compare(scorer(read_answers(a)), scorer(read_answers(b)))
    if report is not None:
        from training.evaluation.report import of_comparison, write_report

        write_report(report, of_comparison(found, a, b), _pictures(None if no_pictures else images, questions))
    typer.echo(json.dumps(found.as_json(), ensure_ascii=False) if as_json else strip_control(found.as_text()))


def export(
    name: Annotated[str, typer.Argument(metavar="SET", help="vqav2, vizwiz, mmbench, mme, gqa, seed, mmvet")],
    answers: Answers,
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The file to upload; for mme a folder.")],
    questions: Annotated[Path | None, typer.Option("--questions", metavar="FILE", help="For vqav2 and vizwiz.")] = None,
    truth: Annotated[Path | None, typer.Option("--truth", metavar="PATH", help="For mmbench and mme.")] = None,
) -> None:
    """Write the file that a benchmark's own server takes."""
    from training.evaluation import exports
    from training.evaluation.answers import read_answers

    missing = exports.export(name, read_answers(answers), out, questions, truth)
    typer.echo(f"Written: {out}")
    if missing:
        typer.echo(f"{len(missing):,} questions have no answer: {', '.join(missing[:5])}", err=True)


def sets(
    as_json: Annotated[bool, typer.Option("--json", help="A JSON list.")] = False,
) -> None:
    """List the sets that can be scored.

    What each set measures, where its files come from, what is needed, the command.
    """
    from training.evaluation.sets import SETS as KNOWN
    from training.evaluation.sets import as_text

    typer.echo(json.dumps([one.as_json() for one in KNOWN], ensure_ascii=False) if as_json else as_text())


@scienceqa.command("score")
def scienceqa_score(
    answers: Answers,
    base: Annotated[Path, typer.Option("--base", metavar="DIR", help="Holds problems.json and pid_splits.json.")],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="test, val, minitest, …")] = "test",
    rule: Annotated[str, typer.Option("--rule", metavar="NAME", help="newest or june.")] = "newest",
    original_map: Annotated[
        Path | None, typer.Option("--original-map", metavar="FILE", help="Write acc, results and outputs as published.")
    ] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    markdown: Markdown = None,
    report: ReportFile = None,
    images: Images = None,
    no_pictures: NoPictures = False,
) -> None:
    """Score answers to ScienceQA.

    Nine columns, and by name what could not be read. Nothing is drawn by chance.
    """
    from typing import cast

    from llava_engine.files.atomic import write_text
    from training.evaluation.answers import read_answers
    from training.evaluation.scienceqa import Rule, original_map_of, read_problems, score_scienceqa

    if rule not in ("newest", "june"):
        raise UsageError(f"--rule: there is no rule {rule!r}.", "Known: newest and june.")
    file = read_answers(answers)
    result = score_scienceqa(file, read_problems(base, split), cast(Rule, rule))
    if original_map is not None:
        write_text(original_map, json.dumps(original_map_of(result), indent=2, ensure_ascii=False) + "\n")
    if report is not None:
        _report(report, result, answers, None if no_pictures else images)
    _show(result, strict, as_json, markdown)


@scienceqa.command("convert")
def scienceqa_convert(
    base: Annotated[Path, typer.Option("--base", metavar="DIR", help="Holds problems.json and pid_splits.json.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The rows, as one JSON list.")],
    split: Annotated[str, typer.Option("--split", metavar="NAME", help="train, val, test, …")] = "test",
    form: Annotated[
        str, typer.Option("--format", metavar="FORM", help="QCM-LEPA (June's), QCM-LEA (newest), CQM-A, … or 1.5.")
    ] = "QCM-LEPA",
    as_named: Annotated[
        bool, typer.Option("--as-named", help="In AL and AE, L is the lecture: the published converter swaps them.")
    ] = False,
) -> None:
    """Write ScienceQA as rows to train on and to ask."""
    from llava_engine.files.atomic import write_text
    from training.evaluation.scienceqa import read_problems
    from training.evaluation.scienceqa_rows import rows

    made = rows(read_problems(base, split), form, as_named=as_named)
    write_text(out, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    pictures = sum("image" in row for row in made)
    typer.echo(f"{len(made):,} rows, {pictures:,} with a picture: {out}")


@mmvet.command("table")
def mmvet_table(
    grades: Annotated[Path, typer.Argument(metavar="GRADES", help="{id: {score: [one a run]}}")],
    truth: Annotated[Path, typer.Option("--truth", metavar="FILE", help="mm-vet.json")],
    runs: Annotated[int | None, typer.Option("--runs", min=1, metavar="N", help="So many of the runs.")] = None,
    strict: Strict = False,
    as_json: AsJson = False,
    markdown: Markdown = None,
    report: ReportFile = None,
    images: Images = None,
    no_pictures: NoPictures = False,
) -> None:
    """Make MM-Vet's table of a judge's grades.

    By capability and by combination of capabilities.
    """
    from training.evaluation.mmvet import score_mmvet

    result = score_mmvet(grades, truth, runs)
    if report is not None:
        _report(report, result, grades, None if no_pictures else images)
    _show(result, strict, as_json, markdown)


def _report(out: Path, result: Result, answers: Path, images: Path | None, questions: Path | None = None) -> None:
    from training.evaluation.report import of_result, write_report

    write_report(out, of_result(result, answers), _pictures(images, questions))


def _pictures(images: Path | None, questions: Path | None) -> Thumbnails | None:
    if images is None:
        return None
    from training.evaluation.report_pictures import Thumbnails

    return Thumbnails(images, questions)


def _show(result: Result, strict: bool, as_json: bool, markdown: Path | None) -> None:
    from llava_engine.files.atomic import write_text
    from llava_engine.terminal_safe import strip_control
    from training.evaluation.result_text import as_markdown, as_text

    if markdown is not None:
        write_text(markdown, as_markdown(result))
    said = json.dumps(result.as_json(), ensure_ascii=False) if as_json else strip_control(as_text(result))
    typer.echo(said)
    if strict and not (result.coverage.whole and not result.unread and not result.left_out):
        raise typer.Exit(1)
