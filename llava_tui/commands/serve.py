"""`llava serve`: the command line of the server.

In: the command line and the environment. Out: a server until a signal comes; its address on standard output, its log on
standard error. What a request is, llava_engine/server knows.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import signal
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from llava_engine.contract import EngineLike
from llava_engine.errors import LlavaError, UsageError
from llava_engine.opening import Placement, Source
from llava_engine.terminal_safe import SafeText, one_line, strip_control
from llava_tui import gc_pause
from llava_tui.commands import options
from llava_tui.commands.known_folders import remember_model
from llava_tui.commands.say import say

KEY_VARIABLE = "LLAVA_SERVE_KEY"
_AMOUNT = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)\s*([KMG]?)(i?)B?", re.IGNORECASE)
_LONGEST_KEY = 4096  # bytes: what a header may have, and a file of another kind has more

app = typer.Typer()


class LogForm(StrEnum):
    """How the log is written."""

    text = "text"
    json = "json"


def _slots(value: str | int | None) -> int | None:
    if value is None or isinstance(value, int) or value == "auto":
        return None if value == "auto" else value  # type: ignore[return-value]
    if not (value.isascii() and value.isdigit() and len(value) < 6):
        raise typer.BadParameter("must be auto or a number")
    return int(value)


def _amount(value: str | int) -> int:
    if isinstance(value, int):
        return value
    match = _AMOUNT.fullmatch(value.strip())
    if match is None:
        raise typer.BadParameter("must be a number, as 20MB, 8MiB or 40M")
    step = 1024 if match[3] else 1000
    return int(float(match[1]) * step ** (" KMG".index(match[2].upper()) if match[2] else 0))


@app.command(
    epilog="""\b
Examples:
  llava serve
  llava serve --model ~/llava-v1.5-7b --quantize int8 --slots 4
  llava serve --host 0.0.0.0 --api-key-file key.txt
  LLAVA_SERVE_KEY=… llava serve --host 0.0.0.0 --log json
  llava chat --engine http://127.0.0.1:8000
"""
)
@options.opening
def serve(
    source: Source,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option("--port", metavar="N", min=0, max=65535, help="0 takes a free one, and says which.")
    ] = 8000,
    name: Annotated[
        str | None, typer.Option("--name", metavar="NAME", help="What the model is called, in place of its own.")
    ] = None,
    slots: Annotated[
        int | None,
        typer.Option(
            "--slots", metavar="auto|N", parser=_slots, help="How many are answered at once; auto: what fits in memory."
        ),
    ] = None,
    queue: Annotated[int, typer.Option("--queue", metavar="N", min=0, help="How many more may wait.")] = 32,
    temperature: options.Temperature = 0.0,
    api_key_file: Annotated[
        Path | None,
        typer.Option("--api-key-file", metavar="FILE", help=f"The key that clients must show; else {KEY_VARIABLE}."),
    ] = None,
    no_key: Annotated[bool, typer.Option("--no-key", help="Let anybody in who reaches another --host.")] = False,
    fetch_from: Annotated[
        list[str] | None,
        typer.Option("--fetch-from", metavar="HOST,…", help="Fetch pictures over https from these; else from nowhere."),
    ] = None,
    max_body: Annotated[
        int, typer.Option("--max-body", metavar="SIZE", parser=_amount, help="The most bytes of a request.")
    ] = "20MB",  # type: ignore[assignment]
    max_pictures: Annotated[int, typer.Option("--max-pictures", metavar="N", min=0, help="Of a request.")] = 16,
    max_pixels: Annotated[
        int, typer.Option("--max-pixels", metavar="N", parser=_amount, help="Of a picture, by its header.")
    ] = "40M",  # type: ignore[assignment]
    cors: Annotated[
        list[str] | None, typer.Option("--cors", metavar="ORIGIN", help="Let pages from there ask, too.")
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name by which this server is called, behind a gateway."),
    ] = None,
    votes: Annotated[
        Path | None, typer.Option("--votes", metavar="FILE", help="Keep votes on answers there; else nowhere.")
    ] = None,
    log: Annotated[
        LogForm, typer.Option("--log", metavar="FORM", help="text, json: a line for each request, on standard error.")
    ] = LogForm.text,
    *,
    placement: Placement,
) -> None:
    """An OpenAI-compatible API, and a page, over a model.

    Listens on this machine only, unless --host says otherwise; then it wants a key. Ctrl-C or SIGTERM lets running
    answers finish for 20 seconds; a second one ends at once.
    """
    from llava_engine.backends.opening import check
    from llava_engine.server.serving import listen, serve
    from llava_engine.server.settings import Settings

    settings = Settings(
        key=_key(host, api_key_file, no_key),
        name=name,
        temperature=temperature,
        queue=queue,
        max_body=max_body,
        max_pictures=max_pictures,
        max_pixels=max_pixels,
        fetch_from=_listed(fetch_from),
        cors=tuple(cors or ()),
        hosts=_listed([*(allow_host or []), host]),
        votes=votes,
    )
    check(source, placement)
    listening = listen(host, port)
    place = listening.getsockname()
    address = f"http://{f'[{place[0]}]' if ':' in place[0] else place[0]}:{place[1]}"

    def on_ready(engine: EngineLike) -> None:
        remember_model(engine.card)
        for note in engine.card.notes:
            say(one_line(note), err=True)
        say(strip_control(f"{address}/v1 · {settings.name or engine.card.name} · {engine.card.slots} at once"))

    def write(line: SafeText) -> None:
        say(line, err=True)

    say(strip_control(f"{address} · loading the model"), err=True)
    ended_by = asyncio.run(
        serve(_opener(source, placement), settings, listening, write=write, form=log.value, on_ready=on_ready)
    )
    if ended_by is signal.SIGINT:
        raise typer.Exit(130)


def _opener(source: Source, placement: Placement) -> Callable[[Callable[[], bool]], EngineLike]:
    def load(cancelled: Callable[[], bool]) -> EngineLike:
        from llava_engine.backends.opening import open_engine

        gc_pause.rest()
        try:
            return open_engine(source, placement, cancelled=cancelled)
        finally:
            gc_pause.resume()

    return load


def _key(host: str, path: Path | None, no_key: bool) -> str | None:
    key = os.environ.get(KEY_VARIABLE) if path is None else _read_key(path)
    if key is not None and not key.strip():
        raise UsageError(
            f"The key in {path or KEY_VARIABLE} is empty.", "Write one there, or leave it away on this machine."
        )
    if key is not None and no_key:
        raise UsageError("--no-key and a key are both given.", f"Leave --no-key, or the key ({path or KEY_VARIABLE}).")
    if key is None and not no_key and not _is_loopback(host):
        raise UsageError(
            f"--host {host} lets others reach this server, and there is no key.",
            f"Give --api-key-file FILE or {KEY_VARIABLE}; or --no-key, where everybody there may ask.",
        )
    return key.strip() if key else None


def _read_key(path: Path) -> str:
    try:
        with path.expanduser().open("rb") as file:
            data = file.read(_LONGEST_KEY + 1)
        if len(data) > _LONGEST_KEY:
            raise LlavaError(f"{path} is too long for a key.", "Give a file with the key and nothing else.")
        return data.decode("utf-8")
    except OSError as error:
        raise LlavaError(f"{path} can not be read: {error.strerror}.", "Check the path and its permissions.") from error
    except UnicodeError as error:
        raise LlavaError(f"{path} is no text.", "Give a file with the key and nothing else.") from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def _listed(values: list[str] | None) -> frozenset[str]:
    """Names that were given one by one, or several with commas."""
    return frozenset(name.strip().lower() for value in values or () for name in value.split(",") if name.strip())
