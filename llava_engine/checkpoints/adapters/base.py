"""The base that an adapter or a projector goes onto: where it is, and what its config.json says.

Given by the user, or where the adapter's own files say, or in the hub's cache. Reads no weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.files.foreign import foreign_weights
from llava_engine.files.json import read_json
from llava_engine.hub.cache import find_in_cache, id_of_snapshot, snapshot_or_folder


@dataclass(frozen=True)
class Base:
    """A base model's folder.

    Attributes:
        folder: where it is.
        config: its parsed config.json.
    """

    folder: Path
    config: Mapping[str, Any]

    @property
    def language(self) -> Mapping[str, Any]:
        """The language model's part of the config."""
        text = self.config.get("text_config")
        return text if isinstance(text, Mapping) else self.config

    @property
    def is_tied(self) -> bool:
        """Whether its head is its embeddings by its config; an MPT's always is, and states nothing."""
        key = "tie_word_embeddings"
        return bool(self.config.get(key, self.language.get(key, False)))

    def note(self, named: str, file: str) -> tuple[str, ...]:
        """A note where it has another name than the adapter's file says: that alone is no error, folders move."""
        own = self.config.get("_name_or_path")
        names = (self.folder.name, self.folder.resolve().name, id_of_snapshot(self.folder) or "", own)
        if not named or Path(named).name in [Path(name).name for name in names if isinstance(name, str)]:
            return ()
        return (f"{file} names {named} as its base; it goes onto {self.folder} now.",)


def find_base(path: Path, named: str, given: Path | None, what: str) -> Base:
    """The base model of an adapter.

    Args:
        path: the adapter's folder, or a projector's file.
        named: what its files call its base; "" where they do not say.
        given: by the user; nothing else is looked at then.
        what: "an adapter" or "a projector".

    Raises:
        ModelError: it is not on this machine, or no model.
    """
    if given is not None:
        folder = snapshot_or_folder(given)
        if not (folder / "config.json").is_file():
            none = f"The base {given} is no model folder: it has no config.json."
            raise foreign_weights(given) or ModelError(none, "Give another: --base FOLDER.")
        return Base(folder, read_json(folder / "config.json"))
    beside = (place for place in _places(named, path) if (place / "config.json").is_file())
    found = next(beside, None) or find_in_cache(named)
    if found is None:
        raise ModelError(
            f"{path} is {what} over {named or 'a base model'}, which is not on this machine.",
            "Give the base model's folder: --base FOLDER.",
        )
    return Base(found, read_json(found / "config.json"))


def _places(named: str, path: Path) -> list[Path]:
    name = Path(named)
    if name.is_absolute():
        return [snapshot_or_folder(name)]
    around = (path, path.parent, path.parent.parent, Path.cwd())
    return [place / part for place in around for part in (name, Path(name.name)) if part.name]
