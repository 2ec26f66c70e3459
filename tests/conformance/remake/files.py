"""Weights and JSON in and out, in every file format that the original's checkpoints have.

Reads with torch and safetensors directly. Writes tensors in another order than they came, JSON with its keys in another
order. Knows no names of tensors.
"""

from __future__ import annotations

import hashlib
import json
import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

Tensors = dict[str, Tensor]
_WEIGHTS = ("pytorch_model*.bin", "model*.safetensors")


def read_weights(folder: Path) -> Tensors:
    """All tensors of a model's folder."""
    found: Tensors = {}
    for pattern in _WEIGHTS:
        for file in sorted(folder.glob(pattern)):
            found |= read_tensors(file)
    return found


def read_tensors(file: Path) -> Tensors:
    """All tensors of one file."""
    if file.suffix == ".safetensors":
        return load_file(file)
    loaded: Tensors = torch.load(file, weights_only=True, map_location="cpu")
    return loaded


def write_weights(folder: Path, tensors: Mapping[str, Tensor], form: str, seed: int) -> None:
    """As a model's: `form` is "bin" or "safetensors", with "*3" behind it for three shards and an index."""
    kind, _, count = form.partition("*")
    stem, suffix = {"bin": ("pytorch_model", ".bin"), "safetensors": ("model", ".safetensors")}[kind]
    names = sorted(tensors)
    random.Random(seed).shuffle(names)
    if not count:
        write_tensors(folder / (stem + suffix), {name: tensors[name] for name in names})
        return
    shards = int(count)
    files = [f"{stem}-{shard + 1:05d}-of-{shards:05d}{suffix}" for shard in range(shards)]
    of = {name: files[place * shards // len(names)] for place, name in enumerate(names)}
    for file in files:
        write_tensors(folder / file, {name: tensors[name] for name in names if of[name] == file})
    size = sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
    write_json(folder / f"{stem}{suffix}.index.json", {"weight_map": of, "metadata": {"total_size": size}})


def write_tensors(file: Path, tensors: Mapping[str, Tensor]) -> None:
    """One file, by its suffix."""
    whole = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix == ".safetensors":
        save_file(whole, file, metadata={"format": "pt"})
    else:
        torch.save(whole, file)


def read_json(file: Path) -> Any:
    """A JSON file's content."""
    return json.loads(file.read_text("utf-8"))


def write_json(file: Path, content: Any) -> None:
    """The keys at the top in another order."""
    if isinstance(content, dict):
        content = dict(sorted(content.items(), key=lambda item: hashlib.sha256(item[0].encode()).digest()))
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(content, ensure_ascii=False, indent=1), "utf-8")


def write_manifest(folder: Path) -> None:
    """Size and SHA-256 of every file, as the first set has it."""
    entries = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            content = file.read_bytes()
            path = file.relative_to(folder).as_posix()
            entries.append({"path": path, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()})
    write_json(folder / "manifest.json", entries)
