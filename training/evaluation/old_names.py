"""The original's flags, as its scripts are called in many places, in the words of our own commands."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperCommand

from llava_engine.errors import UsageError
from llava_engine.terminal_safe import strip_control

_RENAMED = {
    "--answers-file": "--out",
    "--image-folder": "--images",
    "--model-path": "--model",
    "--model-base": "--base",
    "--conv-mode": "--template",
    "--max_new_tokens": "--max-new-tokens",
}
_QUESTIONS, _CHUNKS, _CHUNK = "--question-file", "--num-chunks", "--chunk-idx"


class TakesOldNames(TyperCommand):
    """A command that takes the original's flags, too, and says what they are called now."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read the options."""
        words = in_our_words(args)
        if words != args:
            typer.echo(strip_control(f"Taken as: {ctx.command_path} {shlex.join(words)}"), err=True)
        return super().parse_args(ctx, words)


def in_our_words(words: Sequence[str]) -> list[str]:
    """A command line with the original's flags -> the same with ours: the questions first, chunk I of N as I+1/N.

    Raises:
        UsageError: only one of --num-chunks and --chunk-idx is there, or one is no number.
    """
    first: list[str] = []
    rest: list[str] = []
    chunks: dict[str, str] = {}
    left = list(words)
    while left:
        name, equals, value = left.pop(0).partition("=")
        if name in (_QUESTIONS, _CHUNKS, _CHUNK):
            value = value if equals else left.pop(0) if left else ""
            if name == _QUESTIONS:
                first.append(value)
            else:
                chunks[name] = value
        else:
            rest.append(_RENAMED.get(name, name) + equals + value)
    if chunks:
        count, index = chunks.get(_CHUNKS, ""), chunks.get(_CHUNK, "")
        if not (count.isdecimal() and index.isdecimal()):
            raise UsageError(f"{_CHUNKS} and {_CHUNK} go together, each a number.", "Say --shard 1/8.")
        rest += ["--shard", f"{int(index) + 1}/{count}"]
    return first + rest
