"""Bytes kept once for each content, in files named by their SHA-256; in memory where the disk does not take them.

Knows no pictures and no database. Safe in any thread.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from llava_engine.errors import StorageError
from llava_engine.files.atomic import storage_errors, write_bytes
from llava_tui.paths import make_private


class Blobs:
    """A folder of contents.

    Args:
        folder: where they are kept; made when the first comes. None keeps all of them in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._unsaved: dict[str, bytes] = {}

    def keep(self, sha256: str, data: bytes) -> StorageError | None:
        """Keep `data`, whose hash the caller knows. Returns why it is in memory only, or None when it is on disk."""
        if self._folder is None:
            self._unsaved[sha256] = data
            return None
        path = self._path(self._folder, sha256)
        try:
            with storage_errors(path):
                if not (path.is_file() and path.stat().st_size == len(data)):
                    make_private(path.parent)
                    write_bytes(path, data, 0o600)
        except StorageError as error:
            self._unsaved[sha256] = data
            return error
        return None

    def read(self, sha256: str) -> bytes:
        """The bytes. Raises FileNotFoundError when they are gone, ValueError when they are not what they were."""
        if sha256 in self._unsaved:
            return self._unsaved[sha256]
        if self._folder is None:
            raise FileNotFoundError(sha256)
        data = self._path(self._folder, sha256).read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise ValueError(f"the file of {sha256} has other content")
        return data

    def remove(self, sha256: str) -> None:
        """Forget it; one that is not there is no error."""
        self._unsaved.pop(sha256, None)
        if self._folder is not None:
            try:
                self._path(self._folder, sha256).unlink(missing_ok=True)
            except (OSError, ValueError):
                return  # a file too many harms nobody; a damaged name is no file of ours

    @staticmethod
    def _path(folder: Path, sha256: str) -> Path:
        if not (len(sha256) == 64 and all(digit in "0123456789abcdef" for digit in sha256)):
            raise ValueError(f"not a SHA-256: {sha256!r}")  # it becomes a path: nothing else may
        return folder / sha256[:2] / sha256
