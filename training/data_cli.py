"""`llava data`: make rows to train on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from llava_engine.flags import mounted
from training.evaluation.judge_command import JudgeChoice, judged

app = typer.Typer(help="Make rows to train on.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def data() -> None:
    """Make rows to train on."""


@app.command()
@mounted(typer.Option)
def generate(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="conversation, detail_description or complex_reasoning.")],
    prompts: Annotated[
        Path, typer.Option("--prompts", metavar="DIR", help="system_message.txt and NNN_caps.txt, NNN_conv.txt.")
    ],
    contexts: Annotated[Path, typer.Option("--contexts", metavar="FILE", help="Captions and boxes of the pictures.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The rows; gone on with if begun.")],
    questions: Annotated[
        Path | None, typer.Option("--questions", metavar="FILE", help="For descriptions: what is asked, one a line.")
    ] = None,
    temperature: Annotated[float, typer.Option("--temperature", metavar="T", help="0 says the likeliest.")] = 1.0,
    max_tokens: Annotated[int, typer.Option("--max-tokens", metavar="N", min=1, help="Of a reply.")] = 1024,
    *,
    choice: JudgeChoice,
) -> None:
    """Have a text model write rows about pictures.

    It reads their captions and boxes. Its key comes from LLAVA_JUDGE_KEY or OPENAI_API_KEY. A reply in another form is
    kept aside in OUT's failed file; the exit status is then 3, and a further run asks for it again.
    """
    from training.data_generation import ROWS, Sampling, read_wanted
    from training.evaluation.judged_run import Work, hashes

    wanted = read_wanted(kind, prompts, contexts, questions, Sampling(temperature, max_tokens))
    header = {
        "judge": choice.judge, "url": choice.judge_url, "kind": kind, "temperature": temperature,
        "max_tokens": max_tokens, "prompts": next(iter(wanted.values())).prompts.sha256,
        **hashes(contexts=contexts, **({"questions": questions} if questions else {})),
    }  # fmt: skip
    work = Work(
        wanted, lambda task: [task.ask], lambda judge, task, cancelled: task.made(judge, cancelled), header, ROWS
    )
    judged(choice, work, out, "rows")
