"""Standard input as text: whether it is meant for this command, and reading it neither for ever nor without end.

A pipe or a file belongs to this command when the program that started it does not read the same one. In a loop
(`while read f; do llava ask -i "$f"; done < list`), in a script that is piped into a shell, under `ssh`, the shell
reads it too, and what we took would be lost to it. So simonw/llm, ffmpeg and ssh eat such lists; we do not.
"""

from __future__ import annotations

import io
import os
import re
import select
import stat
import sys
from pathlib import Path

from llava_engine.errors import ConversationError

LONGEST = 4 * 2**20
"""Bytes. The longest context of any LLaVA has 32,768 tokens, and no vocabulary has pieces of more than 128 letters."""
PATIENCE_S = 2.0
"""How long a pipe may stay silent when there is something to ask without it. `echo` and `cat` need milliseconds."""


def is_terminal() -> bool:
    """Whether a person would have to type it, or nobody can: it is closed."""
    return sys.stdin is None or sys.stdin.isatty()


def read() -> str:
    """All of it, however long it takes to come.

    Raises:
        ConversationError: it is no text, or longer than any model can hold.
    """
    data = sys.stdin.buffer.read(LONGEST + 1) if sys.stdin is not None else b""
    if len(data) > LONGEST:
        raise ConversationError(
            f"Standard input is longer than {LONGEST // 2**20} MiB, more than any model can hold.",
            "Ask about a part of it.",
        )
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConversationError(
            "Standard input is not UTF-8 text.", "If it is a picture, say so: llava ask -i - -q QUESTION"
        ) from error


def read_if_brought() -> str:
    """The text that a pipe or a file brings to this command alone; "" when there is none, or it stays silent.

    Raises:
        ConversationError: see `read`.
    """
    try:
        descriptor = sys.stdin.fileno() if sys.stdin is not None else -1
    except (io.UnsupportedOperation, ValueError):  # within another program
        return ""
    if descriptor < 0:
        return ""
    about = os.fstat(descriptor)
    is_file = stat.S_ISREG(about.st_mode)
    if not (is_file or stat.S_ISFIFO(about.st_mode) or stat.S_ISSOCK(about.st_mode)):
        return ""  # a terminal, /dev/null
    if _is_shared(about):
        return ""
    return read() if is_file or _comes(descriptor) else ""


def _comes(descriptor: int) -> bool:
    try:
        return bool(select.select([descriptor], [], [], PATIENCE_S)[0])
    except OSError:  # Windows looks at sockets only
        return True


def _is_shared(about: os.stat_result) -> bool:
    """Whether the program that started us has the same standard input."""
    try:
        theirs = (_started_by() / "fd" / "0").stat()
    except OSError:  # no Linux, or another user's: a loop over a file is what people write most
        return stat.S_ISREG(about.st_mode)
    return os.path.samestat(about, theirs)


def _started_by() -> Path:
    """The process that wants this command, as Linux shows it. One whose own arguments end with ours was only told to
    run it (timeout, uv run, sudo, a script that hands its arguments on)."""
    process, ours = Path(f"/proc/{os.getppid()}"), [os.fsencode(word) for word in sys.argv[1:]]
    while ours and (process / "cmdline").read_bytes().split(b"\0")[:-1][-len(ours) :] == ours:
        parent = re.search(rb"^PPid:\s*(\d+)", (process / "status").read_bytes(), re.MULTILINE)
        process = Path(f"/proc/{int(parent[1]) if parent else 0}")  # 0 is no process: as where there is no Linux
    return process
