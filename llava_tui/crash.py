"""A bug leaves a report on this machine: traceback and versions, no text of any conversation.

Nothing is sent anywhere.
"""

from __future__ import annotations

import ast
import contextlib
import errno
import linecache
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
from llava_tui.paths import make_private

_PACKAGES = ("llava", "textual", "textual-image", "pillow", "torch", "transformers", "tokenizers", "safetensors")
_LONGEST_MESSAGE = 300  # letters: what a person says of an error is shorter
_LONGEST_LOOKED_AT = 10_000  # letters of a message that quotes something long
_KEPT = 20


def write_report(error: BaseException, folder: Path) -> Path | None:
    """Write a crash file into `folder` (usually `user_paths().state`); its path, or None when it can not be written.

    In it: what was raised and where (files as they are installed, lines of code), versions, the platform. Not in it:
    values of variables, the command line, the environment; and of the errors' messages, all that does not stand in the
    code that raised them, since an error about a text, a path or an address likes to quote it. The latest are kept.
    """
    try:
        crashes = folder / "crashes"
        make_private(crashes)
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
    parts = [
        line
        for number, part in enumerate(error.exceptions if isinstance(error, BaseExceptionGroup) else (), 1)
        for line in ("", f"Part {number}:", *_story(part))
    ]
    name = f"{type(error).__module__}.{type(error).__qualname__}"
    return [*before, *_where(error), f"{name}: {_message(error)}", *parts]


def _where(error: BaseException) -> list[str]:
    """The traceback, its files by where they are installed: a path from the root on names a person."""
    frames = traceback.extract_tb(error.__traceback__)
    for frame in frames:
        frame.filename = _installed(frame.filename)
    return "".join(frames.format()).rstrip().splitlines()


def _installed(file: str) -> str:
    homes = [home for home in map(Path, sys.path) if home.is_absolute() and Path(file).is_relative_to(home)]
    return str(Path(file).relative_to(max(homes, key=lambda home: len(home.parts)))) if homes else Path(file).name


def _message(error: BaseException) -> str:
    """Of an error's message, what whoever wrote the code has written there, and "…" for what came in at run time."""
    if isinstance(error, OSError) and error.errno:
        return f"{errno.errorcode.get(error.errno, error.errno)}, {os.strerror(error.errno)}"
    if isinstance(error, UnicodeDecodeError | UnicodeEncodeError):
        return f"{error.encoding}: {error.reason}"  # both are Python's own words
    if isinstance(error, ImportError | NameError | AttributeError) and str(error.name).isidentifier():
        return f"…{error.name}…"  # a name in code
    if isinstance(error, TypeError) and _raised_by(error) is None:
        return _shortened(str(error))  # the interpreter's, which speaks of types and parameters
    written = _raised_by(error)
    if written is None:
        return "…"
    found = re.match("".join(_pattern(piece) for piece in written), str(error)[:_LONGEST_LOOKED_AT], re.DOTALL)
    if found is None:
        return "…"
    values = iter(found.groups())
    said = "".join(_constant(piece) or (next(values) if _is_length(piece) else "…") for piece in written)
    return _shortened(said if found.end() == len(str(error)) or said.endswith("…") else f"{said}…")


def _raised_by(error: BaseException) -> list[ast.expr] | None:
    """The pieces of the text that the `raise` statement gave the error; None when no such statement raised it."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames or frames[-1].lineno is None:
        return None
    line = frames[-1].lineno
    try:
        tree = ast.parse("".join(linecache.getlines(frames[-1].filename)))
    except (SyntaxError, ValueError):  # there is no source, or it was changed meanwhile
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and node.lineno <= line <= (node.end_lineno or line):
            made = node.exc
            text = made.args[0] if isinstance(made, ast.Call) and made.args else None
            return text.values if isinstance(text, ast.JoinedStr) else [] if text is None else [text]
    return None


def _constant(piece: ast.expr) -> str:
    return piece.value if isinstance(piece, ast.Constant) and isinstance(piece.value, str) else ""


def _is_length(piece: ast.expr) -> bool:
    """Whether a piece is `{len(…)}`, which says nothing of what is in it."""
    call = piece.value if isinstance(piece, ast.FormattedValue) else None
    return isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "len"


def _pattern(piece: ast.expr) -> str:
    return re.escape(_constant(piece)) or (r"(\d+)" if _is_length(piece) else ".*?")


def _shortened(message: str) -> str:
    return message if len(message) <= _LONGEST_MESSAGE else message[:_LONGEST_MESSAGE] + "…"
