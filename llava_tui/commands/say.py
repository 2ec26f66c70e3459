"""The door through which a command says a line: it takes `SafeText`, so that the type checker finds who forgot."""

from __future__ import annotations

import typer

from llava_engine.terminal_safe import SafeText


def say(text: SafeText, *, err: bool = False) -> None:
    """A line (or several) on standard output, or on standard error."""
    typer.echo(text, err=err)


def say_over(text: SafeText) -> None:
    """A line on a terminal's standard error in the place of the one that stands there and was not ended."""
    typer.echo(f"\r\x1b[K{text}", err=True, nl=False)
