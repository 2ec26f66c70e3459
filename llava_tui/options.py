"""The options that `llava ask` and `llava chat` share, said once, so that they are spelled and checked alike."""

from __future__ import annotations

import math
from typing import Annotated

import typer


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter("must be a number")
    return value


Model = Annotated[
    str | None,
    typer.Option(
        "--model", "-m", metavar="FOLDER|ID", help="A LLaVA: a folder, or a hub id in the cache. Else the tiny one."
    ),
]
System = Annotated[str | None, typer.Option("--system", metavar="TEXT", help="The system text, in place of its own.")]
Temperature = Annotated[
    float,
    typer.Option(
        "--temperature", metavar="T", min=0, callback=_finite, help="0 always says the likeliest; higher is freer."
    ),
]
MaxNewTokens = Annotated[
    int, typer.Option("--max-new-tokens", metavar="N", min=1, help="An answer ends here at the latest.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="The same seed gives the same text.")]
