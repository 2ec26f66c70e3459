"""Whether a folder is a vision-language model that is not ours, told by its small files: no transformers, no torch.

What ours opens stays ours. Anything else that says that it sees pictures may be one of transformers' families; whether
transformers has a class for it, only transformers knows (loading.py asks).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.checkpoints.layouts.hf.config import OTHER_MODEL, from_hf
from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import check_own_file
from llava_engine.files.weight_files import weight_files

OURS = ("llava", "llava_next")
# Where families of transformers keep what they see with.
_SEES = ("vision_config", "vit_config", "vq_config", "vision_tower_config", "image_token_id", "image_token_index")


@dataclass(frozen=True)
class ForeignFolder:
    """A folder of another family.

    Attributes:
        folder: where it is.
        kind: its `model_type`.
        architecture: the class that its config.json names; "" where it names none.
        has_code: it brings Python of its own, which is never run.
        quantized: the method by which its weights are quantized already; "" for none.
        context: how many tokens it can hold, where its config.json says it.
    """

    folder: Path
    kind: str
    architecture: str
    has_code: bool
    quantized: str
    context: int | None


def foreign_folder(folder: Path) -> ForeignFolder | None:
    """What a folder is, where it is a vision-language model of another family.

    None for what is ours to open or to refuse: every LLaVA that we run, adapters, bare towers and language models,
    broken configs.
    """
    if not (folder / "config.json").is_file():
        return None
    try:
        raw = read_json(folder / "config.json")
    except ModelError:
        return None
    if is_original(raw) or not isinstance(raw.get("model_type"), str) or not any(key in raw for key in _SEES):
        return None
    if "projection_dim" in raw:  # a CLIP, whole: text and pictures, but nothing that speaks
        return None
    if raw["model_type"] in OURS and not _is_another_llava(raw):
        return None
    return _described(folder, raw)


def as_foreign(folder: Path) -> ForeignFolder:
    """A folder that is to be opened by transformers, whatever ours makes of it. Raises `ModelError`."""
    if not folder.is_dir():
        raise ModelError(f"{folder} is no folder.", "--backend transformers takes whole models only.")
    return _described(folder, read_json(folder / "config.json"))


def check_files(found: ForeignFolder) -> list[Path]:
    """Its weight files, all safetensors, after every file of the folder was seen to be its own.

    Raises:
        ModelError: a link leads out of it, weights are missing, or are in a form that can hold code.
    """
    try:
        files = sorted(file for file in found.folder.iterdir() if not file.is_dir())
    except OSError as error:
        raise ModelError(f"{found.folder} can not be read: {error.strerror}.", "Check its permissions.") from None
    for file in files:
        check_own_file(found.folder, file)
    weights = weight_files(found.folder)
    pickled = [file.name for file in weights if file.suffix != ".safetensors"]
    if pickled:
        raise ModelError(
            f"{found.folder} has its weights in {pickled[0]}, a pickle, which can run code when transformers reads it.",
            "Take the model in safetensors, or save it so where you trust it: model.save_pretrained(FOLDER).",
        )
    return weights


def _described(folder: Path, raw: Mapping[str, Any]) -> ForeignFolder:
    named, text = raw.get("architectures"), raw.get("text_config")
    longest = (text if isinstance(text, Mapping) else raw).get("max_position_embeddings")
    quantized = raw.get("quantization_config")
    return ForeignFolder(
        folder,
        str(raw.get("model_type") or "no type"),
        str(named[0]) if isinstance(named, list) and named else "",
        isinstance(raw.get("auto_map"), Mapping),
        str(quantized.get("quant_method") or "some method") if isinstance(quantized, Mapping) else "",
        longest if type(longest) is int and longest > 0 else None,
    )


def _is_another_llava(raw: Mapping[str, Any]) -> bool:
    """Whether a config of one of our own types asks for something that ours does not compute, as another tower."""
    try:
        from_hf(raw)
    except ModelError as error:
        return error.remedy == OTHER_MODEL
    return False
