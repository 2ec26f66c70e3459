"""A folder that is written over minutes and appears under its name only when it is whole; what was cut off goes on.

The draft stands beside its place as `.NAME.unfinished`, with a note of what it is made from, so that nobody goes on
with other inputs, and under a lock, so that no two processes write into it. `atomic.replaced_folder` is for what is
written in seconds. Knows nothing of what the folder holds.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from llava_engine.byte_text import gigabytes
from llava_engine.errors import StorageError
from llava_engine.files.atomic import storage_errors
from llava_engine.files.lock import held

_NOTE = "made-from.json"
_WHOLE_FILES = ("*.safetensors", "*.gguf")  # what an unfinished draft is worth keeping for
_SPARE_BYTES = 64 * 2**20  # for configs, an index, and the file system's own


@contextmanager
def draft_folder(target: Path, made_from: dict[str, object], *, resume: bool) -> Iterator[Path]:
    """The draft to write into; it takes the name `target` when the block ends well.

    When the block does not end well the draft stays if there is something in it to go on with.

    Args:
        target: a folder that does not exist yet, or is empty.
        made_from: what tells these inputs and settings from others; JSON values, such as from `stamps`.
        resume: go on with the draft of an earlier run, if there is one.

    Raises:
        StorageError: there is such a folder; there is a draft and `resume` is not set, or it was made from something
            else, or another process is at work in it; the disk is full or may not be written to.
    """
    draft = unfinished(target)
    note = json.loads(json.dumps(made_from))
    with storage_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    # The lock stands beside the draft, so that it holds while the draft becomes the target.
    with held(draft.with_name(f"{draft.name}.lock"), target), storage_errors(target):
        check_target(target)
        if draft.exists():
            _check_draft(draft, note, resume)
        else:
            draft.mkdir()
            (draft / _NOTE).write_text(json.dumps(note), encoding="utf-8")
        try:
            yield draft
        except BaseException:
            if not any(any(draft.glob(form)) for form in _WHOLE_FILES):
                shutil.rmtree(draft, ignore_errors=True)
            raise
        (draft / _NOTE).unlink()
        if target.exists():
            target.rmdir()  # it was empty when we began, and it still has to be
        draft.rename(target)


def unfinished(target: Path) -> Path:
    """Where the draft of a folder stands."""
    return target.with_name(f".{target.name}.unfinished")


def check_target(target: Path) -> None:
    """Refuse a place where something is already; raises `StorageError`."""
    try:
        taken = target.is_symlink() or target.is_file() or (target.is_dir() and any(target.iterdir()))
    except OSError as error:
        raise StorageError(f"{target} can not be looked at: {error.strerror}.", "Choose another folder.") from None
    if taken:
        raise StorageError(f"{target} is there already.", "Choose another folder, or remove that one first.")


def check_space(target: Path, needed: int) -> None:
    """Refuse before anything is written when the disk is too small.

    Args:
        target: the folder to come; its nearest existing parent says which disk.
        needed: bytes still to be written.

    Raises:
        StorageError: there is less.
    """
    parent = next((folder for folder in target.absolute().parents if folder.is_dir()), None)
    if parent is None:
        return
    free = shutil.disk_usage(parent).free
    if free < needed + _SPARE_BYTES:
        raise StorageError(
            f"{target} needs {gigabytes(needed + _SPARE_BYTES)} of disk space, and there are {gigabytes(free)}.",
            "Free some space, or choose a folder on another disk.",
        )


def stamps(files: Iterable[Path]) -> dict[str, object]:
    """What tells these files from others without reading them: name, size, time of the last change."""
    return {file.name: [file.stat().st_size, file.stat().st_mtime_ns] for file in files}


def _check_draft(draft: Path, note: object, resume: bool) -> None:
    if not resume:
        raise StorageError(
            f"An earlier run was cut off and left {draft}.", "Go on with --resume, or remove that folder."
        )
    try:
        same = json.loads((draft / _NOTE).read_text("utf-8")) == note
    except (OSError, ValueError):
        same = False
    if not same:
        raise StorageError(
            f"{draft} was begun from other files, or they have changed since.", "Remove it and begin again."
        )
