"""A name -> the folder that it means: the embedded model, or a folder of the user's. Never a guess from the name."""

from __future__ import annotations

import os
from pathlib import Path

from llava_engine.errors import ModelError

EMBEDDED = Path(__file__).resolve().parent.parent / "embedded"


def find(model: str | os.PathLike[str] | None) -> Path:
    """The folder of a model.

    Args:
        model: None for the embedded model, or a path (`~` is the home folder).

    Raises:
        ModelError: there is no such folder, or it is a file.
    """
    if model is None:
        return EMBEDDED
    try:
        folder = Path(model).expanduser()
        is_folder, exists = folder.is_dir(), folder.exists()
    except (OSError, RuntimeError, ValueError):
        raise ModelError(
            f"{str(model)!r} is not a path.", "Give a folder that holds config.json and weights."
        ) from None
    if not exists:
        raise ModelError(f"There is no model folder {folder}.", "Give a folder that holds config.json and weights.")
    if not is_folder:
        raise ModelError(f"{folder} is a file, not a model folder.", "Give the folder that holds it.")
    return folder.resolve()
