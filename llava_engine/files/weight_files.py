"""Which files of a folder hold a model's weights, looked for in transformers' order; and what else it holds.

Whole files go before shards, and safetensors before `.bin`. An index may be old: when files that it names are missing,
what is whole beside it is taken; shards by their own numbers only where nothing that the index names is there. Weights
in a form that we do not read are named for what they are (foreign.py). Opens an index alone; imports no torch.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from llava_engine.errors import ModelError
from llava_engine.files.foreign import foreign_weights, named
from llava_engine.files.json import read_json

_WHOLE = (("model", "safetensors"), ("pytorch_model", "bin"))
_WHOLE_OR_INDEX = re.compile(r"(model\.safetensors|pytorch_model\.bin)(\.index\.json)?")
_SHARD = re.compile(
    r"(?P<stem>model|pytorch_model)-(?P<number>\d{1,6})-of-(?P<count>\d{1,6})\.(?P<form>safetensors|bin)"
)

_OTHER_NAMES = ("*.safetensors", "*.bin", "*.pt", "*.pth", "*.ckpt")
_NO_WEIGHTS = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin", "optimizer.pt", "scheduler.pt"})


def weight_files(folder: Path) -> list[Path]:
    """The files that hold a model's weights: a single one, or shards.

    Raises:
        ModelError: there are none, or not all, or they are in a form that is not read; it names what is there.
    """
    try:
        return _weight_files(folder)
    except OSError as error:  # no permission for the folder, or a name that no file can have
        raise ModelError(
            f"The weights of {folder} can not be looked for: {error.strerror}.",
            "Check the permissions, or copy it again.",
        ) from None


def names_model(folder: Path) -> bool:
    """Whether a folder has files named as a whole model's weights, or an index of such; opens none. Raises OSError."""
    return any(_SHARD.fullmatch(file.name) or _WHOLE_OR_INDEX.fullmatch(file.name) for file in folder.iterdir())


def _weight_files(folder: Path) -> list[Path]:
    sets = list(_shard_sets(folder))
    lacking: list[ModelError] = []
    for stem, form in _WHOLE:
        if (folder / f"{stem}.{form}").is_file():
            return [folder / f"{stem}.{form}"]
        if (folder / f"{stem}.{form}.index.json").exists():
            names = _indexed(folder, f"{stem}.{form}.index.json")
            missing = [name for name in names if not (folder / name).is_file()]
            if not missing:
                return [folder / name for name in names]
            partly = len(missing) < len(names)
            lacking.append(
                ModelError(
                    f"{folder} lacks {named(missing)}, of the {len(names)} files that {stem}.{form}.index.json names.",
                    "Download or copy what is missing.",
                )
            )
            if partly:
                continue
        whole = [shards for kind, shards, missing in sets if kind == (stem, form) and not missing]
        if len(whole) == 1:
            return [folder / name for name in whole[0]]
        if whole:
            raise ModelError(
                f"{folder} holds two models in shards: {named([shards[0] for shards in whole])}.",
                f"Take out those that do not belong there, or add {stem}.{form}.index.json.",
            )
    if lacking:
        raise lacking[0]
    for _, shards, missing in sets:
        raise ModelError(f"{folder} holds {named(shards)}, and lacks {named(missing)}.", "Download or copy the rest.")
    raise foreign_weights(folder) or _none(folder)


def _indexed(folder: Path, index: str) -> list[str]:
    table = read_json(folder / index).get("weight_map")
    if not isinstance(table, dict) or not all(isinstance(name, str) for name in table.values()):
        raise ModelError(f"{folder / index} has no weight_map.", "Download or copy the file again.")
    names = sorted(set(table.values()))
    for name in names:
        if Path(name).name != name or name in ("", ".."):
            raise ModelError(
                f"{folder / index} names a file outside its folder: {name}.", "Take the model from a source you trust."
            )
    return names


def _shard_sets(folder: Path) -> Iterator[tuple[tuple[str, str], list[str], list[str]]]:
    """Shards by what their own names say: stem and form, the files that are there, and those that are missing.

    They are numbered from one, by some from nought.
    """
    sets: dict[tuple[str, str, int, int, int], set[int]] = defaultdict(set)
    for file in folder.iterdir() if folder.is_dir() else ():
        if (match := _SHARD.fullmatch(file.name)) and int(match["count"]) and file.is_file():
            width, of = len(match["number"]), len(match["count"])
            sets[match["stem"], match["form"], int(match["count"]), width, of].add(int(match["number"]))
    for (stem, form, count, width, of), numbers in sorted(sets.items()):
        first = 0 if 0 in numbers else 1
        wanted = [f"{stem}-{number:0{width}}-of-{count:0{of}}.{form}" for number in range(first, first + count)]
        there = [name for name in wanted if (folder / name).is_file()]
        yield (stem, form), there, [name for name in wanted if name not in there]


def _none(folder: Path) -> ModelError:
    files = {file.name for pattern in _OTHER_NAMES for file in folder.glob(pattern)} - _NO_WEIGHTS
    if files:
        return ModelError(
            f"{folder} holds {named(sorted(files))}, and no model.safetensors or pytorch_model.bin.",
            "If that is the model's one weight file, give it that name.",
        )
    return ModelError(f"{folder} has no weights.", "It needs model.safetensors or pytorch_model.bin, or their shards.")
