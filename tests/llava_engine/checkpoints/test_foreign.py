"""Models in forms that we do not read are named for what they are; those that only look so are read."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from llava_engine.checkpoints import catalog
from llava_engine.checkpoints.delta import delta
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from tests.llava_engine.originals import LLAMA, NEWEST, ROWS, language, projector, write
from tests.llava_engine.tiny import TINY, complete

COMMITS = ("a" * 40, "b" * 40, "c" * 40)
DAMAGED = ("not whole", "no weights", "copy it again", "unknown tensor", "do not belong")


def refused(folder: Path, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as told:
        open_checkpoint(folder, **more)
    assert not any(words in str(told.value) for words in DAMAGED), told.value
    return told.value


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    return complete(TINY, tmp_path / "x")


def state(folder: Path, **more: Any) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **more}))


def gptq(name: str, weight: Tensor) -> dict[str, Tensor]:
    packed = torch.zeros(weight.shape[1] // 8, weight.shape[0], dtype=torch.int32)
    return {name.replace(".weight", ".qweight"): packed, name.replace(".weight", ".scales"): torch.ones(1).half()}


def int8(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.to(torch.int8), name.replace(".weight", ".SCB"): torch.ones(len(weight))}


def nf4(name: str, weight: Tensor) -> dict[str, Tensor]:
    packed = torch.zeros(weight.numel() // 2, 1, dtype=torch.uint8)
    return {name: packed, f"{name}.absmax": torch.ones(4), f"{name}.quant_state.bitsandbytes__nf4": torch.ones(4)}


def eight_bits(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.to(torch.float8_e4m3fn)}


def integers(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name: weight.to(torch.int8)}


def codes(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name.replace(".weight", ".codes"): torch.zeros(4, 4, dtype=torch.int16)}


def hqq(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {
        name.replace(".weight", ".W_q"): torch.zeros(8, dtype=torch.uint8),
        name.replace(".weight", ".zero"): weight,
    }


def quanto(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {f"{name}._data": weight.to(torch.int8), f"{name}._scale": torch.ones(len(weight), 1)}


def nameless(name: str, weight: Tensor) -> dict[str, Tensor]:
    return {name.replace(".weight", "._weight_qdata"): weight.to(torch.int8)}


def quantize(folder: Path, pack: Callable[[str, Tensor], dict[str, Tensor]]) -> None:
    packed: dict[str, Tensor] = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        packed |= pack(name, tensor) if "language_model" in name and "_proj.weight" in name else {name: tensor}
    save_file(packed, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("pack", "settings", "words"),
    [
        (gptq, {"quant_method": "gptq", "bits": 4}, "config.json says gptq"),
        (gptq, {"quant_method": "awq", "bits": 4}, "config.json says awq"),
        (gptq, None, "GPTQ or AWQ"),  # older ones state it in a file of their own
        (int8, {"load_in_8bit": True}, "config.json says bitsandbytes"),
        (int8, None, "bitsandbytes"),
        (nf4, {"quant_method": "bitsandbytes", "load_in_4bit": True}, "config.json says bitsandbytes"),
        (nf4, None, "bitsandbytes"),
        (eight_bits, {"quant_method": "fp8"}, "config.json says fp8"),
        (codes, {"quant_method": "aqlm"}, "config.json says aqlm"),
        (hqq, None, "how HQQ stores a weight"),
        (quanto, None, "how Quanto stores a weight"),
        (nameless, None, "holds whole numbers, and no weight stands beside it"),
        (codes, None, "holds whole numbers, and no weight stands beside it"),
        (integers, {"quant_method": "somebody's own"}, "config.json says somebody's own"),
    ],
)
@pytest.mark.parametrize("place", ["top", "text_config"])
def test_quantized_weights(
    hf: Path, pack: Callable[[str, Tensor], dict[str, Tensor]], settings: dict[str, Any] | None, words: str, place: str
) -> None:
    quantize(hf, pack)
    if settings and place == "top":
        state(hf, quantization_config=settings)
    elif settings:
        text = json.loads((hf / "config.json").read_text())["text_config"]
        state(hf, text_config={**text, "quantization_config": settings})
    error = refused(hf)
    assert "already quantized" in error.cause and words in error.cause and "--quantize" in error.remedy


def test_a_config_that_was_quantized_over_plain_weights_is_a_note(hf: Path) -> None:
    state(hf, quantization_config={"quant_method": "gptq"})
    assert any("gptq" in note for note in open_checkpoint(hf).found.notes)


def test_an_adapter_that_was_trained_over_a_quantized_base_goes_onto_the_plain_one(room: Path) -> None:
    (room / "adapter" / "config.json").unlink()
    config = {**NEWEST, "vocab_size": ROWS, "quantization_config": {"load_in_4bit": True}}
    (room / "adapter" / "config.json").write_text(json.dumps(config))
    assert open_checkpoint(room / "adapter").found.form == "adapter"
    tensors = language(ROWS)
    tensors["model.layers.0.mlp.up_proj.qweight"] = torch.zeros(2, 2, dtype=torch.int32)
    base = write(room / "packed", {"model_type": "llama", **LLAMA}, tensors)
    assert "already quantized" in refused(room / "adapter", base=base).cause
    with pytest.raises(ModelError, match="already quantized"):
        delta.apply(base, room / "newest", room / "sum")


@pytest.mark.parametrize("keys", [{"s2": True}, {"s2_scales": "28,56"}, {"s2": True, "s2_scales": [28, 56, 84]}])
def test_several_scales_side_by_side(room: Path, keys: dict[str, Any]) -> None:
    config = {**NEWEST, "vocab_size": ROWS, "mm_hidden_size": 48, **keys}
    error = refused(write(room / "x", config, {**language(ROWS), **projector(2)}))
    assert "S2" in error.cause and "--tower" not in error.remedy
    off = {**NEWEST, "vocab_size": ROWS, **keys, "s2": False}
    open_checkpoint(write(room / "off", off, {**language(ROWS), **projector(2)}))


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("consolidated.00.pth", "Meta's own layout"),
        ("consolidated.safetensors", "Mistral's own layout"),
        ("model-q4_k.gguf", "GGUF"),
    ],
)
def test_other_programs_own_folders(room: Path, file: str, words: str) -> None:
    folder = room / "theirs"
    folder.mkdir()
    (folder / file).write_bytes(b"GGUF" + bytes(60))
    (folder / "params.json").write_text("{}")
    with pytest.raises(ModelError) as applied:
        delta.apply(folder, room / "newest", room / "sum")
    for error in (refused(folder), refused(room / "adapter", base=folder), applied.value):
        assert words in error.cause and file in error.cause


def test_a_file_of_another_program_by_itself(tmp_path: Path) -> None:
    file = tmp_path / "some-model"  # told by its bytes
    file.write_bytes(b"GGUF\3\0\0\0" + bytes(64))
    with pytest.raises(ModelError, match="GGUF"):
        catalog.find(file)
    file.write_bytes(b"words")
    with pytest.raises(ModelError, match="is a file"):
        catalog.find(file)


def test_a_lora_that_lies_beside_the_weights_is_not_passed_over(hf: Path) -> None:
    tensors = load_file(hf / "model.safetensors")
    name = next(name for name in tensors if name.endswith("q_proj.weight")).removesuffix(".weight")
    save_file({**tensors, f"{name}.lora_A.weight": torch.ones(2, 8)}, hf / "model.safetensors")
    assert "not folded in" in refused(hf).cause


# A repository's folder of a cache


def cached(hf: Path, *commits: str) -> Path:
    repository = hf.parent / "elsewhere" / "models--acme--tiny"
    for age, commit in enumerate(commits):
        shutil.copytree(hf, repository / "snapshots" / commit)
        os.utime(repository / "snapshots" / commit, (1000 - age, 1000 - age))
    return repository


def test_mains_snapshot_or_else_the_newest_whole_one(hf: Path) -> None:
    repository = cached(hf, *COMMITS)
    (repository / "snapshots" / COMMITS[0] / "model.safetensors").unlink()
    assert open_checkpoint(repository).folder.name == COMMITS[1]
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMITS[2])
    assert open_checkpoint(repository).folder.name == COMMITS[2]
    found = catalog.find(repository)
    assert found.name == COMMITS[2] and catalog.name_of(found) == "acme/tiny"


def test_as_base_tower_and_for_deltas(room: Path) -> None:
    for name in ("base", "eyes"):
        shutil.copytree(room / name, room / f"models--acme--{name}" / "snapshots" / COMMITS[0])
    base, eyes = room / "models--acme--base", room / "models--acme--eyes"
    before = open_checkpoint(room / "adapter")
    after = open_checkpoint(room / "adapter", base=base, towers={"": eyes})
    assert after.found.base == base / "snapshots" / COMMITS[0] and after.config == before.config
    delta.make(base, room / "newest", room / "delta")
    delta.apply(base, room / "delta", room / "sum")
    assert (room / "sum" / "config.json").is_file()


def test_a_repositorys_folder_without_a_snapshot_is_no_model(tmp_path: Path) -> None:
    (tmp_path / "models--acme--tiny" / "snapshots").mkdir(parents=True)
    with pytest.raises(ModelError, match=r"no config\.json"):
        open_checkpoint(tmp_path / "models--acme--tiny")
