"""Folders that hold a model in a form that we do not read, named for what they are, with what to take in its place.

Told by config keys, tensor names and the names of files that other programs give to their own forms. Without this they
would seem to be damaged copies.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles, TensorSource

_HUGGING_FACE = "Convert it to Hugging Face's layout first (transformers has a script), or take it from the hub so."
_FILES = {
    "consolidated*.pth": ("Meta's own layout", _HUGGING_FACE),
    "consolidated*.safetensors": ("Mistral's own layout", _HUGGING_FACE),
    "*.gguf": ("GGUF, which is not read", "Take the model's safetensors; --quantize int8 or int4 makes it small."),
}
# How the names of tensors end that stand for a quantized weight, and who writes them so.
_QUANTIZED = {
    ".qweight": "GPTQ or AWQ",
    ".absmax": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".weight_packed": "compressed-tensors",
    ".weight_scale": "compressed-tensors or fp8",
    ".weight_scale_inv": "fp8",
}


def refuse_foreign_folder(folder: Path) -> None:
    """Refuse a folder without a config.json that other programs' weights are in. Raises `ModelError`."""
    if not folder.is_dir() or (folder / "config.json").exists():
        return
    for pattern, (what, remedy) in _FILES.items():
        if found := sorted(folder.glob(pattern)):
            raise ModelError(f"{folder} holds {what} ({found[0].name}).", remedy)


def refuse_foreign_config(folder: Path, raw: Mapping[str, Any]) -> None:
    """Refuse a LLaVA that looks at pictures in a way that we do not compute. Raises `ModelError`."""
    if raw.get("s2", raw.get("s2_scales")):
        raise ModelError(
            f"{folder}: S2 (s2_scales) is not supported: it sees a picture in several scales side by side.",
            "Take a LLaVA without S2: llava models list.",
        )


def plain_tensors(folder: Path, raw: Mapping[str, Any]) -> tuple[TensorFiles, tuple[str, ...]]:
    """The tensors in a folder's weight files, and notes.

    Args:
        folder: a whole model's.
        raw: its config.json.

    Raises:
        ModelError: they are quantized, a LoRA is among them, or they can not be read.
    """
    stated = next(_stated_methods(raw), None)
    try:
        files = TensorFiles(folder)
    except ModelError:
        if stated is None:
            raise
        raise _quantized(folder, f"config.json says {stated}") from None  # in a type of numbers that has no name here
    notes = refuse_quantized(folder, raw, files)
    unmerged = next((name for name in files.tensors if ".lora_A." in name or ".lora_embedding_A" in name), None)
    if unmerged is not None:
        raise ModelError(
            f"{folder} holds a model and a LoRA beside it that is not folded in ({unmerged}).",
            "Fold it in with the library that trained it (PEFT: merge_and_unload) and save it again.",
        )
    return files, notes


def refuse_quantized(folder: Path, raw: Mapping[str, Any], files: TensorSource) -> tuple[str, ...]:
    """Refuse weights that are quantized; a note where only the config says so. Raises `ModelError`."""
    stated = next(_stated_methods(raw), None)
    for name, tensor in files.tensors.items():
        method = next((method for end, method in _QUANTIZED.items() if name.endswith(end)), None)
        if method is None and stated is not None and name.endswith(".weight") and not tensor.dtype.is_floating_point:
            method = stated
        if method is not None:
            says = f"config.json says {stated}" if stated else f"{name} is how {method} stores a weight"
            raise _quantized(folder, says)
    return (f"config.json says that it is quantized ({stated}); its weights are not.",) if stated else ()


def _stated_methods(raw: Mapping[str, Any]) -> Iterator[str]:
    """Who quantized it, as a config says for the whole model or for its language model."""
    for config in (raw, raw.get("text_config")):
        settings = config.get("quantization_config") if isinstance(config, Mapping) else None
        if isinstance(settings, Mapping) and settings:
            method = settings.get("quant_method")
            yield method if isinstance(method, str) and method else "bitsandbytes"  # older ones state only their bits


def _quantized(folder: Path, says: str) -> ModelError:
    return ModelError(
        f"{folder} is already quantized ({says}), which is not read.",
        "Take the unquantized weights, and --quantize int8, int4 or nf4.",
    )
