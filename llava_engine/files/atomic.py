"""A file or folder of the user's appears whole under its name, or not at all; the one place that says why it can not.

What is written stands under a temporary name beside its place, goes to the disk, and is renamed; when that fails, the
temporary one goes and what was there before stays. `drafts` is for folders that take minutes and are gone on with.
Imports no torch: the app's small files are written by it too.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from llava_engine.errors import StorageError

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_LEFT_SECONDS = 24 * 3600  # a temporary file that nobody wrote to for so long belongs to a process that was killed

# torch and safetensors have no type of their own for a disk that fails; their words are the only sign of it.
_THEIRS = re.compile(
    r"inline_container|PytorchStreamWriter|iostream error|I/O error|Parent directory .* does not exist"
)
_THEIR_NUMBER = re.compile(r"\(os error (\d+)\)")


@contextmanager
def storage_errors(path: Path, remedy: str = "") -> Iterator[None]:
    """Whatever a disk does to the block becomes one `StorageError` about `path`; other errors pass.

    Beside OSError that is torch's RuntimeError and safetensors' SafetensorError where they stand for one.

    Args:
        path: what the user asked to be written.
        remedy: what else to do than free some space or choose another place.
    """
    try:
        yield
    except Exception as error:
        if not is_storage_error(error):
            raise
        number = _number(error)
        why = os.strerror(number) if number else "the disk is full, or does not take it"
        usual = "Free some space, or choose another place." if number in (None, *_FULL) else "Choose another place."
        raise StorageError(f"{path} can not be written: {why}.", remedy or usual) from error


def is_storage_error(error: BaseException) -> bool:
    """Whether an error stands for a disk that is full, not permitted or broken."""
    return isinstance(error, OSError) or (
        type(error).__name__ in ("RuntimeError", "SafetensorError") and bool(_THEIRS.search(str(error)))
    )


@contextmanager
def replaced_file(path: Path, mode: int = 0o666) -> Iterator[Path]:
    """A temporary file beside `path` to write to; it takes its place when the block ends well, and goes when not.

    Args:
        path: the file; its folder exists.
        mode: its permissions, of which the umask takes.

    Raises:
        StorageError: no space, no permission.
    """
    with storage_errors(path):
        _sweep(path)
        # One for each process and thread: two that write the same file must not write into each other's.
        part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
        try:
            os.close(os.open(part, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, mode))
            permissions = part.stat().st_mode & 0o777
            yield part
            part.chmod(permissions)  # safetensors writes for the owner alone
            _to_disk(part)  # before the name: a file under it is whole even after a power cut
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


def write_bytes(path: Path, content: bytes, mode: int = 0o666) -> None:
    """Write a file whole or not at all. Raises `StorageError`."""
    with replaced_file(path, mode) as part:
        part.write_bytes(content)


def write_text(path: Path, text: str, mode: int = 0o666) -> None:
    """Write a file in UTF-8, its line ends as they are. Raises `StorageError`."""
    write_bytes(path, text.encode(), mode)


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder that takes the place of `folder` when the block ends well, and is removed when it does not.

    Raises:
        StorageError: no space, no permission.
    """
    draft: Path | None = None
    try:
        with storage_errors(folder):
            folder.parent.mkdir(parents=True, exist_ok=True)
            draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
            draft.chmod(0o755)
            yield draft
            if folder.exists():
                old = folder.with_name(f".{folder.name}.old-{os.getpid()}")
                folder.rename(old)
                draft.rename(folder)
                shutil.rmtree(old)
            else:
                draft.rename(folder)
    finally:
        if draft is not None and draft.exists():
            shutil.rmtree(draft, ignore_errors=True)


def _number(error: BaseException) -> int | None:
    """The system's number of what went wrong: the error's own, or that of the one it came from."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, OSError) and seen.errno:
            return seen.errno
        if found := _THEIR_NUMBER.search(str(seen)):
            return int(found.group(1))
        seen = seen.__cause__ or seen.__context__
    return None


def _sweep(path: Path) -> None:
    """Remove what a killed process left of this very file: a training state has gigabytes."""
    long_ago = time.time() - _LEFT_SECONDS
    for left in path.parent.iterdir():
        if left.name.startswith(f".{path.name}.") and left.name.endswith(".part"):
            with suppress(OSError):
                if left.stat().st_mtime < long_ago:
                    left.unlink()


def _to_disk(file: Path) -> None:
    descriptor = os.open(file, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
