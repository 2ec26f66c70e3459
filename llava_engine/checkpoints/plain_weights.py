"""The tensors of a whole model, if its weights are plain: neither quantized nor with a LoRA lying beside them.

Told by config keys and tensor names, so that what another program packed does not seem to be a damaged copy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles, TensorSource

# How the names of tensors end that stand for a quantized weight, and who writes them so.
_QUANTIZED = {
    ".qweight": "GPTQ or AWQ",
    ".absmax": "bitsandbytes",
    ".SCB": "bitsandbytes",
    ".weight_packed": "compressed-tensors",
    ".weight_scale": "compressed-tensors or fp8",
    ".weight_scale_inv": "fp8",
    ".W_q": "HQQ",
    ".codebooks": "AQLM",
    ".weight._data": "Quanto",
}


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
        if method is None and not tensor.dtype.is_floating_point and not name.endswith(".position_ids"):
            method = stated  # every packed form holds whole numbers under some name
        if method is not None:
            says = f"config.json says {stated}" if stated else f"{name} is how {method} stores a weight"
            raise _quantized(folder, says)
        if _is_packed(name, files):
            raise _quantized(folder, f"{name} holds whole numbers, and no weight stands beside it")
    return (f"config.json says that it is quantized ({stated}); its weights are not.",) if stated else ()


def _is_packed(name: str, files: TensorSource) -> bool:
    """Whether a tensor holds a weight in a form that has no name here: whole numbers in the weight's place."""
    dtype, beside = files.tensors[name].dtype, f"{name.rpartition('.')[0]}.weight"
    whole = not (dtype.is_floating_point or dtype.is_complex or str(dtype) == "torch.bool")  # a mask is no weight
    return whole and name != beside and beside not in files.tensors and not name.endswith(".position_ids")


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
