"""The parts of a checkpoint, each found once: config, base, tensors, tower, tokenizer, picture settings.

A folder may hold all of them, or an adapter or a projector whose base has the rest, or name a tower that is elsewhere.
Knows where parts are and not what they mean: that is the layout's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from llava_engine.checkpoints.adapters import adapters
from llava_engine.checkpoints.adapters.adapted import Adapted
from llava_engine.checkpoints.adapters.base import Base, find_base
from llava_engine.checkpoints.adapters.config import FILE, AdapterConfig, read_adapter_config
from llava_engine.checkpoints.checkpoint import RawFiles
from llava_engine.checkpoints.picture_files import PictureFile, find_picture_file
from llava_engine.checkpoints.plain_weights import plain_tensors
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.checkpoints.sniff import Form
from llava_engine.checkpoints.tensor_names import embeddings_in
from llava_engine.checkpoints.towers import find_tower, open_tower
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import check_own_file
from llava_engine.files.tensor_files import TensorFiles, TensorSource
from llava_engine.hub.cache import snapshot_or_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)


@dataclass(frozen=True)
class Parts:
    """Where the parts of a checkpoint are; each is looked at when it is first asked for.

    Attributes:
        folder: what the user named: a folder (of a repository in a cache: its snapshot), or a projector's file.
        form: whether it is whole.
        raw: the parsed config.json: its own, or what stands for it over a base.
        home: the folder of that config.json, and of what goes with it.
        base: the base model, for an adapter or a projector.
        settings: an adapter's adapter_config.json.
        towers: folders that the user gave, by the name that they stand for; "" stands for any.
        force: take an adapter for another base all the same.
        notes: what is odd but works: one sentence each.
    """

    folder: Path
    form: Form
    raw: Mapping[str, Any]
    home: Path
    base: Base | None
    settings: AdapterConfig | None
    towers: Mapping[str, Path]
    force: bool
    notes: tuple[str, ...] = ()

    @cached_property
    def tensors(self) -> TensorSource:
        """All tensors by canonical names, an adapter's folded in. Raises `ModelError`."""
        return View(self.folder, canonical_names(self._adapted or self._plain[0]))

    @property
    def weight_notes(self) -> tuple[str, ...]:
        """What is odd about the weights but works: one sentence each. Raises `ModelError`."""
        return self._plain[1] if self._adapted is None else ()

    @property
    def own_head(self) -> bool:
        """Whether an adapter trained a head apart from the embeddings that it was tied to."""
        return self._adapted is not None and self._adapted.own_head

    @property
    def trained_tower(self) -> bool:
        """Whether the tower among the tensors is another than the one that the config names."""
        return bool(self.raw.get("unfreeze_mm_vision_tower")) or (
            self._adapted is not None and self._adapted.changes("vision_tower.")
        )

    @property
    def named_tower(self) -> str:
        """The vision tower that the config names; "" where it names none."""
        return str(self.raw.get("mm_vision_tower") or "")

    @cached_property
    def tower(self) -> Path | None:
        """The folder of the tower that the config names, or that the user gave; None where it is not here."""
        return find_tower(self.named_tower, self.home, self.towers)

    @cached_property
    def pictures(self) -> PictureFile | None:
        """What its own folder, or else its base's, says of how pictures are made ready. Raises `ModelError`."""
        folders = [self.folder] if self.folder.is_dir() else []
        folders += [self.home, *([self.base.folder] if self.base else [])]
        return find_picture_file(*dict.fromkeys(folders))

    def tokenizer(self, added: tuple[str, ...], tensors: TensorSource) -> tuple[Tokenizer, RawFiles]:
        """The folder's own, or its base's.

        v0 also began with a [PAD]; over a base, one more row than tokens tells that it is there.

        Args:
            added: tokens that loading such a model adds.
            tensors: the model's, which know how many rows there are.

        Raises:
            ModelError: there is none, or its files are broken.
        """
        own = any((self.folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
        folder = self.folder if own or self.base is None else self.base.folder
        for name in TOKENIZER_FILES:
            if (folder / name).exists():
                check_own_file(folder, folder / name)
        tokenizer = Tokenizer.from_folder(folder, added=added)
        embeddings = embeddings_in(tensors)
        rows = tensors.tensors[embeddings].shape[0] if embeddings else 0
        pads = rows == tokenizer.vocabulary + 1 and "[PAD]" not in tokenizer.special_ids
        if added and folder != self.folder and pads:
            added = ("[PAD]", *added)
            tokenizer = Tokenizer.from_folder(folder, added=added)
        return tokenizer, RawFiles(self.raw, folder, added)

    @cached_property
    def _adapted(self) -> Adapted | None:
        if self.base is None:
            return None
        return adapters.onto_base(
            self.folder, self.raw, self.settings, self.base, self._outside_tower, force=self.force
        )

    @cached_property
    def _plain(self) -> tuple[TensorFiles, tuple[str, ...]]:
        return plain_tensors(self.folder, self.raw)

    def _outside_tower(self) -> TensorSource | None:
        return open_tower(self.tower).tensors if self.tower is not None else None


def find_parts(folder: Path, *, base: Path | None, towers: Mapping[str, Path], force: bool) -> Parts:
    """Look at a folder's config.json and at what it is made of. Arguments as `open_checkpoint`'s.

    Raises:
        ModelError: there is none, its config.json is broken, or its base is not on this machine.
    """
    folder = snapshot_or_folder(folder)
    if not folder.exists():
        raise ModelError(f"There is no model folder {folder}.", "Give a folder that holds config.json and weights.")
    form = adapters.form(folder)
    if form == "whole":
        return Parts(folder, form, read_json(folder / "config.json"), folder, None, None, towers, force)
    raw, home = adapters.own_config(folder), folder
    settings = read_adapter_config(folder) if form == "adapter" else None
    named = (settings.base if settings else None) or str(raw.get("_name_or_path") or "")
    found = find_base(folder, named, base, "a projector" if settings is None else "an adapter")
    notes = found.note(named, FILE if settings and settings.base else "config.json") if base is not None else ()
    if not raw:
        raw = adapters.config_over(folder, found)
        home = found.folder if folder.is_dir() else folder.parent
    return Parts(folder, form, raw, home, found, settings, towers, force, notes)
