"""Whether a file of a model folder is the folder's own and is really there, before anything opens it.

Refused are symbolic links that lead out of the folder (a stranger's archive could point anywhere) and git-LFS pointers,
the small text files that a checkout without git-lfs leaves in place of the weights. What is copied out of a stranger's
folder is copied here.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

from llava_engine.errors import ModelError

POINTER_START = b"version https://git-lfs.github.com/spec/v1"
MAX_POINTER_BYTES = 1024  # the specification's own limit


def check_own_file(folder: Path, file: Path) -> None:
    """Refuse a file that is not the folder's own or only stands for its content; a missing file is not looked at.

    In the hub cache a snapshot's files are links to `../../blobs/HASH`: these count as its own.

    Args:
        folder: the model folder as the user named it; it may itself be a link.
        file: a file in it.

    Raises:
        ModelError: a link that leads out of the folder, no regular file, or a git-LFS pointer.
    """
    try:
        real, home = file.resolve(), folder.resolve()
        if not real.exists():
            return
        if not real.is_file():
            raise ModelError(
                f"{file} is a folder, a device or a pipe, not a file.", "Take the model's folder complete."
            )
        inside = real.is_relative_to(home) or real.parent == _blobs(home)
        with real.open("rb") as opened:
            start = opened.read(MAX_POINTER_BYTES + 1)
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: links in a circle; ValueError: an odd name
        why = getattr(error, "strerror", None) or error
        raise ModelError(
            f"{file} can not be read: {why}.", "Check its permissions, and where its links lead."
        ) from None
    if not inside:
        raise ModelError(
            f"{file} is a link that leads out of its folder, to {real}.",
            "Put the file itself into the folder, or name the folder that it is in.",
        )
    if len(start) <= MAX_POINTER_BYTES and start.startswith(POINTER_START):
        raise ModelError(
            f"{folder} holds git-LFS pointers, not the files themselves ({file.name} is one).",
            "Run `git lfs pull` in it, or fetch the model with: llava models get ID",
        )


def own_files(folder: Path, names: Iterable[str]) -> tuple[Path, ...]:
    """Those of these files that a folder has; raises `ModelError` where one is not its own, see `check_own_file`."""
    files = [folder / name for name in names]
    for file in files:
        check_own_file(folder, file)
    return tuple(file for file in files if file.exists())


def copy_own_file(file: Path, to: Path) -> None:
    """Copy a file of a stranger's folder: a link in it would bring a private file into what we write.

    Raises:
        ModelError: it is not the folder's own.
        OSError: it can not be read or written.
    """
    check_own_file(file.parent, file)
    shutil.copyfile(file, to)


def _blobs(home: Path) -> Path | None:
    """Where a folder keeps its contents when it is a snapshot in the hub cache."""
    return home.parent.parent / "blobs" if home.parent.name == "snapshots" else None
