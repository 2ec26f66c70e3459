"""`llava delta`: apply, make, verify.

In: folders by option. Out: the folder that was made, or a hash, on standard output; what a person should know, and a
bar of bytes on a terminal, on standard error. Must not know the arithmetic.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.byte_text import gigabytes
from llava_engine.errors import ModelError
from llava_engine.terminal_safe import strip_control
from llava_tui.commands.byte_progress import byte_progress
from llava_tui.commands.say import say

if TYPE_CHECKING:
    from llava_engine.checkpoints.delta.delta import Written

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Weights that are published as a difference to a language model.",
    epilog="""\b
Examples:
  llava delta apply --base llama-13b --delta LLaVA-13b-delta-v0 --target LLaVA-13b-v0
  llava delta verify --base llama-13b --delta LLaVA-13b-delta-v0 --target LLaVA-13b-v0
  llava delta make --base llama-13b --target mine-13b --delta mine-13b-delta
  llava chat --model LLaVA-13b-v0
""",
)

Base = Annotated[Path, typer.Option("--base", "-b", metavar="DIR", help="The language model that it is a delta over.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on after a run that was cut off.")]
Force = Annotated[bool, typer.Option("--force", help="Take a base that fits in its shapes only.")]


@app.command()
def apply(
    base: Base,
    delta: Annotated[Path, typer.Option("--delta", "-d", metavar="DIR", help="The delta.")],
    target: Annotated[Path, typer.Option("--target", "-t", metavar="DIR", help="The folder to write: base + delta.")],
    resume: Resume = False,
    force: Force = False,
) -> None:
    """Add a delta to its base: a model to chat with.

    Reads .bin and safetensors, writes safetensors. Needs little memory, and as much disk as the delta. A base that is
    not the delta's is refused before anything is written.
    """
    from llava_engine.checkpoints.delta import delta as deltas

    with _resumable(), byte_progress() as tell:
        written = deltas.apply(base, delta, target, resume=resume, force=force, on_progress=tell)
    _report(written)


@app.command()
def make(
    base: Base,
    target: Annotated[Path, typer.Option("--target", "-t", metavar="DIR", help="The finished model.")],
    delta: Annotated[Path, typer.Option("--delta", "-d", metavar="DIR", help="The folder to write: target - base.")],
    resume: Resume = False,
) -> None:
    """Take a base out of a model: a delta to publish.

    Whoever has the base gets the model back with `llava delta apply`, bit for bit.
    """
    from llava_engine.checkpoints.delta import delta as deltas

    with _resumable(), byte_progress() as tell:
        written = deltas.make(base, target, delta, resume=resume, on_progress=tell)
    _report(written)


@app.command()
def verify(
    base: Base,
    delta: Annotated[Path, typer.Option("--delta", "-d", metavar="DIR", help="The delta.")],
    target: Annotated[
        Path | None, typer.Option("--target", "-t", metavar="DIR", help="A model to compare the sum with.")
    ] = None,
    force: Force = False,
) -> None:
    """Compute base + delta without writing it, and print its SHA-256.

    Compared with --target; without it with what the delta itself says, if `llava delta make` made it. Ends with 1 when
    they differ.
    """
    from llava_engine.checkpoints.delta import delta as deltas

    with byte_progress() as tell:
        verified = deltas.verify(base, delta, target, force=force, on_progress=tell)
    _say(verified.notes)
    say(strip_control(f"sha256 {verified.sha256}"))
    other = str(target) if verified.against == "target" else "what the delta says it gives"
    if verified.differing:
        raise ModelError(
            f"{len(verified.differing)} of {verified.tensors} tensors differ from {other}: {verified.differing[0]}"
            f"{' …' if len(verified.differing) > 1 else ''}.",
            "Apply the delta again." if verified.against == "target" else "Download the delta again.",
        )
    if verified.against is None:
        _say(["There is nothing to compare it with; --target DIR compares it with a model."])
    else:
        _say([f"All {verified.tensors} tensors are equal to {other}."])


@contextmanager
def _resumable() -> Iterator[None]:
    """Says after Ctrl-C how to go on."""
    try:
        yield
    except KeyboardInterrupt:
        _say(["", "Stopped. Go on with the same command and --resume."])
        raise typer.Exit(130) from None


def _report(written: Written) -> None:

    _say([*written.notes, f"{written.tensors} tensors, {gigabytes(written.bytes)}, in:"])
    say(strip_control(str(written.folder)))


def _say(lines: Iterable[str]) -> None:
    for line in lines:
        say(strip_control(line), err=True)
