"""Sharded safetensors written as they come: the public library reads them back, whole files survive, no half ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor

from llava_engine.errors import ModelError
from llava_engine.files.shards import PlannedTensor, ShardWriter, divide

DTYPES = [torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.uint8, torch.bool]


def plan_of(tensors: dict[str, Tensor]) -> list[PlannedTensor]:
    return [PlannedTensor(name, tuple(tensor.shape), tensor.dtype) for name, tensor in tensors.items()]


def write(folder: Path, tensors: dict[str, Tensor], shard_bytes: int = 10**9) -> None:
    folder.mkdir(parents=True)
    with ShardWriter(folder, divide(plan_of(tensors), shard_bytes)) as writer:
        for name, tensor in tensors.items():
            writer.write(name, tensor)
        writer.finish()


def some_tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shapes = {"a": (3, 5), "b": (7,), "c": (2, 3, 4), "scalar": (), "empty": (0, 4)}
    return {name: torch.randn(shape, generator=generator).half() for name, shape in shapes.items()}


def equal(read: dict[str, Tensor], written: dict[str, Tensor]) -> bool:
    return read.keys() == written.keys() and all(
        read[name].dtype == tensor.dtype and torch.equal(read[name], tensor) for name, tensor in written.items()
    )


def test_the_public_library_reads_what_was_written(tmp_path: Path) -> None:
    tensors = some_tensors()
    write(tmp_path / "one", tensors)
    assert [file.name for file in (tmp_path / "one").iterdir()] == ["model.safetensors"]
    assert equal(load_file(tmp_path / "one" / "model.safetensors"), tensors)
    with safe_open(tmp_path / "one" / "model.safetensors", framework="pt") as opened:
        assert opened.metadata() == {"format": "pt"}


def test_shards_and_their_index_hold_everything_once(tmp_path: Path) -> None:
    tensors = some_tensors()
    write(tmp_path / "many", tensors, shard_bytes=40)
    index = json.loads((tmp_path / "many" / "model.safetensors.index.json").read_text("utf-8"))
    files = sorted(set(index["weight_map"].values()))
    assert len(files) > 1
    assert files == [f"model-{n:05}-of-{len(files):05}.safetensors" for n in range(1, len(files) + 1)]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    together: dict[str, Tensor] = {}
    for file in files:
        part = load_file(tmp_path / "many" / file)
        assert all(index["weight_map"][name] == file for name in part)
        together |= part
    assert equal(together, tensors)
    for file in files:
        assert (tmp_path / "many" / file).stat().st_mode & 0o777 == 0o644


@given(st.lists(st.tuples(st.sampled_from(DTYPES), st.lists(st.integers(0, 5), max_size=3)), min_size=1, max_size=8))
def test_any_mixture_of_dtypes_is_read_back_and_aligned(
    tmp_path_factory: pytest.TempPathFactory, kinds: list[tuple[torch.dtype, list[int]]]
) -> None:
    generator = torch.Generator().manual_seed(len(kinds))
    tensors = {
        f"tensor {number} é": torch.randint(0, 2, tuple(shape), generator=generator).to(dtype)
        for number, (dtype, shape) in enumerate(kinds)
    }
    folder = tmp_path_factory.mktemp("mixture") / "model"
    write(folder, tensors)
    file = folder / "model.safetensors"
    assert equal(load_file(file), tensors)
    header = file.read_bytes()
    length = int.from_bytes(header[:8], "little")
    table = json.loads(header[8 : 8 + length])
    for name, tensor in tensors.items():
        assert (8 + length + table[name]["data_offsets"][0]) % tensor.dtype.itemsize == 0


def test_the_same_plan_gives_the_same_bytes_in_any_order_of_writing(tmp_path: Path) -> None:
    tensors = some_tensors()
    write(tmp_path / "first", tensors, 40)
    (tmp_path / "second").mkdir()
    with ShardWriter(tmp_path / "second", divide(plan_of(tensors), 40)) as writer:
        for name in reversed(tensors):
            writer.write(name, tensors[name])
        writer.finish()
    first = {file.name: file.read_bytes() for file in (tmp_path / "first").iterdir()}
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "second").iterdir()}


def test_a_tensor_may_come_in_pieces_and_in_strides(tmp_path: Path) -> None:
    tensor = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    with ShardWriter(tmp_path, divide(plan_of({"rows": tensor, "turned": tensor.T}))) as writer:
        writer.write_pieces("rows", (tensor[row : row + 1] for row in range(4)))
        writer.write("turned", tensor.T)
        writer.finish()
    read = load_file(tmp_path / "model.safetensors")
    assert torch.equal(read["rows"], tensor)
    assert torch.equal(read["turned"], tensor.T)


def test_whole_files_are_kept_and_half_ones_begun_again(tmp_path: Path) -> None:
    tensors = some_tensors()
    shards = divide(plan_of(tensors), 40)
    with ShardWriter(tmp_path, shards) as writer:
        writer.write("a", tensors["a"])
        writer.write_pieces("b", [tensors["b"]])
    with ShardWriter(tmp_path, shards) as writer:
        done = [tensor.name for shard in shards for tensor in shard.tensors if (tmp_path / shard.file).exists()]
        assert "a" in done
        assert set(writer.missing) == set(tensors) - set(done)
        for name in writer.missing:
            writer.write(name, tensors[name])
        writer.finish()
    together: dict[str, Tensor] = {}
    for shard in shards:
        together |= load_file(tmp_path / shard.file)
    assert equal(together, tensors)


def test_a_file_of_another_plan_is_not_taken_for_ours(tmp_path: Path) -> None:
    tensors = some_tensors()
    write(tmp_path / "model", tensors)
    others = plan_of({**tensors, "a": torch.zeros(5, 3, dtype=torch.float16)})
    with ShardWriter(tmp_path / "model", divide(others)) as writer:
        assert set(writer.missing) == set(tensors)


def test_nothing_has_a_final_name_before_it_is_whole(tmp_path: Path) -> None:
    tensors = some_tensors()
    with ShardWriter(tmp_path, divide(plan_of(tensors))) as writer:
        writer.write("a", tensors["a"])
        assert not (tmp_path / "model.safetensors").exists()
        with pytest.raises(ValueError, match="not written"):
            writer.finish()


@pytest.mark.parametrize(
    ("name", "piece"),
    [
        ("unplanned", torch.zeros(4)),
        ("planned", torch.zeros(4, dtype=torch.float16)),
        ("planned", torch.zeros(5)),
        ("planned", torch.zeros(3)),
    ],
    ids=["name", "dtype", "more", "less"],
)
def test_what_was_not_planned_is_refused(tmp_path: Path, name: str, piece: Tensor) -> None:
    with (
        ShardWriter(tmp_path, divide([PlannedTensor("planned", (4,), torch.float32)])) as writer,
        pytest.raises(ValueError, match=name),
    ):
        writer.write_pieces(name, [piece])


def test_a_plan_with_a_name_twice_or_a_strange_dtype_is_refused() -> None:
    with pytest.raises(ModelError, match="called a"):
        divide([PlannedTensor("a", (1,), torch.float32)] * 2)
    with pytest.raises(ModelError, match="complex"):
        divide([PlannedTensor("a", (1,), torch.complex128)])
    with pytest.raises(ModelError, match="no tensors"):
        divide([])
