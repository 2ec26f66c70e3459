"""The options that several commands share, said once, so that they are spelled and checked alike.

How a model is opened is said by the fields of `Source` and `Placement`: `opening` mounts them on a command.
"""

from __future__ import annotations

import math
from typing import Annotated

import typer

from llava_engine.flags import mounted

opening = mounted(typer.Option)


def _finite(value: float) -> float:
    if not math.isfinite(value):
        raise typer.BadParameter("must be a number")
    return value


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
