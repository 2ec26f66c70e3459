"""Runs of numbers read in place are those that torch and safetensors read, whatever the file looks like."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.flat import FlatReader
from llava_engine.files.tensor_files import TensorFiles


def tensors() -> dict[str, Tensor]:
    whole = torch.arange(60, dtype=torch.float32).reshape(6, 10)
    return {
        "plain": whole,
        "a part of the same memory": whole[2:4],
        "turned": torch.arange(12, dtype=torch.float16).reshape(3, 4).T,
        "narrow": torch.arange(7, dtype=torch.int8),
        "one": torch.tensor(3.5, dtype=torch.float64),
        "none": torch.empty(0, 3),
        "bfloat16": torch.randn(5, generator=torch.Generator().manual_seed(1)).bfloat16(),
    }


@pytest.fixture(params=["bin", "old bin", "repacked bin", "safetensors"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == "safetensors":
        save_file(
            {name: tensor.clone().contiguous() for name, tensor in tensors().items()}, tmp_path / "model.safetensors"
        )
    else:
        zipped = request.param != "old bin"
        torch.save(tensors(), tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    if request.param == "repacked bin":
        with zipfile.ZipFile(tmp_path / "pytorch_model.bin") as archive:
            entries = {entry.filename: archive.read(entry) for entry in archive.infolist()}
        with zipfile.ZipFile(tmp_path / "pytorch_model.bin", "w", zipfile.ZIP_STORED) as archive:
            for name in sorted(entries, reverse=True):  # another order, other gaps
                archive.writestr(name, entries[name])
    return tmp_path


def test_any_run_of_any_tensor(folder: Path) -> None:
    reader = FlatReader(TensorFiles(folder))
    for name, tensor in tensors().items():
        flat = tensor.reshape(-1)
        for start, stop in ((0, len(flat)), (len(flat) // 2, len(flat)), (0, 0)):
            run = reader.read(name, start, stop)
            assert run.dtype == tensor.dtype
            assert torch.equal(run, flat[start:stop]), name
    reader.close()


def test_memory_lasts_as_long_as_was_asked_for(tmp_path: Path) -> None:
    numbers = torch.arange(1000, dtype=torch.float32)
    save_file({"x": numbers}, tmp_path / "model.safetensors")
    reader = FlatReader(TensorFiles(tmp_path), lasting=3)
    runs: list[Tensor] = []
    for start in range(0, 1000, 10):
        runs = [*runs[-2:], reader.read("x", start, start + 10)]
        assert torch.equal(torch.cat(runs), numbers[max(start - 20, 0) : start + 10])
    reader.close()


def test_a_run_may_be_changed_and_the_file_is_not(tmp_path: Path) -> None:
    torch.save({"x": torch.ones(4)}, tmp_path / "pytorch_model.bin")
    before = (tmp_path / "pytorch_model.bin").read_bytes()
    reader = FlatReader(TensorFiles(tmp_path))
    reader.read("x", 0, 4).zero_()
    assert torch.equal(reader.read("x", 0, 4), torch.ones(4))
    reader.close()
    assert (tmp_path / "pytorch_model.bin").read_bytes() == before


@pytest.mark.parametrize("way", ["replaced", "rewritten"])
def test_a_file_that_is_another_one_by_now_is_not_read_at_the_old_places(tmp_path: Path, way: str) -> None:
    save_file({"x": torch.ones(100), "y": torch.zeros(100)}, tmp_path / "model.safetensors")
    files = TensorFiles(tmp_path)
    save_file({"longer name": torch.ones(100), "y": torch.zeros(100)}, tmp_path / "other")
    if way == "replaced":
        (tmp_path / "other").replace(tmp_path / "model.safetensors")
    else:
        (tmp_path / "model.safetensors").write_bytes((tmp_path / "other").read_bytes())
    reader = FlatReader(files)
    with pytest.raises(ModelError, match="has changed"):
        reader.read("x", 0, 100)
    reader.close()


def test_a_file_that_shrank_is_an_error_of_ours(tmp_path: Path) -> None:
    save_file({"x": torch.ones(100)}, tmp_path / "model.safetensors")
    reader = FlatReader(TensorFiles(tmp_path))
    reader.read("x", 0, 1)
    with (tmp_path / "model.safetensors").open("rb+") as file:
        file.truncate(200)
    with pytest.raises(ModelError, match="too early"):
        reader.read("x", 0, 100)
    reader.close()
