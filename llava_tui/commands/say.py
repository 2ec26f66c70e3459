"""The door through which a command says a line: it takes `SafeText`, so that the type checker finds who forgot."""

from __future__ import annotations

import typer

from llava_engine.terminal_safe import SafeText


def say(text: SafeText, *, err: bool = False) -> None:
    """A line (or several) on standard output, or on standard error."""
    typer.echo(text, err=err)
