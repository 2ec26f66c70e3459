"""The options that several commands share, said once, so that they are spelled and checked alike."""

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
Base = Annotated[
    str | None,
    typer.Option("--base", metavar="FOLDER|ID", help="What an adapter or a projector goes onto."),
]
Tower = Annotated[
    str | None, typer.Option("--tower", metavar="FOLDER|ID", help="The vision tower, where the model lacks it.")
]
Template = Annotated[
    str | None, typer.Option("--template", metavar="NAME", help="How conversations are written, in place of its own.")
]
Force = Annotated[bool, typer.Option("--force", help="Take an adapter for another base all the same.")]
Device = Annotated[
    str, typer.Option("--device", metavar="NAME", help="auto, cpu, cuda, cuda:1, mps.", show_default=False)
]
Dtype = Annotated[
    str, typer.Option("--dtype", metavar="NAME", help="auto, float32, bfloat16, float16.", show_default=False)
]
Quantize = Annotated[
    str,
    typer.Option(
        "--quantize", metavar="FORM", help="none, int8, int4, nf4: smaller, a little less exact.", show_default=False
    ),
]
MaxMemory = Annotated[
    str | None,
    typer.Option("--max-memory", metavar="SIZE", help="6GiB, or cuda:0=20GiB,cpu=8GiB: no more than this."),
]
Devices = Annotated[
    str | None, typer.Option("--devices", metavar="LIST", help="Spread the layers over GPUs: auto, or 0,1.")
]
Context = Annotated[
    int | None, typer.Option("--context", metavar="N", min=1, help="The most tokens of a conversation.")
]
Seed = Annotated[int | None, typer.Option("--seed", metavar="S", help="The same seed gives the same text.")]
