"""`llava chat`: the command line of the full-screen app.

In: the command line. Out: the app, running, or one sentence on why it can not. Must not know what the app shows.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from llava_engine.errors import LlavaError
from llava_engine.opening import EngineSource, Placement
from llava_tui import gc_pause
from llava_tui.commands import options

ESC_DELAY_MS = "25"
"""How long Textual waits whether an Esc is a key or the beginning of one. Its own 100 ms are all that Esc may take."""

app = typer.Typer()


class NoTerminalError(LlavaError):
    """A full-screen app was asked for where there is no screen."""


@app.command(
    epilog="""\b
Examples:
  llava chat
  llava chat photo.jpg diagram.png
  llava chat --model ~/llava-7b
  llava chat --engine http://gpu1:8000        a model that a server has
  llava chat --continue                       goes on with the last conversation
"""
)
@options.opening
def chat(
    pictures: Annotated[
        list[str] | None,
        typer.Argument(metavar="PICTURE", help="Files or URLs to begin with.", show_default=False),
    ] = None,
    *,
    source: EngineSource,
    continued: Annotated[bool, typer.Option("--continue", "-c", help="Go on with the last conversation.")] = False,
    system: options.System = None,
    temperature: options.Temperature = 0.0,
    max_new_tokens: options.MaxNewTokens = 256,
    placement: Placement,
) -> None:
    """Talk about pictures, full screen."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise NoTerminalError(
            "llava chat needs a terminal, and here is none.", "In a pipe use: llava ask -i PICTURE -q QUESTION"
        )
    gc_pause.rest()
    if "SSH_CONNECTION" not in os.environ:  # over which a key's sequence may come in pieces
        os.environ.setdefault("ESCDELAY", ESC_DELAY_MS)  # read by Textual when it is imported
    from llava_engine.contract import Sampling
    from llava_tui.app import run_chat

    run_chat(
        pictures or [],
        source=source,
        placement=placement,
        resume=continued,
        system=system,
        sampling=Sampling(temperature=temperature, max_new_tokens=max_new_tokens),
    )
