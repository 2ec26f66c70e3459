"""Random tiny models of every kind converted: transformers computes the same, and nothing is left half done."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert import Target, convert
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.contract import LoadProgress
from llava_engine.conversation import templates
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.opening import Placement
from llava_engine.pictures.opening import Picture, open_picture
from tests.llava_engine import hf_oracle
from tests.llava_engine.originals import (
    JUNE,
    NEWEST,
    ROWS,
    SIDE,
    WIDTH,
    language,
    projector,
    tower,
    write,
    write_tower,
)
from tests.llava_engine.tiny import SHAPES, complete

V0 = ("[PAD]", "<im_patch>", "<im_start>", "<im_end>")
WRAPPED = {"mm_use_im_start_end": True}
ANYRES = {
    "image_aspect_ratio": "anyres",
    "mm_patch_merge_type": "spatial_unpad",
    "image_grid_pinpoints": [[SIDE, 2 * SIDE], [2 * SIDE, SIDE], [2 * SIDE, 2 * SIDE]],
}

# What an original checkpoint's config and tokens are, and how many layers its projector has.
ORIGINALS: dict[str, tuple[dict[str, Any], int, tuple[str, ...]]] = {
    "v0": ({**JUNE, **WRAPPED}, 1, V0),
    "v0 without marks": (JUNE, 1, V0[:2]),
    "v1": ({**JUNE, **WRAPPED}, 1, V0[1:]),
    "1.5": ({**NEWEST, "image_aspect_ratio": "pad"}, 2, ()),
    "1.5, class token kept": ({**NEWEST, "mm_vision_select_feature": "cls_patch"}, 2, ()),
    "1.5, more rows than tokens": ({**NEWEST, "spare": 3}, 2, ()),
    "1.5 with marks": ({**NEWEST, **WRAPPED, "mm_use_im_patch_token": True}, 2, V0[1:]),
    "1.6": ({**NEWEST, **ANYRES}, 2, ()),
    "1.6, ChatML": ({**NEWEST, **ANYRES}, 2, ("<|im_start|>", "<|im_end|>")),
    "last layer": ({**NEWEST, "mm_vision_select_layer": -1}, 2, ()),
}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_tower(tmp_path / "eyes")
    return tmp_path


@pytest.fixture
def pictures(tmp_path: Path) -> list[Picture]:
    """A wide one and a tall one, of noise."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for number, (width, height) in enumerate(((60, 31), (29, 44))):
        noise = torch.randint(0, 256, (height, width, 3), generator=generator, dtype=torch.uint8)
        Image.fromarray(noise.numpy()).save(tmp_path / f"{number}.png")
        made.append(open_picture(tmp_path / f"{number}.png"))
    return made


def original(room: Path, kind: str, more: Mapping[str, Tensor] | None = None, *, legacy: bool = True) -> Path:
    config, layers, added = ORIGINALS[kind]
    rows = ROWS + len(added) + config.get("spare", 0)
    tensors = {**language(rows), **projector(layers), **(more or {})}
    if "image_grid_pinpoints" in config:
        tensors["model.image_newline"] = 0.2 * torch.randn(WIDTH, generator=torch.Generator().manual_seed(4))
    settings = {key: value for key, value in config.items() if key != "spare"}
    folder = write(room / "model", {**settings, "vocab_size": rows}, tensors, added=added)
    names = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "legacy": legacy}))
    return folder


def stored(folder: Path) -> dict[str, Tensor]:
    files = TensorFiles(folder)
    return {name: files.read(name) for name in files.tensors}


@pytest.mark.parametrize("kind", ORIGINALS)
def test_transformers_computes_what_the_original_does(room: Path, kind: str, pictures: list[Picture]) -> None:
    folder = original(room, kind)
    convert(folder, "hf", room / "hf")
    hf_oracle.check(open_checkpoint(folder), room / "hf", pictures)


@pytest.mark.parametrize("kind", ORIGINALS)
def test_with_the_newer_rule_for_spaces_too(room: Path, kind: str, pictures: list[Picture]) -> None:
    folder = original(room, kind, legacy=False)
    convert(folder, "hf", room / "hf")
    hf_oracle.check_inputs(open_checkpoint(folder), hf_oracle.processor_of(room / "hf"), pictures)


@pytest.mark.parametrize("name", sorted(templates.TEMPLATES))
def test_every_template_is_written_as_jinja(room: Path, name: str, pictures: list[Picture]) -> None:
    kind = "1.5 with marks" if templates.get(name).wrap_pictures else "1.5"
    folder = original(room, kind)
    convert(folder, "hf", room / "hf", template=name)
    checkpoint = open_checkpoint(folder, template=name)
    assert open_checkpoint(room / "hf").template == checkpoint.template
    hf_oracle.check_inputs(checkpoint, hf_oracle.processor_of(room / "hf"), pictures)


@pytest.mark.parametrize("kind", ORIGINALS)
def test_there_and_back_nothing_changes(room: Path, kind: str) -> None:
    folder = original(room, kind, tower("model.vision_tower.vision_tower."))
    before = open_checkpoint(folder)
    convert(folder, "hf", room / "hf")
    convert(room / "hf", "original", room / "back")
    back = open_checkpoint(room / "back")
    own, made = stored(folder), stored(room / "back")
    assert {name for name in made if not name.endswith("inv_freq")} == {n for n in own if not n.endswith("ids")}
    for name, tensor in own.items():
        assert name.endswith("position_ids") or torch.equal(made[name], tensor), name
    assert (back.config, back.template, back.preprocessing) == (before.config, before.template, before.preprocessing)
    assert back.tokenizer.special_ids == before.tokenizer.special_ids
    assert back.found.generation == before.found.generation


@pytest.mark.parametrize("shape", SHAPES)
def test_hugging_faces_layout_becomes_the_originals(tmp_path: Path, shape: str) -> None:
    """And from there it comes back, token for pictures and all."""
    folder = complete(SHAPES[shape], tmp_path / "hf")
    convert(folder, "original", tmp_path / "original")
    convert(tmp_path / "original", "hf", tmp_path / "again")
    before = open_checkpoint(folder)
    for each in ("original", "again"):
        checkpoint = open_checkpoint(tmp_path / each)
        assert checkpoint.template == before.template
        assert checkpoint.config.vision == before.config.vision
        assert checkpoint.found.tower == "in the checkpoint"
        assert torch.equal(
            logits(checkpoint)[..., : before.config.language.vocab_size],
            logits(before)[..., : checkpoint.config.language.vocab_size],
        )


@torch.inference_mode()
def logits(checkpoint: Checkpoint) -> Tensor:
    config = checkpoint.config
    model = load_for_inference(config, checkpoint.tensors, Placement(device="cpu", dtype="float32")).model
    side = config.vision.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    ids = torch.tensor([[1, 30, *[config.image_token_id] * config.picture_tokens, 28, 29]])
    return model(ids, pixels)  # type: ignore[no-any-return]


def test_two_layers_with_nothing_between_become_their_product(room: Path) -> None:
    convert(original(room, "v1"), "hf", room / "hf")
    tensors = load_file(room / "hf" / "model.safetensors")
    turned = torch.randn(WIDTH, WIDTH, generator=torch.Generator().manual_seed(2))
    shift = torch.randn(WIDTH, generator=torch.Generator().manual_seed(3))
    tensors["multi_modal_projector.linear_2.weight"] = turned
    tensors["multi_modal_projector.linear_2.bias"] = shift
    save_file(tensors, room / "hf" / "model.safetensors", metadata={"format": "pt"})
    convert(room / "hf", "original", room / "back")
    made, first = stored(room / "back"), projector(1)
    torch.testing.assert_close(made["model.mm_projector.weight"], turned @ first["model.mm_projector.weight"])
    torch.testing.assert_close(made["model.mm_projector.bias"], turned @ first["model.mm_projector.bias"] + shift)


@pytest.mark.parametrize("to", ["hf", "original"])
def test_dtypes_and_files_as_asked_for(room: Path, to: Target) -> None:
    folder = original(room, "1.5")
    told: list[LoadProgress] = []
    done = convert(folder, to, room / "x", dtype="float16", shard_bytes=20_000, on_progress=told.append)
    kinds = {tensor.dtype for tensor in TensorFiles(room / "x").tensors.values()}
    assert kinds == {torch.float16}
    config = json.loads((room / "x" / "config.json").read_text())
    assert config.get("dtype", config.get("torch_dtype")) == "float16"
    shards = list((room / "x").glob("model-*.safetensors"))
    assert len(shards) > 2 and (room / "x" / "model.safetensors.index.json").exists()
    assert done.bytes == told[-1].done == told[-1].total == sum(each.nbytes for each in stored(room / "x").values())
    assert [each.done for each in told] == sorted(each.done for each in told)
    checkpoint = open_checkpoint(room / "x")
    rows = open_checkpoint(folder).config.language.vocab_size
    torch.testing.assert_close(logits(checkpoint)[..., :rows], logits(open_checkpoint(folder)), rtol=0, atol=0.05)


def test_numbers_that_float16_can_not_hold(room: Path) -> None:
    folder = original(room, "1.5", {"model.norm.weight": torch.full((WIDTH,), 1e6)})
    with pytest.raises(ModelError, match="too large for float16"):
        convert(folder, "hf", room / "x", dtype="float16")
    assert not (room / "x").exists()


def test_an_unfinished_run_is_gone_on_with(room: Path) -> None:
    folder, calls = original(room, "1.5"), []

    def cut_off(progress: LoadProgress) -> None:
        calls.append(progress)
        if len(calls) == 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        convert(folder, "hf", room / "x", shard_bytes=20_000, on_progress=cut_off)
    assert not (room / "x").exists()
    with pytest.raises(StorageError, match="--resume"):
        convert(folder, "hf", room / "x", shard_bytes=20_000)
    with pytest.raises(StorageError, match="other files"):
        convert(folder, "hf", room / "x", dtype="float16", shard_bytes=20_000, resume=True)
    calls.clear()
    convert(folder, "hf", room / "x", shard_bytes=20_000, resume=True, on_progress=calls.append)
    assert calls[0].done > calls[0].total / 10  # not from the beginning
    convert(folder, "hf", room / "y", shard_bytes=20_000)
    assert {each.name: each.read_bytes() for each in (room / "x").iterdir()} == {
        each.name: each.read_bytes() for each in (room / "y").iterdir()
    }


def test_what_can_not_be_done_is_said_before_anything_is_written(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = original(room, "1.5")
    before = sorted(os.walk(room))
    with pytest.raises(StorageError, match="read and written at once"):
        convert(folder, "hf", folder)
    with pytest.raises(StorageError, match="is there already"):
        convert(folder, "hf", room / "eyes")
    with pytest.raises(ModelError, match="nothing to merge"):
        convert(folder, "merged", room / "x")
    with pytest.raises(ModelError, match="There is no model folder"):
        convert(room / "nothing", "hf", room / "x")
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match="disk space"):
        convert(folder, "hf", room / "x")
    assert sorted(os.walk(room)) == before


def test_a_projector_alone_goes_onto_its_base(room: Path) -> None:
    folder = original(room, "v0")
    base = {
        name: each[:ROWS] if name.endswith(("tokens.weight", "head.weight")) else each
        for name, each in language(ROWS + 4).items()
    }
    write(
        room / "base",
        {**{key: JUNE[key] for key in JUNE if not key.startswith("mm_")}, "model_type": "llama", "vocab_size": ROWS},
        base,
    )
    done = convert(folder, "projector", room / "x")
    assert any(str(room / "eyes") in note for note in done.notes)
    assert {each.name for each in (room / "x").iterdir()} == {"config.json", "mm_projector.safetensors"}
    again, before = open_checkpoint(room / "x", base=room / "base"), open_checkpoint(folder)
    assert again.config.template == "v0"
    assert again.tokenizer.special_ids == before.tokenizer.special_ids
    for name in before.tensors.tensors:
        if name.startswith("multi_modal_projector"):
            assert torch.equal(again.tensors.read(name), before.tensors.read(name))
    embeddings = "language_model.model.embed_tokens.weight"
    assert torch.equal(again.tensors.read(embeddings)[-2:], before.tensors.read(embeddings)[-2:])


def test_a_tower_that_is_nowhere_else_comes_along(room: Path) -> None:
    folder = original(room, "1.6", tower("model.vision_tower.vision_tower.", seed=8))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "unfreeze_mm_vision_tower": True}))
    plain = {key: value for key, value in NEWEST.items() if not key.startswith("mm_")}
    write(room / "base", {**plain, "model_type": "llama", "vocab_size": ROWS}, language(ROWS))
    convert(folder, "projector", room / "x")
    (room / "eyes").rename(room / "away")
    again = open_checkpoint(room / "x", base=room / "base")
    name = "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight"
    assert torch.equal(again.tensors.read(name), open_checkpoint(folder, towers={"": room / "away"}).tensors.read(name))


@pytest.mark.parametrize(
    "named", ["x/..", "../../evil", "/etc/passwd", "a/config.json", ".", "a\\..\\b", "vision/tower"]
)
def test_a_towers_name_leads_nowhere_else(room: Path, named: str) -> None:
    folder = original(room, "1.5")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "mm_vision_tower": named}))
    convert(folder, "original", room / "deep" / "x", towers={"": room / "eyes"})
    made = {each.relative_to(room / "deep") for each in (room / "deep").rglob("preprocessor_config.json")}
    assert len(made) == 1 and all(each.parts[0] == "x" and len(each.parts) == 3 for each in made)
    assert open_checkpoint(room / "deep" / "x").found.tower == "in the checkpoint"


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    yield
