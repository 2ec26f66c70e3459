"""Which kinds of checkpoints a set has, told by what they are made of."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.conformance.remake.files import read_json


def goldens(first: Path) -> list[dict[str, Any]]:
    """Every forward golden."""
    return [read_json(path) for path in sorted((first / "goldens").glob("forward_*.json"))]


def kind_of(first: Path, golden: Mapping[str, Any]) -> str:
    """Which of the plan's kinds a forward golden's checkpoint is, by what it is made of."""
    folder = first / golden["checkpoint"]
    config = read_json(folder / "config.json")
    is_adapter = (folder / "adapter_config.json").exists()
    if "mm_projector_type" in config:
        if is_adapter:
            return "lora"
        if golden["base"]:
            return "projector"
        return "1.6" if config["image_aspect_ratio"] == "anyres" else "1.5"
    if is_adapter:
        return "june-lora"
    if "d_model" in config:
        return "mpt"
    if not config["mm_use_im_start_end"]:
        return "sqa"
    return "v0" if "[PAD]" in read_json(folder / "added_tokens.json") else "v1"
