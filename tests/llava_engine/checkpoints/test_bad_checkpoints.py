"""Weight files that are broken, lie or mean harm: one clear error that names the file, and nothing of them runs."""

from __future__ import annotations

import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError
from tests.llava_engine import originals
from tests.llava_engine.checkpoints.rooms import change, edit_header, refusal, replace, try_out
from tests.llava_engine.originals import NEWEST, ROWS, WIDTH

NAME = "model.layers.1.self_attn.k_proj.weight"


class Bomb:
    """A pickle that leaves a folder where it was run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("form", ["archive", "old archive", "bare pickle", "protocol 4"])
@pytest.mark.parametrize(
    ("folder", "stem"),
    [
        ("newest", "model"),
        ("adapter", "adapter_model"),
        ("adapter", "non_lora_trainables"),
        ("projector", "mm_projector"),
        ("eyes", "model"),
    ],
)
def test_a_pickle_with_code_is_named_and_never_runs(room: Path, folder: str, stem: str, form: str) -> None:
    old = room / folder / f"{stem}.safetensors"
    file = old.with_name("pytorch_model.bin" if stem == "model" else f"{stem}.bin")
    content = {**load_file(old), "x": Bomb(room / "ran")}
    old.unlink()
    if "archive" in form:
        torch.save(content, file, _use_new_zipfile_serialization=form == "archive")
    else:
        file.write_bytes(pickle.dumps({"x": Bomb(room / "ran")}, protocol=2 if form == "bare pickle" else 4))
    error = refusal(room / ("newest" if folder == "eyes" else folder))
    assert str(file) in error.cause and "could run code" in error.cause
    assert not (room / "ran").exists()
    if "archive" in form:  # it is one that works
        torch.load(file, weights_only=False)
    else:
        pickle.loads(file.read_bytes())
    assert (room / "ran").exists()


def bins(room: Path, content: Any, name: str = "pytorch_model.bin") -> Path:
    (room / "newest" / "model.safetensors").unlink()
    torch.save(content, room / "newest" / name)
    return room / "newest" / name


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(1).expand(10**6, 10**6),
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, device="meta"),
        [1, 2],
        {"inner": torch.ones(2)},
        7,
    ],
    ids=["a trillion numbers of one", "sparse", "complex", "of no memory", "list", "table", "number"],
)
def test_what_is_no_plain_tensor_is_named(room: Path, value: Any) -> None:
    file = bins(room, {**originals.language(ROWS), **originals.projector(2), "odd.one": value})
    error = refusal(room / "newest")
    assert str(file) in error.cause and "odd.one" in error.cause


@pytest.mark.parametrize("content", [[torch.ones(2)], {3: torch.ones(2)}, torch.ones(2), None])
def test_a_bin_file_that_is_no_table_is_refused(room: Path, content: Any) -> None:
    assert "not a table" in refusal(bins(room, content).parent).cause


def test_an_archive_that_swells_is_not_unpacked(room: Path) -> None:
    file = bins(room, {"a": torch.zeros(10**6)})
    entries = {entry: zipfile.ZipFile(file).read(entry) for entry in zipfile.ZipFile(file).namelist()}
    file.unlink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    assert "packed" in refusal(room / "newest").cause


def test_bin_files_of_old_and_of_odd_layout_are_read(room: Path) -> None:
    tensors = {**originals.language(ROWS), **originals.projector(2)}
    tensors[NAME] = tensors[NAME].T.contiguous().T
    for old in (True, False):
        folder = originals.write(room / f"old {old}", {**NEWEST, "vocab_size": ROWS}, {})
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
        try_out(folder)


def _longer(header: dict[str, Any]) -> None:
    start, end = header[NAME]["data_offsets"]
    header[NAME] |= {"shape": [WIDTH, WIDTH * 2], "data_offsets": [start, end + WIDTH * WIDTH * 4]}


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "shape of more": lambda header: header[NAME].update(shape=[WIDTH, WIDTH * 2]),
    "shape of less": lambda header: header[NAME].update(shape=[WIDTH]),
    "shape turned round": lambda header: header["model.mm_projector.0.weight"]["shape"].reverse(),
    "negative shape": lambda header: header[NAME].update(shape=[-WIDTH, -WIDTH]),
    "endless shape": lambda header: header[NAME].update(shape=[2**40, 2**40]),
    "wide dtype": lambda header: header[NAME].update(dtype="F64"),
    "narrow dtype": lambda header: header[NAME].update(dtype="F16"),
    "whole numbers": lambda header: header[NAME].update(dtype="I32"),
    "dtype of no use": lambda header: header[NAME].update(dtype="U32"),
    "unknown dtype": lambda header: header[NAME].update(dtype="F3"),
    "overlapping": _longer,
    "backwards": lambda header: header[NAME]["data_offsets"].reverse(),
    "beyond the end": lambda header: header[NAME].update(data_offsets=[2**40, 2**40 + WIDTH * WIDTH * 4]),
    "no numbers at all": lambda header: header[NAME].update(shape=[0, WIDTH]),
    "no offsets": lambda header: header[NAME].pop("data_offsets"),
    "not an entry": lambda header: header.update({NAME: 7}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(room: Path, lie: str) -> None:
    file = room / "newest" / "model.safetensors"
    edit_header(file, LIES[lie])
    error = refusal(room / "newest")
    assert str(file) in error.cause or NAME.removeprefix("model.") in error.cause or "projector" in error.cause


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        (2**63).to_bytes(8, "little"),
        (10**9).to_bytes(8, "little") + b"{}",
        (99).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (8).to_bytes(8, "little") + b"\xff\xfe" * 4,
        b"<html><body>404 Not Found</body></html>",
    ],
    ids=["empty", "a byte", "huge header", "header of 1 GB", "longer than the file", "list", "nothing", "junk", "page"],
)
@pytest.mark.parametrize("folder", ["newest", "eyes"])
def test_what_is_no_weight_file_is_refused(room: Path, folder: str, content: bytes) -> None:
    replace(room / folder / "model.safetensors", content)
    error = refusal(room / "newest")
    assert "safetensors" in error.cause or "lacks tensor" in error.cause or "layers" in error.cause


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut_shard_is_named(room: Path, share: float) -> None:
    file = room / "shards" / "model-00002-of-00002.safetensors"
    content = file.read_bytes()
    replace(file, content[: int(len(content) * share)])
    assert str(file) in refusal(room / "shards").cause


def edit_index(room: Path, edit: Callable[[dict[str, str]], object]) -> Path:
    file = room / "shards" / "model.safetensors.index.json"
    table = json.loads(file.read_text())["weight_map"]
    edit(table)
    replace(file, json.dumps({"weight_map": table}).encode())
    return room / "shards"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model-00003-of-00002.safetensors", "model-00003-of-00002"),
        ("../eyes/model.safetensors", "outside"),
        ("/etc/passwd", "outside"),
        ("", "outside"),
        ("..", "outside"),
        ("a" * 5000, "too long"),
        ("a\x00b", "lacks"),
        ("\ud800", "half a character"),
    ],
    ids=["not there", "beside", "absolute", "empty", "up", "long", "null", "half"],
)
def test_an_index_that_names_what_is_not_there_or_outside(room: Path, name: str, said: str) -> None:
    folder = edit_index(room, lambda table: table.update({NAME: name}))
    assert said in refusal(folder).cause


def test_a_shard_that_the_index_does_not_name(room: Path) -> None:
    last = "model-00002-of-00002.safetensors"
    folder = edit_index(
        room, lambda table: [table.pop(name) for name in [name for name in table if table[name] == last]]
    )
    assert "lacks tensor" in refusal(folder).cause


@pytest.mark.parametrize(
    "content", [b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": 1}}', b"[", b'{"weight_map": {}}']
)
def test_an_index_that_is_none(room: Path, content: bytes) -> None:
    replace(room / "shards" / "model.safetensors.index.json", content)
    error = refusal(room / "shards")
    assert "index.json" in error.cause or "lacks" in error.cause


def test_a_tensor_in_two_shards(room: Path) -> None:
    one, two = (room / "shards" / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    name = next(iter(load_file(one)))
    change(two, **{name: load_file(one)[name]})
    error = refusal(room / "shards")
    assert name in error.cause and one.name in error.cause and two.name in error.cause


def test_one_tensor_in_two_spellings(room: Path) -> None:
    change(room / "newest" / "model.safetensors", **{"language_model.model.norm.weight": torch.ones(WIDTH)})
    assert "two spellings" in refusal(room / "newest").cause


def test_tensors_without_numbers_and_of_whole_numbers(room: Path) -> None:
    file = room / "newest" / "model.safetensors"
    change(file, **{NAME: torch.zeros(0, WIDTH)})
    assert "k_proj" in refusal(room / "newest").cause
    change(file, **{NAME: torch.zeros(WIDTH, WIDTH, dtype=torch.int8)})
    assert "int8" in refusal(room / "newest").cause


@pytest.mark.parametrize("lie", sorted(LIES.keys() - {"shape turned round"}))  # a projector is the delta's own
def test_a_delta_with_a_lying_header_writes_nothing(room: Path, lie: str) -> None:
    delta.make(room / "base", room / "newest", room / "delta")
    edit_header(room / "delta" / "model.safetensors", LIES[lie])
    with pytest.raises(ModelError) as told:
        delta.apply(room / "base", room / "delta", room / "sum")
    assert told.value.remedy
    assert not [path.name for path in room.iterdir() if "sum" in path.name]
