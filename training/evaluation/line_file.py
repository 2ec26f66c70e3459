"""A file of JSON lines that grows for hours: each is with the system at once; after a kill its end is mended."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from llava_engine.files.atomic import storage_errors

_SYNC_S = 1.0


class LineFile:
    """Lines at the end of a file: each is with the system at once, and on the disk within a second."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._synced = time.monotonic()

    @classmethod
    @contextmanager
    def opened(cls, path: Path) -> Iterator[LineFile]:
        """To write to the end of; on the disk when the block ends, however it does. Raises StorageError."""
        with storage_errors(path), path.open("ab") as file:
            lines = cls(file)
            try:
                yield lines
            finally:
                lines.sync()

    def write(self, row: dict[str, Any]) -> None:
        """One more line."""
        self._file.write(line(row).encode())
        self._file.flush()
        if time.monotonic() - self._synced > _SYNC_S:
            self.sync()

    def sync(self) -> None:
        """To the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._synced = time.monotonic()


def line(row: dict[str, Any]) -> str:
    """A row as a line."""
    return json.dumps(row, ensure_ascii=False) + "\n"


def mend(path: Path) -> bool:
    """Make the next line begin one of its own, after a kill; whether half a line had to go.

    Raises:
        StorageError: the file can not be read or written.
    """
    with storage_errors(path), path.open("rb+") as file:
        data = file.read()
        last = data[data.rfind(b"\n") + 1 :]
        if not last:
            return False
        try:
            json.loads(last.decode("utf-8-sig"))
        except (ValueError, RecursionError):
            file.truncate(len(data) - len(last))
            return bool(last.strip())
        file.write(b"\n")
    return False
