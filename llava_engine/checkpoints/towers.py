"""Where the weights of a checkpoint's vision tower are: a folder given, one beside the checkpoint, the hub cache.

The original's checkpoints name a tower (`mm_vision_tower`) and do not hold it. Nothing is fetched from here.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from llava_engine.checkpoints.layouts.hf.config import section, vision_config
from llava_engine.checkpoints.picture_files import PictureFile, find_picture_file
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import StoredTensor, TensorFiles, TensorSource
from llava_engine.hub.cache import find_in_cache, snapshot_or_folder
from llava_engine.model.config import VisionConfig

_KINDS = ("clip_vision_model", "clip")
# Tensors of a whole CLIP that are not its vision tower.
_NOT_VISION = ("text_model.", "text_projection.", "visual_projection.", "logit_scale")


@dataclass(frozen=True)
class Tower:
    """A vision tower.

    Attributes:
        config: its shape.
        tensors: its weights by canonical names ("vision_tower.vision_model.…").
        pictures: what its folder says of how pictures are made ready; None when nothing.
        where: where it was found, for a person.
    """

    config: VisionConfig
    tensors: TensorSource
    pictures: PictureFile | None
    where: str


def find_tower(named: str, checkpoint: Path, towers: Mapping[str, Path]) -> Path | None:
    """The folder of the tower that a config names, or None.

    Args:
        named: `mm_vision_tower`: a hub id or a path, absolute or relative to who knows where.
        checkpoint: the checkpoint's folder; its neighbours and its parent's are looked at.
        towers: folders that the user gave, by the name that they stand for; "" stands for any.
    """
    for given in (towers.get(named), towers.get("")):
        if given is not None:
            return snapshot_or_folder(given)
    for folder in _places(named, checkpoint) if named else ():
        if (folder / "config.json").is_file():
            return folder
    return find_in_cache(named) if named else None


def open_tower(folder: Path) -> Tower:
    """Open a folder that holds a CLIP or only its vision part.

    Raises:
        ModelError: it does not hold a CLIP vision tower.
    """
    config, pictures = settings(folder)
    files = TensorFiles(folder)
    vision = {name for name in files.tensors if not name.startswith(_NOT_VISION)}
    chosen = canonical_names(View(folder, {name: (files, name) for name in vision}), prefix="vision_tower.")
    return Tower(config, View(folder, chosen), pictures, str(folder))


def settings(folder: Path) -> tuple[VisionConfig, PictureFile | None]:
    """The shape of a tower, and its picture settings if it has any; its weights may be elsewhere.

    Raises:
        ModelError: it is no CLIP.
    """
    raw = read_json(folder / "config.json")
    if raw.get("model_type", _KINDS[0]) not in _KINDS:
        raise ModelError(
            f"{folder} is no CLIP vision tower: its config.json says {raw['model_type']!r}.",
            "Give the folder of the right one: --tower FOLDER.",
        )
    try:
        config = vision_config(section(raw, "vision_config") if raw.get("model_type") == "clip" else raw)
    except ModelError as error:
        raise ModelError(f"The vision tower {folder}: {error.cause}", error.remedy) from None
    return config, find_picture_file(folder)


def inner_tower(tensors: Mapping[str, StoredTensor]) -> VisionConfig | None:
    """The shape of a tower that is inside the checkpoint, from its tensors alone; None when there is none.

    What shapes do not tell is as in every CLIP that LLaVA was trained with: heads of 64 (smaller towers: of 16),
    quick GELU.
    """
    prefix = "vision_tower.vision_model."
    patch = tensors.get(f"{prefix}embeddings.patch_embedding.weight")
    positions = tensors.get(f"{prefix}embeddings.position_embedding.weight")
    fc1 = tensors.get(f"{prefix}encoder.layers.0.mlp.fc1.weight")
    if patch is None or positions is None or fc1 is None or len(patch.shape) != 4 or len(positions.shape) != 2:
        return None
    width, side = patch.shape[0], patch.shape[-1]
    layers = {name.split(".")[4] for name in tensors if name.startswith(f"{prefix}encoder.layers.")}
    return VisionConfig(
        image_size=math.isqrt(max(positions.shape[0] - 1, 0)) * side,
        patch_size=side,
        hidden_size=width,
        intermediate_size=fc1.shape[0],
        num_hidden_layers=len(layers),
        num_attention_heads=max(width // (64 if width % 64 == 0 and width > 64 else 16), 1),
    )


def missing_tower(named: str) -> ModelError:
    """The error for a tower that is nowhere on this machine."""
    if not named:
        return ModelError("Nothing says which vision tower the projector was trained with.", "Give it: --tower FOLDER")
    fetch = f", or fetch it: llava models get {named}" if named.count("/") == 1 and not named.startswith("/") else ""
    return ModelError(f"The model's vision tower {named} is not on this machine.", f"Give it: --tower FOLDER{fetch}")


def _places(named: str, checkpoint: Path) -> Iterator[Path]:
    path = Path(named)
    if path.is_absolute():
        yield path
        return
    for place in (checkpoint, checkpoint.parent, checkpoint.parent.parent, Path.cwd()):
        yield place / path
        yield place / path.name
