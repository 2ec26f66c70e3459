"""`llava eval`: measure a model. Each command imports what it needs when it runs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llava_engine.files.atomic import storage_errors, write_text
from llava_engine.flags import mounted
from llava_engine.opening import MOST_SLOTS, EngineSource, Placement
from training.evaluation import answer_cli, judge_cli, score_cli
from training.evaluation.old_names import TakesOldNames

app = typer.Typer(
    no_args_is_help=True,
    help="Measure a model: on pictures that are drawn here, or on a benchmark's questions.",
    epilog="""\b
Examples:
  llava eval pictures                     the model that comes along, on drawn pictures
  llava eval vqa questions.jsonl --images photos --out answers.jsonl --model ~/llava-7b
  llava eval score textvqa answers.jsonl --truth TextVQA_0.5.1_val.json
  llava eval compare textvqa answers.jsonl others.jsonl --truth TextVQA_0.5.1_val.json
""",
)
app.command("vqa", cls=TakesOldNames)(answer_cli.vqa)
app.command("merge")(answer_cli.merge)
app.command("score")(score_cli.score)
app.command("compare")(score_cli.compare)
app.command("export")(score_cli.export)
app.command("review")(judge_cli.review)
app.command("summarize")(judge_cli.summarize)
app.add_typer(judge_cli.grade, name="grade")
app.command("sets")(score_cli.sets)
score_cli.scienceqa.command("run", cls=TakesOldNames)(answer_cli.scienceqa_run)
app.add_typer(score_cli.scienceqa, name="scienceqa")
app.add_typer(score_cli.mmvet, name="mmvet")
score_cli.mmbench.command("run")(answer_cli.mmbench_run)
app.add_typer(score_cli.mmbench, name="mmbench")


@score_cli.mmbench.callback()
def mmbench() -> None:
    """MMBench: run."""


# A file that holds these two lines keeps the rest of its text: README.md and the model card.
BEGIN, END = "<!-- figures:begin -->", "<!-- figures:end -->"

Slots = Annotated[
    int | None,
    typer.Option("--slots", metavar="N", min=1, max=MOST_SLOTS, help="How many at once. Else what memory allows."),
]
Markdown = Annotated[
    Path | None,
    typer.Option(
        "--markdown", metavar="FILE", help=f"Write the table here; between {BEGIN} and {END}, where the file has them."
    ),
]


@app.command("pictures")
@mounted(typer.Option)
def pictures(
    count: Annotated[int, typer.Option("--pictures", "-n", metavar="N", min=2, help="New pictures a column.")] = 100,
    seed: Annotated[int, typer.Option("--seed", metavar="S", help="Another seed, other pictures.")] = 0,
    items: Annotated[int, typer.Option("--items", metavar="N", min=1, max=8, help="Most items in a picture.")] = 4,
    as_json: Annotated[bool, typer.Option("--json", help="Print everything as one JSON object.")] = False,
    markdown: Markdown = None,
    slots: Slots = None,
    *,
    source: EngineSource,
    placement: Placement,
) -> None:
    """Ask a model about drawn pictures: a table by kind of question.

    Asks about new pictures, in wordings and about kind-colour pairs that training never has, about pictures drawn by
    other code, and as a control with the wrong picture.
    """
    import json
    import sys
    from contextlib import closing

    from llava_engine.backends.opening import open_engine
    from training.evaluation.pictures import evaluate

    engine = open_engine(source, placement)
    for note in engine.card.notes if engine.card.where else ():
        typer.echo(note, err=True)

    on_terminal = sys.stderr.isatty()

    def tell(column: str, done: int, total: int) -> None:
        if on_terminal:
            typer.echo(f"\r\x1b[K{column}: {done} of {total}", err=True, nl=done == total)

    with closing(engine):
        table = evaluate(engine, count, seed, max_items=items, on_progress=tell)
    if markdown:
        _write(markdown, table.markdown() + "\n")
    found = {
        "model": engine.card.name,
        "where": engine.card.where or None,
        "kernel": engine.card.kernel,
        **table.as_json(),
    }
    typer.echo(json.dumps(found) if as_json else table.markdown())


def _write(path: Path, text: str) -> None:
    """Put a text between the marks of a file that has them, or make it the whole file."""
    with storage_errors(path):
        before, begin, rest = (path.read_text(encoding="utf-8") if path.exists() else "").partition(BEGIN)
        _, end, after = rest.partition(END)
        if end:
            text = f"{before}{begin}\n{text}{end}{after}"
        write_text(path, text)
