"""`.bin` files: what is read is what torch reads, and a few bytes that ask for gigabytes or for code get nothing."""

from __future__ import annotations

import pickle
import resource
import struct
import time
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

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
MAGIC = pickle.dumps(0x1950A86A20F9469CFC6C, 2) + pickle.dumps(1001, 2) + pickle.dumps({"little_endian": True}, 2)


def opened(file: Path) -> TensorFiles:
    return TensorFiles(file.parent, [file])


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Equal, and of one dtype; the numbers here are 0 and 1 and random floats, so equal numbers have equal bits."""
    return (one.dtype, one.shape) == (other.dtype, other.shape) and torch.equal(one, other)


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Tensor]:
    """Tensors that share memory, are turned, cut, repeated in part, empty or single numbers."""
    made: dict[str, Tensor] = {}
    for number in range(draw(st.integers(1, 4))):
        shape = draw(st.lists(st.integers(0, 4), max_size=4))
        size = max(1, torch.Size(shape).numel())
        whole = torch.randint(0, 2, (size + 3,), generator=torch.Generator().manual_seed(draw(st.integers(0, 99))))
        tensor = whole.to(draw(st.sampled_from(DTYPES)))[draw(st.integers(0, 3)) :][: torch.Size(shape).numel()]
        tensor = tensor.reshape(shape)
        if draw(st.booleans()) and tensor.ndim > 1:
            tensor = tensor.transpose(0, 1)
        if draw(st.booleans()) and tensor.ndim:
            tensor = tensor[::2]
        made[draw(st.text(max_size=8)) + f".{number}"] = tensor
        if draw(st.booleans()):
            made[f"again.{number}"] = tensor
    return made


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=tables(), zipped=st.booleans(), protocol=st.sampled_from([2, 3, 4, 5]), ordered=st.booleans())
def test_every_tensor_is_what_torch_reads(
    tmp_path: Path, content: dict[str, Tensor], zipped: bool, protocol: int, ordered: bool
) -> None:
    file = tmp_path / "weights.bin"
    torch.save(
        OrderedDict(content) if ordered else content,
        file,
        pickle_protocol=protocol,
        _use_new_zipfile_serialization=zipped,
    )
    expected = torch.load(file, weights_only=False)  # the careful form knows protocols 2 and 3 only
    files = opened(file)
    assert list(files.tensors) == list(expected)
    for name, tensor in expected.items():
        stored = files.tensors[name]
        assert (stored.shape, stored.dtype) == (tuple(tensor.shape), tensor.dtype)
        assert same_bits(files.read(name), tensor)


@pytest.mark.parametrize("zipped", [True, False])
def test_modules_and_parameters_are_read(tmp_path: Path, zipped: bool) -> None:
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))  # a state dict with metadata and a number without shape
    own = nn.Parameter(torch.ones(2))
    own.role = "extra"  # type: ignore[attr-defined]  # a parameter with attributes is pickled in another way
    torch.save(layer.state_dict() | {"own": own, "plain": nn.Parameter(torch.ones(1))}, tmp_path / "a.bin")
    torch.save(layer.state_dict(), tmp_path / "b.bin", _use_new_zipfile_serialization=zipped)
    for name, tensor in layer.state_dict().items():
        assert same_bits(opened(tmp_path / "a.bin").read(name), tensor)
        assert same_bits(opened(tmp_path / "b.bin").read(name), tensor)
    assert same_bits(opened(tmp_path / "a.bin").read("own"), own.detach())


def zipped(table: bytes, storages: dict[str, bytes] | None = None) -> bytes:
    file = BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("model/data.pkl", table)
        for key, content in (storages or {}).items():
            archive.writestr(f"model/data/{key}", content)
    return file.getvalue()


def call(name: str, arguments: bytes) -> bytes:
    """The steps that call something; `arguments` are steps that leave a tuple."""
    module, _, function = name.rpartition(".")
    return b"c" + f"{module}\n{function}\n".encode() + arguments + b"R"


def table(*values: bytes) -> bytes:
    return (
        b"\x80\x02}("
        + b"".join(b"X\x01\x00\x00\x00" + bytes([97 + n]) + value for n, value in enumerate(values))
        + b"u."
    )


def tensor(
    numbers: int, shape: tuple[int, ...], stride: tuple[int, ...], offset: int = 0, kind: str = "Float"
) -> bytes:
    """The steps of a tensor as torch writes them, over storage 0, with any claims."""
    storage = b"(U\x07storagectorch\n%sStorage\nU\x010U\x03cpuL%dL\ntQ" % (kind.encode(), numbers)
    sizes = b"".join(b"(" + b"".join(b"L%dL\n" % size for size in each) + b"t" for each in (shape, stride))
    return call("torch._utils._rebuild_tensor_v2", b"(" + storage + b"L%dL\n" % offset + sizes + b"\x89Nt")


HUGE = 2**31 - 1
BOMBS: dict[str, bytes] = {
    "bytearray": table(call("builtins.bytearray", b"(J\xff\xff\xff\x7ft")),
    "bytearray of python 2": table(call("__builtin__.bytearray", b"(J\xff\xff\xff\x7ft")),
    "encode": table(call("_codecs.encode", b"(X\x01\x00\x00\x00aX\x05\x00\x00\x00utf-8t")),
    "bytearray step": table(b"\x96" + struct.pack("<Q", HUGE)),
    "bytes step": table(b"\x8e" + struct.pack("<Q", HUGE)),
    "far memo": b"\x80\x02}r\xff\xff\xff\x7fj\xfe\xff\xff\x7f.",
    "doubled tables": b"\x80\x02" + b"]" + b"2" * 1000 + b"e" * 1000 + b".",
    "sum of tables": table(call("collections.OrderedDict", b"(](K\x01K\x02eKt")),
    "parameter": table(
        call("torch._utils._rebuild_parameter", b"(" + call("torch.empty", b"(J\xff\xff\xff\x7ft") + b"\x88Nt")
    ),
    "a tensor larger than its storage": table(tensor(4, (HUGE,), (1,))),
    "a storage larger than its entry": table(tensor(HUGE, (HUGE,), (1,))),
    "one number repeated": table(tensor(4, (HUGE,), (0,))),
    "behind its storage": table(tensor(4, (2,), (1,), offset=3)),
    "before its storage": table(tensor(4, (2,), (1,), offset=-4)),
    "turned round": table(tensor(4, (2,), (-1,), offset=1)),
    "wide steps": table(tensor(4, (2, 2), (1, HUGE))),
    "numbers without end": table(tensor(4, (1 << 300, 1 << 300), (1, 1))),
    "numbers of thousands of digits": table(b"L" + b"9" * 10**6 + b"L\n"),
    "many dimensions": table(tensor(4, (1,) * 60, (1,) * 60)),
    "one storage as a thousand tensors": table(*[tensor(4, (4,), (1,))] * 60),
    "a program": table(call("os.system", b"(X\x04\x00\x00\x00truet")),
    "an object": table(b"(ctorch.nn\nLinear\no"),
    "a call of a call": table(call("torch.Size", b"(t") + b")R"),
    "keys that collide": b"\x80\x02}(" + b"".join(b"L%dL\n0N" % (n * (2**61 - 1)) for n in range(9)) + b"u.",
    "nothing": b"\x80\x02.",
    "a mark": b"\x80\x02(.",
    "cut off": b"\x80\x02}(X\x09\x00\x00\x00ab",
    "deep": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
    "a number of steps": b"\x80\x02}" + b"00" * 10**6,
}


def test_a_zip_is_read_whatever_it_is_called(tmp_path: Path) -> None:
    torch.save({"a": torch.arange(3)}, tmp_path / "model.safetensors")
    assert torch.equal(opened(tmp_path / "model.safetensors").read("a"), torch.arange(3))


@pytest.mark.parametrize("form", ["zip", "old", "bare"])
@pytest.mark.parametrize("bomb", list(BOMBS))
def test_a_few_bytes_take_neither_memory_nor_time_nor_run(tmp_path: Path, bomb: str, form: str) -> None:
    file = tmp_path / "pytorch_model.bin"
    content = BOMBS[bomb]
    storages = struct.pack("<q4f", 4, 1, 2, 3, 4)
    if form == "zip":
        file.write_bytes(zipped(content, {"0": storages[8:]}))
    elif form == "old":
        file.write_bytes(MAGIC + content + pickle.dumps(["0"], 2) + storages)
    else:
        file.write_bytes(content)
    before, began = peak(), time.process_time()
    with pytest.raises(ModelError) as caught:
        opened(file)
    assert str(file) in caught.value.cause and caught.value.remedy
    assert peak() - before < 500 * 2**20 and time.process_time() - began < 5


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def test_those_bombs_are_like_files_that_are_read(tmp_path: Path) -> None:
    """The same steps with true claims: so it is the claims that are refused above."""
    true = table(tensor(4, (2, 2), (1, 2)), tensor(4, (3,), (1,), offset=1))
    (tmp_path / "zip.bin").write_bytes(zipped(true, {"0": struct.pack("<4f", 1, 2, 3, 4)}))
    (tmp_path / "old.bin").write_bytes(MAGIC + true + pickle.dumps(["0"], 2) + struct.pack("<q4f", 4, 1, 2, 3, 4))
    for name in ("zip.bin", "old.bin"):
        files = opened(tmp_path / name)
        assert files.read("a").tolist() == [[1, 3], [2, 4]] and files.read("b").tolist() == [2, 3, 4]


@pytest.mark.parametrize("change", ["longer", "shorter", "larger count"])
def test_an_old_file_whose_storages_are_not_all_there(tmp_path: Path, change: str) -> None:
    file = tmp_path / "pytorch_model.bin"
    torch.save({"a": torch.ones(8), "b": torch.ones(8)}, file, _use_new_zipfile_serialization=False)
    content = file.read_bytes()
    if change == "larger count":
        at = content.rindex(struct.pack("<q", 8))
        content = content[:at] + struct.pack("<q", 2**40) + content[at + 8 :]
    file.write_bytes(content[:-5] if change == "shorter" else content + b"xx" if change == "longer" else content)
    if change == "longer":
        assert opened(file).read("b").tolist() == [1] * 8
    else:
        with pytest.raises(ModelError, match="not a whole weight file"):
            opened(file)


def test_an_archive_with_a_million_entries_is_not_listed(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    entry = b"PK\x01\x02" + bytes(42) + b""
    directory = entry * 200_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, len(directory), 4, 0)
    file.write_bytes(b"PK\x03\x04" + directory + end)
    with pytest.raises(ModelError, match="more tensors than any model"):
        opened(file)


def test_a_larger_record_of_the_directory_counts_too(tmp_path: Path) -> None:
    file = tmp_path / "pytorch_model.bin"
    directory = (b"PK\x01\x02" + bytes(42)) * 200_000
    record = b"PK\x06\x06" + struct.pack("<QHHIIQQQQ", 44, 45, 45, 0, 0, 200_000, 200_000, len(directory), 4)
    pointer = b"PK\x06\x07" + struct.pack("<IQI", 0, 4 + len(directory), 1)
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 65535, 65535, 0, 4, 0)
    file.write_bytes(b"PK\x03\x04" + directory + record + pointer + end)
    with pytest.raises(ModelError, match="more tensors than any model"):
        opened(file)


def flipped(content: bytes, at: int, value: int) -> bytes:
    return content[:at] + bytes([value]) + content[at + 1 :]


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(old=st.booleans(), where=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_any_flipped_byte_is_read_or_refused(tmp_path: Path, old: bool, where: float, value: int) -> None:
    file = tmp_path / "pytorch_model.bin"
    saved = BytesIO()
    torch.save(nn.Linear(3, 2).state_dict(), saved, _use_new_zipfile_serialization=not old)
    content = saved.getvalue()
    file.write_bytes(flipped(content, int(where * len(content)), value))
    tried: Callable[[], Any] = lambda: [files.read(name) for files in [opened(file)] for name in files.tensors]  # noqa: E731
    try:
        tried()
    except ModelError as error:
        assert str(file) in error.cause
