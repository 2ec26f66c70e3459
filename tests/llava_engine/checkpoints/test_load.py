"""A checkpoint is read whole or refused with one clear error that names what is wrong."""

from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.load import load_for_inference, load_trainable
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.checkpoints.save import save_checkpoint
from llava_engine.contract import LoadProgress
from llava_engine.errors import DeviceError, ModelError, StorageError, UsageError
from llava_engine.opening import Placement
from tests.llava_engine.tiny import SHAPES, TINY, parts, random_model, saved

NAME = "language_model.model.layers.1.self_attn.k_proj.weight"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    saved(TINY, tmp_path / "model")
    return tmp_path / "model"


def load(folder: Path, **options: Any) -> Any:
    return load_for_inference(*parts(folder), Placement(device="cpu"), **options)


def change(folder: Path, **tensors: torch.Tensor | None) -> None:
    content = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if tensor is None:
            del content[name]
        else:
            content[name] = tensor
    save_file(content, folder / "model.safetensors")


def edit_config(folder: Path, **values: Any) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | values))


def test_a_missing_tensor_is_named(folder: Path) -> None:
    change(folder, **{NAME: None})
    with pytest.raises(ModelError, match=NAME):
        load(folder)


def test_an_unknown_tensor_is_named(folder: Path) -> None:
    change(folder, surprise=torch.zeros(2))
    with pytest.raises(ModelError, match="surprise"):
        load(folder)


def test_a_wrong_shape_is_named_with_both_shapes(folder: Path) -> None:
    change(folder, **{NAME: torch.zeros(7, 48)})
    with pytest.raises(ModelError, match=r"k_proj.*7 by 48.*24 by 48"):
        load(folder)


def test_known_leftovers_are_ignored(folder: Path) -> None:
    change(
        folder,
        **{
            "language_model.model.layers.0.self_attn.rotary_emb.inv_freq": torch.ones(6),
            "vision_tower.vision_model.embeddings.position_ids": torch.arange(17)[None],
        },
    )
    load(folder)


@pytest.mark.parametrize("content", [b"", b"\x10\x00", b"not a file of tensors" * 20])
def test_a_broken_weight_file_is_refused(folder: Path, content: bytes) -> None:
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load(folder)


def test_a_truncated_weight_file_is_refused(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        load(folder)


def test_a_bin_file_is_read(folder: Path) -> None:
    expected = load(folder).model
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    ids = torch.tensor([[1, 5, 6]])
    assert torch.equal(load(folder).model(ids), expected(ids))


def test_shards_are_read_and_a_missing_one_is_named(folder: Path) -> None:
    expected = load(folder).model
    content = load_file(folder / "model.safetensors")
    names = sorted(content)
    files = {name: f"model-0000{1 + index % 2}-of-00002.safetensors" for index, name in enumerate(names)}
    for file in set(files.values()):
        save_file({name: content[name] for name in names if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))
    (folder / "model.safetensors").unlink()
    ids = torch.tensor([[1, 5, 6]])
    assert torch.equal(load(folder).model(ids), expected(ids))
    (folder / "model-00002-of-00002.safetensors").unlink()
    with pytest.raises(ModelError, match="model-00002-of-00002"):
        load(folder)


def test_an_index_may_not_lead_out_of_the_folder(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../../secret"}}))
    with pytest.raises(ModelError, match="outside"):
        load(folder)


class Bomb:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


def test_a_pickle_that_would_run_code_is_refused_and_does_not_run(folder: Path, tmp_path: Path) -> None:
    (folder / "model.safetensors").unlink()
    for bomb in (pickle.dumps({"a": Bomb(tmp_path / "ran")}), None):
        if bomb is None:
            torch.save({"a": Bomb(tmp_path / "ran")}, folder / "pytorch_model.bin")
        else:
            (folder / "pytorch_model.bin").write_bytes(bomb)
        with pytest.raises(ModelError, match=r"pytorch_model\.bin"):
            load(folder)
        assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("text", "expected"),
    [("{", "valid JSON"), ("[1]", "not an object"), ("{}", "not a LLaVA model"), ("\udcff", "valid JSON")],
)
def test_a_broken_config_is_refused(folder: Path, text: str, expected: str) -> None:
    (folder / "config.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelError, match=expected):
        load(folder)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"model_type": "llava_llama"}, "llava_llama"),
        ({"vision_feature_layer": "x"}, "vision_feature_layer"),
        ({"projector_hidden_act": "relu"}, "relu"),
        ({"text_config": {"model_type": "gpt2"}}, "gpt2"),
        ({"text_config": {"hidden_size": "wide"}}, "hidden_size"),
        ({"text_config": {"hidden_size": 49}}, "lacks tensor"),
        ({"text_config": 7}, "text_config"),
        ({"vision_config": {"hidden_act": "tanh"}}, "tanh"),
        ({"text_config": {"rope_scaling": {"type": "linear", "factor": 2}}}, "linear"),
    ],
)
def test_a_config_that_we_can_not_follow_is_refused(folder: Path, changes: dict[str, Any], expected: str) -> None:
    edit_config(folder, **changes)
    with pytest.raises(ModelError, match=expected):
        load(folder)


def test_missing_folders_and_files_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no model folder"):
        open_checkpoint(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json"):
        open_checkpoint(tmp_path / "empty")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no weights"):
        load(folder)


@pytest.mark.parametrize(
    "options", [{"dtype": "float8"}, {"quantize": "int3"}, {"device": "abacus"}, {"device": "cuda:77"}]
)
def test_what_this_machine_lacks_is_said(folder: Path, options: dict[str, str]) -> None:
    with pytest.raises((DeviceError, UsageError)):
        load_for_inference(*parts(folder), Placement(**({"device": "cpu"} | options)))


def test_progress_ends_at_the_total(folder: Path) -> None:
    seen: list[LoadProgress] = []
    load(folder, on_progress=seen.append)
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert seen[-1].done == seen[-1].total > 0


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
def test_saving_and_loading_changes_nothing(config: Any, tmp_path: Path) -> None:
    model = random_model(config)
    save_checkpoint(model, tmp_path / "model", dtype=torch.float32)
    again = load_trainable(*parts(tmp_path / "model"))
    assert again.config == config
    for name, parameter in again.named_parameters():
        assert torch.equal(parameter, model.get_parameter(name)), name


def test_a_folder_that_can_not_be_written_stays_as_it_was(folder: Path) -> None:
    before = (folder / "model.safetensors").read_bytes()
    with pytest.raises(StorageError):
        save_checkpoint(random_model(TINY), folder / "config.json" / "model")
    assert (folder / "model.safetensors").read_bytes() == before
    assert sorted(path.name for path in folder.parent.iterdir()) == ["model"]
