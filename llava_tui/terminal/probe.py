"""Asking the terminal what it can do: three questions, one short wait, and everything as it was before.

Must be over before the app reads keys, which a late answer would look like. What follows from it is `detect.py`.
"""

from __future__ import annotations

import contextlib
import os
import re
import select
import sys
import time
from typing import Any

from llava_tui.terminal.detect import ProbeAnswer

TIMEOUT_S = 0.15
SSH_TIMEOUT_S = 0.6  # a far terminal answers late; it costs its distance only, since the wait ends with the answer
_BEGUN_TIMEOUT_S = 1.0  # an answer that has begun is waited for, or its rest would be taken for keys

# kitty's graphics query (a 1x1 picture, not stored) · XTVERSION · DA1. Every terminal answers the last, so that its
# answer says that no other will come. The line is wiped in case the terminal has printed a question it did not know.
_QUESTIONS = b"\x1b7\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[>0q\x1b[c\x1b8\x1b[K"
_TGP_YES = re.compile(rb"\x1b_G[^\x1b]*i=31[^\x1b]*;OK\x1b\\")
_VERSION = re.compile(rb"\x1bP>\|([^\x1b]*)\x1b\\")
_ATTRIBUTES = re.compile(rb"\x1b\[\?([\d;]+)c")
_SIXEL = b"4"


def probe() -> ProbeAnswer | None:
    """Ask the terminal of this process. None when there is none, when it is not ours to ask, or when it is silent."""
    if sys.platform == "win32" or not sys.stdout.isatty():
        return None
    far = any(os.environ.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))
    try:
        terminal = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY)
    except OSError:
        return None
    try:
        if os.tcgetpgrp(terminal) != os.getpgrp():
            return None  # in the background: asking would stop us
        return ask(terminal, SSH_TIMEOUT_S if far else TIMEOUT_S)
    except OSError:
        return None
    finally:
        os.close(terminal)


def ask(terminal: int, timeout_s: float) -> ProbeAnswer | None:
    """Ask the terminal behind this file descriptor; its mode is the same afterwards.

    Keys that are typed before it has answered are lost. Raises OSError when it is no terminal.
    """
    if sys.platform == "win32":
        return None
    import termios

    try:
        before = termios.tcgetattr(terminal)
    except termios.error as error:
        raise OSError(*error.args) from error
    quiet: list[Any] = [*before]
    quiet[3] &= ~(termios.ECHO | termios.ICANON)
    answer = None
    try:
        termios.tcsetattr(terminal, termios.TCSANOW, quiet)
        os.write(terminal, _QUESTIONS)
        answer = _understand(_listen(terminal, timeout_s))
    finally:
        # What is still there after a whole answer are keys; otherwise it may be half an answer, and goes.
        when = termios.TCSANOW if answer is not None else termios.TCSAFLUSH
        with contextlib.suppress(termios.error):
            termios.tcsetattr(terminal, when, before)
    return answer


def _listen(terminal: int, timeout_s: float) -> bytes:
    heard = b""
    began = time.monotonic()
    while not _ATTRIBUTES.search(heard):
        limit = _BEGUN_TIMEOUT_S if b"\x1b" in heard else timeout_s
        left = began + limit - time.monotonic()
        if left <= 0 or not select.select([terminal], [], [], left)[0]:
            break
        piece = os.read(terminal, 4096)
        if not piece:
            break
        heard += piece
    return heard


def _understand(heard: bytes) -> ProbeAnswer | None:
    attributes = _ATTRIBUTES.search(heard)
    if attributes is None:
        return None
    version = _VERSION.search(heard)
    return ProbeAnswer(
        sixel=_SIXEL in attributes.group(1).split(b";")[1:],  # the first says which model it is
        tgp=_TGP_YES.search(heard) is not None,
        name=version.group(1).decode("utf-8", "replace") if version else "",
    )
