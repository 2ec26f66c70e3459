"""Which files are a folder's weights, and what is said of a folder whose weights are of another kind."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.files.weight_files import names_model, weight_files

NEVER = re.compile(r"not whole|has no weights|give the folder that holds it", re.IGNORECASE)


def fill(folder: Path, *names: str, **indexes: list[str]) -> Path:
    """A folder of such files, and an index of each form that names such shards."""
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(b"x")
    for form, shards in indexes.items():
        stem = {"safetensors": "model", "bin": "pytorch_model"}[form]
        table = {"weight_map": {f"tensor.{number}": shard for number, shard in enumerate(shards)}}
        (folder / f"{stem}.{form}.index.json").write_text(json.dumps(table))
    return folder


def shards(count: int, form: str = "safetensors", width: int = 5) -> list[str]:
    stem = {"safetensors": "model", "bin": "pytorch_model"}[form]
    return [f"{stem}-{number:0{width}}-of-{count:0{width}}.{form}" for number in range(1, count + 1)]


def found(folder: Path) -> list[str]:
    return [file.name for file in weight_files(folder)]


# transformers' order (modeling_utils.py, `_get_resolved_checkpoint_files`): model.safetensors, its index,
# pytorch_model.bin, its index.
@pytest.mark.parametrize(
    ("names", "indexes", "expected"),
    [
        (["model.safetensors"], {}, ["model.safetensors"]),
        (["pytorch_model.bin"], {}, ["pytorch_model.bin"]),
        (["model.safetensors", "pytorch_model.bin"], {}, ["model.safetensors"]),
        (["model.safetensors"], {"safetensors": shards(4)}, ["model.safetensors"]),
        (["model.safetensors", *shards(2)], {"safetensors": shards(2)}, ["model.safetensors"]),
        (["pytorch_model.bin"], {"bin": shards(3, "bin")}, ["pytorch_model.bin"]),
        (["pytorch_model.bin"], {"safetensors": shards(3)}, ["pytorch_model.bin"]),
        (["pytorch_model.bin", shards(3)[1]], {"safetensors": shards(3)}, ["pytorch_model.bin"]),
        (shards(2), {"safetensors": shards(2)}, shards(2)),
        ([*shards(2), *shards(2, "bin")], {"safetensors": shards(2), "bin": shards(2, "bin")}, shards(2)),
        (shards(3), {}, shards(3)),
        (shards(3, "bin"), {}, shards(3, "bin")),
        (shards(1), {}, shards(1)),
        (shards(12, width=2), {}, shards(12, width=2)),
        (["model-00000-of-00001.safetensors"], {}, ["model-00000-of-00001.safetensors"]),
        (shards(2), {"safetensors": shards(3)}, shards(2)),
        ([*shards(2), *shards(3)[:2]], {}, shards(2)),
        (["a.safetensors", "b.safetensors"], {"safetensors": ["a.safetensors", "b.safetensors"]}, None),
        ([*shards(2), "adapter_model.safetensors", "old.gguf"], {}, shards(2)),
    ],
)
def test_what_is_taken(
    tmp_path: Path, names: list[str], indexes: dict[str, list[str]], expected: list[str] | None
) -> None:
    assert found(fill(tmp_path / "m", *names, **indexes)) == (names if expected is None else expected)


@pytest.mark.parametrize(
    ("names", "indexes", "said"),
    [
        ([shards(3)[0]], {"safetensors": shards(3)}, r"lacks model-00002-of-00003.safetensors, model-00003-of"),
        ([shards(4)[0], shards(4)[3]], {}, r"holds model-00001-of-00004.*, and lacks model-00002-of-00004.*00003-of"),
        ([*shards(2), *shards(3)], {}, r"two models in shards: model-00001-of-00002.*, model-00001-of-00003"),
        ([], {"safetensors": shards(9)}, r"lacks .*00003-of-00009.safetensors and 6 more, of the 9 files"),
        (["llava-q4_k_m.gguf", "mmproj-f16.gguf"], {}, r"^GGUF is not read: .*llava-q4_k_m.gguf, mmproj-f16.gguf"),
        (["ggml-model-q4_0.bin"], {}, r"^GGML is not read: .*ggml-model-q4_0.bin"),
        (["consolidated.00.pth", "consolidated.01.pth"], {}, r"Meta's own layout \(consolidated.00.pth, consol"),
        (["consolidated.safetensors"], {}, r"Mistral's own layout"),
        (["adapter_model.safetensors", "training_args.bin"], {}, r"is an adapter over another model"),
        (["mm_projector.bin"], {}, r"is a projector alone"),
        (["tf_model.h5"], {}, r"TensorFlow \(tf_model.h5\)"),
        (["flax_model.msgpack"], {}, r"Flax"),
        (["model.onnx"], {}, r"ONNX"),
        (["zero_to_fp32.py", "latest"], {}, r"DeepSpeed"),
        (["model.safetensors.incomplete"], {}, r"download that has not ended"),
        (["llava.safetensors", "optimizer.bin"], {}, r"holds llava.safetensors, and no model.safetensors or"),
        (["step7.ckpt"], {}, r"holds step7.ckpt, and no"),
    ],
)
def test_what_is_there_is_named(tmp_path: Path, names: list[str], indexes: dict[str, list[str]], said: str) -> None:
    with pytest.raises(ModelError) as caught:
        weight_files(fill(tmp_path / "m", *names, **indexes))
    assert re.search(said, caught.value.cause), caught.value.cause
    assert str(tmp_path / "m") in caught.value.cause and caught.value.remedy
    assert not NEVER.search(str(caught.value))
    assert ("--engine URL" in caught.value.remedy) == ("GGUF" in said)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["model.safetensors", "mm_projector.bin"], True),
        (["pytorch_model.bin.index.json"], True),
        ([shards(3)[1], "mm_projector.bin"], True),
        (["mm_projector.bin", "config.json", "training_args.bin"], False),
        (["adapter_model.safetensors"], False),
    ],
)
def test_whether_names_are_those_of_a_whole_model(tmp_path: Path, names: list[str], expected: bool) -> None:
    assert names_model(fill(tmp_path / "m", *names)) == expected


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["x.gguf"], "GGUF is not read"),
        (["consolidated.00.pth"], "Meta's own layout"),
        (["model.safetensors", "model.onnx"], "has no config.json"),
        ([shards(2)[0], "x.gguf"], "has no config.json"),
        ([], "has no config.json"),
    ],
)
def test_a_folder_without_config_is_named_for_what_it_holds(tmp_path: Path, names: list[str], said: str) -> None:
    with pytest.raises(ModelError, match=said):
        read_json(fill(tmp_path / "m", *names) / "config.json")


def test_an_empty_folder_has_none(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no weights"):
        weight_files(fill(tmp_path / "m", "README.md", "training_args.bin"))


@pytest.mark.parametrize(
    ("start", "said"),
    [
        (b"GGUF\3\0\0\0", "GGUF is not read"),
        (b"tjgg\1\0\0\0", "GGML is not read"),
        (b"\x89HDF\r\n\x1a\n", "TensorFlow"),
    ],
)
@pytest.mark.parametrize("name", ["x.gguf", "pytorch_model.bin", "model.safetensors"])
def test_a_foreign_file_is_named_by_its_first_bytes(tmp_path: Path, start: bytes, said: str, name: str) -> None:
    (tmp_path / name).write_bytes(start + bytes(100))
    with pytest.raises(ModelError, match=said):
        TensorFiles(tmp_path, [tmp_path / name])


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.safetensors"])
@pytest.mark.parametrize("content", ["zip", "old", "safetensors"])
def test_a_file_is_what_its_bytes_are(tmp_path: Path, name: str, content: str) -> None:
    if content == "safetensors" or name == "model.safetensors":
        save_file({"a": torch.ones(3)}, tmp_path / name)
    else:
        torch.save({"a": torch.ones(3)}, tmp_path / name, _use_new_zipfile_serialization=content == "zip")
    assert TensorFiles(tmp_path).read("a").tolist() == [1, 1, 1]
