"""How a folder says that pictures are made ready, whichever of its files says it.

transformers 5 writes the settings into processor_config.json, under `image_processor`; all before it into
preprocessor_config.json. Where both are, the first counts, as it does there. What no file says is CLIP's, and is said.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import own_files
from llava_engine.pictures.processing import Preprocessing

_FILE, _INSIDE, _KEY = "preprocessor_config.json", "processor_config.json", "image_processor"
NO_FILE = f"neither {_FILE} nor {_INSIDE} (with {_KEY}) is there"
# What makes other pixels where it is left out. The factor for 8-bit values is the same for everybody.
_TELLING = ("image_mean", "image_std", "resample")


@dataclass(frozen=True)
class PictureFile:
    """Picture settings as a folder states them.

    Attributes:
        file: what states them.
        stated: keys and values; those that are null, as some versions write them, are left out.
    """

    file: Path
    stated: Mapping[str, Any]


def find_picture_file(*folders: Path) -> PictureFile | None:
    """The settings in the first of these folders that has any. Raises `ModelError` when a file is broken."""
    for folder in folders:
        for file in own_files(folder, (_INSIDE, _FILE)):
            content = read_json(file)
            said: object = content.get(_KEY) if file.name == _INSIDE else content
            if said is None:  # a processor's own settings alone, as up to transformers 4
                continue
            if not isinstance(said, Mapping):
                raise ModelError(f"{file}: {_KEY} is not an object.", "Take the model's own file.")
            return PictureFile(file, {key: value for key, value in said.items() if value is not None})
    return None


def preprocessing_by(found: PictureFile | None, side: int) -> tuple[Preprocessing, tuple[str, ...]]:
    """How pictures are made ready, and a note on what no file says.

    Args:
        found: from `find_picture_file`.
        side: pixels of the tower's square.

    Raises:
        ModelError: the settings ask for something that we do not do.
    """
    if found is None:
        note = f"Nothing says how pictures are made ready ({NO_FILE}): as for CLIP, at the tower's {side} pixels."
        return Preprocessing("square", (side, side), side), (note,)
    stated, notes = dict(found.stated), []
    if "size" not in stated:
        stated["size"] = {"shortest_edge": side}
        notes.append(f"{found.file.name} does not say size: the tower's {side} pixels are taken.")
    if missing := [key for key in _TELLING if key not in stated]:
        notes.append(f"{found.file.name} does not say {', '.join(missing)}: CLIP's are taken.")
    try:
        return Preprocessing.from_config(stated), tuple(notes)
    except (TypeError, ValueError, KeyError, AttributeError, OverflowError) as error:
        raise ModelError(f"{found.file} can not be followed: {error}.", "Take the model's own file.") from error
