"""safetensors: what is read is what the library wrote, and a header that lies or is too large costs nothing."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles

DTYPES = [
    torch.float64,
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.int64,
    torch.int32,
    torch.uint8,
    torch.bool,
]


def write(file: Path, header: Any, numbers: bytes = b"", length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    file.write_bytes((len(text) if length is None else length).to_bytes(8, "little") + text + numbers)
    return file


def entry(start: int, stop: int, shape: Any, dtype: str = "F32") -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": [start, stop]}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    shapes=st.dictionaries(
        st.text(max_size=9).filter(lambda name: name != "__metadata__"),
        st.tuples(st.lists(st.integers(0, 4), max_size=4), st.sampled_from(DTYPES)),
        max_size=5,
    ),
    metadata=st.none() | st.dictionaries(st.text(max_size=5), st.text(max_size=300), min_size=1),
)
def test_every_tensor_is_what_was_written(
    tmp_path: Path, shapes: dict[str, tuple[list[int], torch.dtype]], metadata: dict[str, str] | None
) -> None:
    generator = torch.Generator().manual_seed(len(shapes))
    content = {
        name: torch.randint(0, 2, shape, generator=generator).to(dtype) for name, (shape, dtype) in shapes.items()
    }
    save_file(content, tmp_path / "model.safetensors", metadata=metadata)
    files = TensorFiles(tmp_path)
    assert files.tensors.keys() == content.keys()
    for name, tensor in content.items():
        read = files.read(name)
        assert (read.dtype, read.shape) == (tensor.dtype, tensor.shape) and torch.equal(read, tensor)


# The library refuses each of these too; what it says is for programmers.
@pytest.mark.parametrize(
    ("header", "size"),
    [
        ({"a": entry(0, 8, [2])}, 4),
        ({"a": entry(0, 8, [2])}, 12),
        ({"a": entry(0, 8, [3])}, 8),
        ({"a": entry(4, 12, [2])}, 12),
        ({"a": entry(0, 8, [2]), "b": entry(4, 12, [2])}, 12),
        ({"a": entry(0, 4, [1]), "b": entry(8, 12, [1])}, 12),
        ({"a": entry(8, 0, [2])}, 8),
        ({"a": entry(0, 8, [-2])}, 8),
        ({"a": entry(0, 8, "2")}, 8),
        ({"a": entry(0, 2**60, [2**58])}, 8),
        ({"a": entry(0, 8, [2**40, 2**40])}, 8),
        ({"a": {"dtype": "F32", "shape": [2]}}, 8),
        ({"a": [0, 8]}, 8),
        ({"a": entry(0, 8, [2], "F31")}, 8),
        (b'{"a":', 0),
        (b"[]", 0),
    ],
)
def test_a_header_that_contradicts_itself_or_the_file(tmp_path: Path, header: Any, size: int) -> None:
    file = write(tmp_path / "model.safetensors", header, bytes(size))
    with pytest.raises(SafetensorError):
        load_file(file)
    with pytest.raises(ModelError) as caught:
        TensorFiles(tmp_path)
    assert str(file) in caught.value.cause


@pytest.mark.parametrize("length", [2, 100, 2**40, 2**64 - 1])
def test_a_header_longer_than_its_file(tmp_path: Path, length: int) -> None:
    write(tmp_path / "model.safetensors", b"{", length=length)
    with pytest.raises(ModelError, match="cut off"):
        TensorFiles(tmp_path)


@pytest.mark.parametrize("files", [1, 40])
def test_more_tensors_than_any_model_has_are_not_built(tmp_path: Path, files: int) -> None:
    """A million tensors without numbers, in one file and in many."""
    count = 1_000_000 // files
    for number in range(1, files + 1):
        text = b",".join(b'"%d.%d":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}' % (number, n) for n in range(count))
        name = "model.safetensors" if files == 1 else f"model-{number:05}-of-{files:05}.safetensors"
        write(tmp_path / name, b"{" + text + b"}")
    began = time.process_time()
    with pytest.raises(ModelError, match="more tensors than any model has"):
        TensorFiles(tmp_path)
    assert time.process_time() - began < 5
