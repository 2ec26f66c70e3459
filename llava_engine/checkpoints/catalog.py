"""What a user calls a model -> the folder that it means: the embedded model, a folder, a hub id that is in the cache.

Never a guess from the name, and never the network.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.errors import ModelError
from llava_engine.files.foreign import refuse_foreign_file
from llava_engine.files.json import read_bytes, read_json
from llava_engine.hub.cache import find_in_cache, id_of_snapshot, is_id, snapshot_or_folder

EMBEDDED = Path(__file__).resolve().parent.parent / "embedded"
PROJECTOR_FORMS = (".bin", ".safetensors")  # a projector may be a file alone; open_checkpoint looks into it
EMBEDDED_NAME = "llava-tiny (embedded)"


def find(model: str | os.PathLike[str] | None, *, env: Mapping[str, str] = os.environ) -> Path:
    """The folder of a model, or the file of a projector.

    Args:
        model: None for the embedded model, a path (`~` is the home folder), or a hub id `ORG/NAME` that was fetched
            before. A folder of that name goes first.

    Raises:
        ModelError: there is no such folder, it is a file that holds no weights, or the hub cache does not have the id.
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
    if is_folder or (exists and folder.suffix in PROJECTOR_FORMS):
        return snapshot_or_folder(folder).resolve()
    if exists:
        with suppress(OSError):  # one that can not be read is a file all the same
            if folder.is_file():  # a pipe would keep us waiting
                refuse_foreign_file(folder)
        raise ModelError(f"{folder} is a file, not a model folder.", "Give the folder that holds it.")
    if not is_id(str(model)):
        raise ModelError(f"There is no model folder {folder}.", "Give a folder that holds config.json and weights.")
    cached = find_in_cache(str(model), env=env)
    if cached is None:
        raise ModelError(
            f"There is no folder {model}, and the hub cache has no whole model of that id.",
            f"If it is on the hub, fetch it: llava models get {model}",
        )
    return cached.resolve()


def name_of(folder: Path) -> str:
    """What a person calls the model in a folder that `find` gave: its hub id, or the folder's own name."""
    if folder == EMBEDDED:
        return EMBEDDED_NAME
    return id_of_snapshot(folder) or folder.name


def holds_llava(folder: Path) -> bool:
    """Whether a folder's config.json is that of a LLaVA, by its keys. Quick, and never an error: for lists."""
    raw = _config(folder)
    return is_original(raw) or raw.keys() >= {"vision_config", "text_config", "vision_feature_layer"}


def named_tower(folder: Path) -> str | None:
    """The vision tower that a folder's config.json names and its weights do not hold, as far as small files tell."""
    tower = _config(folder).get("mm_vision_tower")
    try:
        inside = any(b"vision_tower." in read_bytes(index) for index in folder.glob("*.index.json"))
    except (OSError, ModelError):
        return None
    return tower if isinstance(tower, str) and not inside else None


def _config(folder: Path) -> dict[str, Any]:
    """A folder's config.json; empty when there is none that can be read."""
    try:
        return read_json(folder / "config.json")
    except (OSError, ModelError):
        return {}
