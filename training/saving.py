"""Plain tensors in one safetensors file, written to a temporary name first; read back strictly.

For what is no checkpoint of its own: a tower between two stages, heads that are thrown away in the end.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from llava_engine.errors import DataError
from llava_engine.files.atomic import replaced_file


def write_tensors(tensors: dict[str, Tensor], path: Path) -> None:
    """Write tensors by name. Raises `StorageError` when there is no space or no permission."""
    with replaced_file(path) as part:
        save_file({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}, part)


def read_into(module: nn.Module, path: Path, *, tied: Mapping[str, str] | None = None) -> None:
    """Fill a module from a file, every tensor of both. Raises `DataError` when the file is missing or does not fit.

    `tied` names tensors that are not stored, each with the one that it is the same as.
    """
    try:
        tensors = load_file(path)
        module.load_state_dict(tensors | {name: tensors[same] for name, same in (tied or {}).items()})
    except FileNotFoundError as error:
        raise DataError(f"{path} is missing.", "Run the stage before this one first.") from error
    except (SafetensorError, RuntimeError, KeyError) as error:
        raise DataError(f"{path} does not fit this model: {str(error).splitlines()[0]}") from error
