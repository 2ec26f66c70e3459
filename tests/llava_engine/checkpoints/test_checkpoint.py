"""Any LLaVA folder is opened by what is in it: generation, template, tower, base; or refused with one clear error."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.checkpoint import Checkpoint, left_out
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.model.llava import LlavaModel
from llava_engine.opening import Placement
from tests.llava_engine.originals import (
    JUNE,
    NEWEST,
    ROWS,
    WIDTH,
    language,
    projector,
    tower,
    write,
    write_tower,
)
from tests.llava_engine.tiny import TINY, complete

V0 = ("[PAD]", "<im_patch>", "<im_start>", "<im_end>")
WRAPPED = {"mm_use_im_start_end": True}


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_tower(tmp_path / "eyes")
    return tmp_path


def whole(folder: Path, config: dict[str, Any], layers: int, added: tuple[str, ...] = (), **more: Any) -> Path:
    tensors = {**language(ROWS + len(added)), **projector(layers), **more}
    return write(folder, {**config, "vocab_size": ROWS + len(added)}, tensors, added=added)


def logits(checkpoint: Checkpoint) -> torch.Tensor:
    model: LlavaModel = load_for_inference(checkpoint.config, checkpoint.tensors, Placement(device="cpu")).model
    generator = torch.Generator().manual_seed(5)
    pixels = torch.randn(1, 3, 28, 28, generator=generator)
    ids = torch.tensor([[1, 300, *[checkpoint.config.image_token_id] * 4, 280, 290]])
    return model(ids, pixels)


def test_generations_are_told_by_content(room: Path) -> None:
    june = {**JUNE, **WRAPPED}
    made = {
        ("v0", "v0", True): whole(room / "a", june, 1, V0),
        ("v0 ScienceQA", "sqa", False): whole(room / "b", JUNE, 1, V0[:2]),
        ("v1", "v1-june", True): whole(room / "c", june, 1, V0[1:]),
        ("1.5", "v1", False): whole(room / "d", NEWEST, 2),
        ("1.5", "chatml", False): whole(room / "e", NEWEST, 2, ("<|im_start|>", "<|im_end|>")),
    }
    for (generation, template, wrapped), folder in made.items():
        checkpoint = open_checkpoint(folder)
        assert (checkpoint.found.generation, checkpoint.config.template) == (generation, template)
        assert checkpoint.template.wrap_pictures is wrapped
        assert checkpoint.found.layout == "original"
        assert logits(checkpoint).shape == (1, 8, checkpoint.config.language.vocab_size)


def test_a_folders_name_says_nothing(room: Path) -> None:
    folder = whole(room / "llava-v1.5-mpt-lora", {**JUNE, **WRAPPED}, 1, V0)
    named = open_checkpoint(folder)
    shutil.copytree(folder, room / "x")
    renamed = open_checkpoint(room / "x")
    assert (named.found, named.config) == (renamed.found, renamed.config)


def test_a_template_that_one_asks_for_wins_and_is_said(room: Path) -> None:
    folder = whole(room / "a", NEWEST, 2)
    checkpoint = open_checkpoint(folder, template="mistral")
    assert checkpoint.template.name == "mistral"
    assert "asked" in checkpoint.found.template_why and "v1" in checkpoint.found.template_why
    with pytest.raises(ModelError, match="no conversation template"):
        open_checkpoint(folder, template="nonsense")


def test_the_tower_is_found_beside_by_a_map_or_in_the_file(room: Path, tmp_path: Path) -> None:
    folder = whole(room / "a", NEWEST, 2)
    beside = open_checkpoint(folder)
    assert beside.found.tower == str(room / "eyes")

    (room / "eyes").rename(room / "moved")
    with pytest.raises(ModelError, match="somewhere/eyes") as told:
        open_checkpoint(folder)
    assert "--tower" in told.value.remedy
    for key in ("somewhere/eyes", ""):
        mapped = open_checkpoint(folder, towers={key: room / "moved"})
        assert torch.equal(logits(mapped), logits(beside))

    for prefix in ("model.vision_tower.", "model.vision_tower.vision_tower."):
        inside = open_checkpoint(whole(tmp_path / prefix, NEWEST, 2, (), **tower(prefix)))
        assert inside.found.tower == "in the checkpoint"
        assert inside.config.vision == beside.config.vision
        assert torch.equal(logits(inside), logits(beside))


def test_a_frozen_towers_copy_is_left_out_and_a_trained_one_is_used(room: Path) -> None:
    other = tower("model.vision_tower.", seed=9)
    frozen = open_checkpoint(whole(room / "a", NEWEST, 2, (), **other))
    trained = open_checkpoint(whole(room / "b", {**NEWEST, "unfreeze_mm_vision_tower": True}, 2, (), **other))
    plain = open_checkpoint(whole(room / "c", NEWEST, 2))
    assert torch.equal(logits(frozen), logits(plain))
    assert not torch.equal(logits(trained), logits(plain))
    assert any("copy" in note for note in frozen.found.notes)


def test_a_whole_clip_serves_as_a_tower(room: Path) -> None:
    plain = logits(open_checkpoint(whole(room / "a", NEWEST, 2)))
    config = json.loads((room / "eyes" / "config.json").read_text())
    (room / "eyes" / "config.json").write_text(json.dumps({"model_type": "clip", "vision_config": config}))
    tensors = load_file(room / "eyes" / "model.safetensors")
    rest = {name: torch.zeros(2) for name in ("text_model.embeddings.x", "logit_scale", "visual_projection.weight")}
    save_file({**tensors, **rest}, room / "eyes" / "model.safetensors")
    assert torch.equal(logits(open_checkpoint(room / "a")), plain)


def test_what_is_left_out_has_a_reason(room: Path) -> None:
    tables = {f"model.layers.{layer}.self_attn.rotary_emb.inv_freq": torch.ones(4) for layer in range(2)}
    reasons = left_out(open_checkpoint(whole(room / "a", NEWEST, 2, (), **tables)))
    assert len(reasons) == 3 and all(reasons.values())  # two tables and the tower's position_ids
    with pytest.raises(ModelError, match="surprise"):
        logits(open_checkpoint(whole(room / "b", NEWEST, 2, (), **{"model.surprise": torch.ones(1)})))


def test_the_tensors_say_how_many_tokens_there_are(room: Path) -> None:
    folder = write(room / "a", {**NEWEST, "vocab_size": 77}, {**language(ROWS), **projector(2)})
    checkpoint = open_checkpoint(folder)
    assert checkpoint.config.language.vocab_size == ROWS
    assert any("77" in note for note in checkpoint.found.notes)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"num_hidden_layers": 3}, "3 layers"),
        ({"num_hidden_layers": 10**9}, "layers"),
        ({"mm_hidden_size": 1024}, "1024"),
        ({"mm_projector_type": "mlp3x_gelu"}, "mlp3x_gelu"),
        ({"mm_vision_select_feature": "all"}, "all"),
        ({"mm_vision_select_layer": "last"}, "last"),
        ({"image_aspect_ratio": "round"}, "round"),
        ({"image_aspect_ratio": "anyres", "image_grid_pinpoints": "open('x')"}, "pinpoints"),
        ({"mm_use_im_start_end": True, "mm_projector_type": "linear"}, "tokens"),
        ({"rope_scaling": {"type": "linear", "factor": 4}}, "linear"),
    ],
)
def test_a_config_that_contradicts_or_is_not_supported_is_refused(
    room: Path, config: dict[str, Any], expected: str
) -> None:
    with pytest.raises(ModelError, match=expected):
        logits(open_checkpoint(whole(room / "a", {**NEWEST, **config}, 2)))


def test_a_delta_is_refused_with_the_command_that_applies_it(room: Path) -> None:
    tensors = {**language(ROWS), **projector(2)}
    tensors["model.norm.weight"] = 0.001 * tensors["model.norm.weight"]
    with pytest.raises(ModelError, match="delta") as told:
        open_checkpoint(write(room / "a", NEWEST, tensors))
    assert "llava delta apply" in told.value.remedy


def test_a_language_model_alone_is_refused(room: Path) -> None:
    folder = write(room / "a", {"model_type": "llama", "num_hidden_layers": 2}, language(ROWS))
    with pytest.raises(ModelError, match="without a vision tower"):
        open_checkpoint(folder)


def test_a_projector_over_a_base_is_the_whole_model(room: Path) -> None:
    base = write(room / "base", {"model_type": "llama", "num_hidden_layers": 2}, language(ROWS))
    alone = write(room / "alone", {**NEWEST, "vocab_size": ROWS}, {}, names=False)
    torch.save(projector(2), alone / "mm_projector.bin")
    with pytest.raises(ModelError, match="base model"):
        open_checkpoint(alone)
    joined = open_checkpoint(alone, base=base)
    assert (joined.found.form, joined.found.base, joined.config.template) == ("projector", base, "plain")
    assert torch.equal(logits(joined), logits(open_checkpoint(whole(room / "whole", NEWEST, 2))))


def test_an_adapter_over_a_base_is_the_merged_model(room: Path) -> None:
    base = write(room / "base", {"model_type": "llama", "num_hidden_layers": 2}, language(ROWS))
    adapter = write(room / "adapter", {**NEWEST, "vocab_size": ROWS, "_name_or_path": "base"}, {}, names=False)
    settings = {"base_model_name_or_path": "base", "peft_type": "LORA", "r": 2, "lora_alpha": 6}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    name = "model.layers.1.self_attn.q_proj"
    down, up = torch.randn(2, WIDTH) * 0.1, torch.randn(WIDTH, 2) * 0.1
    pair = {f"base_model.model.{name}.lora_A.weight": down, f"base_model.model.{name}.lora_B.weight": up}
    torch.save(pair, adapter / "adapter_model.bin")
    rest = {f"base_model.model.{key}": tensor for key, tensor in projector(2).items()}
    torch.save(rest, adapter / "non_lora_trainables.bin")

    merged = {**language(ROWS), **projector(2)}
    merged[f"{name}.weight"] = merged[f"{name}.weight"] + 3 * (up @ down)
    expected = logits(open_checkpoint(write(room / "merged", {**NEWEST, "vocab_size": ROWS}, merged)))
    opened = open_checkpoint(adapter)
    assert (opened.found.form, opened.found.base) == ("adapter", base)
    torch.testing.assert_close(logits(opened), expected, atol=1e-5, rtol=0)


def test_our_own_layout_is_opened_as_before(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(complete(TINY, tmp_path / "x"))
    assert (checkpoint.found.generation, checkpoint.found.layout) == ("llava-hf 1.5", "hf")
    assert checkpoint.config.template == "v1"
    assert checkpoint.found.tower == "in the checkpoint"


def test_onevision_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llava_onevision", "text_config": {}}))
    with pytest.raises(ModelError, match="OneVision"):
        open_checkpoint(tmp_path)


def test_v0_is_known_by_its_padding_where_it_has_no_token_for_it(room: Path) -> None:
    folder = whole(room / "a", {**JUNE, **WRAPPED}, 1, V0[1:])
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"pad_token": "</s>"}))
    checkpoint = open_checkpoint(folder)
    assert (checkpoint.found.generation, checkpoint.config.template) == ("v0", "v0")
