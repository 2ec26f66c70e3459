"""Tensors of one or more sources under other names: what a checkpoint is after its spellings are brought to one."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import StoredTensor, TensorSource


class View:
    """Chosen tensors of other sources, renamed; nothing is read before `read`."""

    def __init__(self, folder: Path, chosen: Mapping[str, tuple[TensorSource, str]]) -> None:
        """Take the new names, and for each a source and the name that it has there."""
        self.folder = folder
        self._chosen = dict(chosen)
        self.tensors: Mapping[str, StoredTensor] = {
            name: source.tensors[old] for name, (source, old) in self._chosen.items()
        }

    def read(self, name: str) -> Tensor:
        """One tensor, as stored."""
        source, old = self._chosen[name]
        return source.read(old)


def canonical_names(files: TensorSource, prefix: str = "") -> dict[str, tuple[TensorSource, str]]:
    """All tensors of a source by their canonical names.

    Args:
        files: with names as stored.
        prefix: put before each stored name first: "vision_tower." for the files of a tower by itself.

    Raises:
        ModelError: two tensors have the same canonical name, as when two layouts are mixed in one folder.
    """
    chosen: dict[str, tuple[TensorSource, str]] = {}
    for name in files.tensors:
        canonical = tensor_names.canonical(prefix + name)
        if canonical in chosen:
            raise ModelError(
                f"{files.folder}: {name} and {chosen[canonical][1]} are the same tensor in two spellings.",
                "Take out the file that does not belong there.",
            )
        chosen[canonical] = files, name
    return chosen
