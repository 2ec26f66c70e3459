"""A bug leaves a report on this machine: traceback and versions, no text of any conversation.

Nothing is sent anywhere.
"""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
import time
import traceback
from datetime import datetime
from pathlib import Path

from llava_engine.errors import StorageError
from llava_engine.files.atomic import write_bytes

_PACKAGES = ("llava", "textual", "textual-image", "pillow", "torch", "transformers", "tokenizers", "safetensors")
_LONGEST_MESSAGE = 300
_QUOTED = re.compile(r"(['\"]).{12,}\1", re.DOTALL)  # from the first quote to the last: texts have apostrophes
_KEPT = 20


def write_report(error: BaseException, folder: Path) -> Path | None:
    """Write a crash file into `folder` (usually `user_paths().state`); its path, or None when it can not be written.

    In it: what was raised and where (files, lines of code), versions, the platform. Not in it: values of variables,
    the command line, the environment; and of the errors' messages, what they quote and what is beyond 300 characters,
    since an error about a text likes to quote it. The latest reports are kept.
    """
    try:
        crashes = folder / "crashes"
        crashes.mkdir(mode=0o700, parents=True, exist_ok=True)
        # To the microsecond: no two have the same name, and their order is that of their names.
        path = crashes / f"crash-{datetime.now():%Y-%m-%d-%H%M%S-%f}-{os.getpid()}.txt"
        write_bytes(path, _report(error).encode(errors="backslashreplace"))
        for old in sorted(crashes.glob("crash-*.txt"))[:-_KEPT]:
            with contextlib.suppress(OSError):
                old.unlink()
    except (OSError, StorageError):
        return None
    return path


def _report(error: BaseException) -> str:
    versions = [f"{name} {_version(name)}" for name in _PACKAGES]
    return "\n".join(
        [
            f"llava crash report, {time.strftime('%Y-%m-%d %H:%M:%S %z')}",
            "It holds no text of any conversation. Read it before you pass it on.",
            "",
            f"python {platform.python_version()} on {platform.platform()}, {sys.platform}",
            *versions,
            "",
            *_story(error),
        ]
    )


def _version(package: str) -> str:
    from importlib import metadata  # a fiftieth of a second that only a crash is worth

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "not installed"


def _story(error: BaseException) -> list[str]:
    """Where it was raised, after what it came from."""
    came_from = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    before = [*_story(came_from), "", "From that came:", ""] if came_from is not None else []
    lines = "".join(traceback.format_tb(error.__traceback__)).rstrip()
    parts = [
        line
        for number, part in enumerate(error.exceptions if isinstance(error, BaseExceptionGroup) else (), 1)
        for line in ("", f"Part {number}:", *_story(part))
    ]
    return [*before, lines, f"{type(error).__module__}.{type(error).__qualname__}: {_discreet(str(error))}", *parts]


def _discreet(message: str) -> str:
    """A message without what it quotes."""
    message = _QUOTED.sub(lambda match: f"{match.group(1)}…{match.group(1)}", message)
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
