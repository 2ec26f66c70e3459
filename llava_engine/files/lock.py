"""One process at a time at what is written over minutes: an advisory lock that dies with its process.

The lock is the system's, on a small file that also says who holds it; a file that a killed process left stops nobody.
Knows nothing of what is written.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llava_engine.errors import StorageError
from llava_engine.files.atomic import storage_errors

_UNKNOWN = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # a file system without locks: better none than no writing
_LOCKED_BYTE = 2**20  # Windows lets nobody read what is locked, so it is a byte behind the note


@contextmanager
def held(file: Path, what: Path) -> Iterator[None]:
    """Hold a lock while the block runs; the file is gone afterwards.

    Args:
        file: the lock's own file.
        what: what is written, for the error.

    Raises:
        StorageError: another process holds it, or the file can not be made.
    """
    with storage_errors(what):
        descriptor = _take(file, what)
    try:
        yield
    finally:
        with suppress(OSError):
            file.unlink()  # while it is held: whoever opened it before finds another file, or none, under its name
        os.close(descriptor)


def try_lock(descriptor: int) -> bool:
    """Lock an open file till it is closed; False when another one has it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            os.lseek(descriptor, 0, os.SEEK_SET)
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _UNKNOWN
    return True


def _take(file: Path, what: Path) -> int:
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            if not try_lock(descriptor):
                raise StorageError(
                    f"{what} is being written by {_holder(descriptor)}.", "Wait until it has ended, or end it first."
                )
            if _is_under(file, descriptor):
                note = {"pid": os.getpid(), "host": socket.gethostname(), "since": time.time()}
                os.ftruncate(descriptor, 0)
                os.write(descriptor, json.dumps(note).encode())
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its holder ended, and took the name away, after we opened it


def _is_under(file: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), file.stat())
    except FileNotFoundError:
        return False


def _holder(descriptor: int) -> str:
    try:
        note = json.loads(os.pread(descriptor, 1000, 0) if hasattr(os, "pread") else os.read(descriptor, 1000))
        since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(note["since"]))
        there = "" if note["host"] == socket.gethostname() else f" on {note['host']}"
        return f"process {int(note['pid'])}{there}, since {since}"
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return "another process"  # it has just begun
