"""What PEFT and other libraries write around a model's names is read through, and folds as they compute it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import load_for_inference, match
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.checkpoints.tensor_names import canonical
from llava_engine.errors import ModelError
from llava_engine.model.skeleton import skeleton
from llava_engine.opening import Placement
from tests.llava_engine.originals import (
    LLAMA,
    NEWEST,
    ROWS,
    SEES,
    WIDTH,
    language,
    projector,
    tower,
    write,
    write_tower,
)
from tests.llava_engine.tiny import TINY, complete

RANK, ALPHA = 3, 12
SETTINGS = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": "base"}
HEAD, EMBEDDINGS = "language_model.lm_head.weight", "language_model.model.embed_tokens.weight"
Q = "vision_tower.vision_model.encoder.layers.1.self_attn.q_proj"


def drawn(*shape: int, seed: int = 5) -> Tensor:
    return 0.3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def peft(folder: Path, tensors: dict[str, Tensor], prefix: str = "base_model.model.", **settings: Any) -> Path:
    """An adapter as PEFT alone saves it."""
    folder.mkdir()
    (folder / "adapter_config.json").write_text(json.dumps({**SETTINGS, **settings}))
    save_file({prefix + name: each for name, each in tensors.items()}, folder / "adapter_model.safetensors")
    return folder


def original(folder: Path, tensors: dict[str, Tensor], rest: dict[str, Tensor] | None, **settings: Any) -> Path:
    """An adapter as the original's training saves it."""
    peft(folder, tensors, **settings)
    (folder / "config.json").write_text(json.dumps({**NEWEST, "vocab_size": ROWS}))
    if rest is not None:
        prefixed = {f"base_model.model.{name}": each for name, each in rest.items()}
        torch.save(prefixed, folder / "non_lora_trainables.bin")
    return folder


@pytest.fixture
def hf(tmp_path: Path) -> Path:
    """A whole LLaVA in Hugging Face's layout."""
    return complete(TINY, tmp_path / "base")


@pytest.fixture
def tied(tmp_path: Path) -> Path:
    """One whose head is its embeddings."""
    language = replace(TINY.language, tie_word_embeddings=True)
    return complete(replace(TINY, language=language), tmp_path / "base")


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A bare language model, and a tower beside it."""
    write_tower(tmp_path / "eyes")
    return write(tmp_path / "base", {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, language(ROWS))


def stored(folder: Path) -> dict[str, Tensor]:
    return load_file(folder / "model.safetensors")


def loads(checkpoint: Checkpoint) -> None:
    match(skeleton(checkpoint.config), checkpoint.config, checkpoint.tensors)
    load_for_inference(checkpoint.config, checkpoint.tensors, Placement(device="cpu"))


def refused(folder: Path, **more: Any) -> ModelError:
    with pytest.raises(ModelError) as told:
        open_checkpoint(folder, **more)
    return told.value


# Layers that keep their own weight under another name


def test_a_head_and_embeddings_that_bring_their_own_weight(hf: Path) -> None:
    rows, width = stored(hf)[HEAD].shape
    head, words = drawn(rows, width, seed=1), stored(hf)[EMBEDDINGS] + 0.01 * drawn(rows, width, seed=2)
    down, up, across, along = drawn(RANK, width), drawn(rows, RANK), drawn(RANK, rows), drawn(width, RANK)
    adapter = {
        "lm_head.base_layer.weight": head,
        "lm_head.lora_A.weight": down,
        "lm_head.lora_B.weight": up,
        "model.language_model.embed_tokens.base_layer.weight": words,
        "model.language_model.embed_tokens.lora_embedding_A": across,
        "model.language_model.embed_tokens.lora_embedding_B": along,
    }
    opened = open_checkpoint(peft(hf.parent / "x", adapter))
    torch.testing.assert_close(opened.tensors.read(HEAD), head + ALPHA / RANK * up @ down)
    torch.testing.assert_close(opened.tensors.read(EMBEDDINGS), words + ALPHA / RANK * (along @ across).T)
    loads(opened)


def test_a_change_of_a_tied_head_leaves_the_embeddings_and_the_other_way_round(tied: Path) -> None:
    words = stored(tied)[EMBEDDINGS]
    rows, width = words.shape
    down, up, across, along = drawn(RANK, width), drawn(rows, RANK), drawn(RANK, rows), drawn(width, RANK)
    pair = {"lm_head.lora_A.weight": down, "lm_head.lora_B.weight": up}
    for name, adapter in {"alone": pair, "its own": {**pair, "lm_head.base_layer.weight": words.clone()}}.items():
        opened = open_checkpoint(peft(tied.parent / name, adapter))
        torch.testing.assert_close(opened.tensors.read(HEAD), words + ALPHA / RANK * up @ down)
        assert torch.equal(opened.tensors.read(EMBEDDINGS), words)
        assert not opened.config.language.tie_word_embeddings
        loads(opened)
    place = "model.language_model.embed_tokens.lora_embedding_"
    opened = open_checkpoint(peft(tied.parent / "words", {f"{place}A": across, f"{place}B": along}))
    torch.testing.assert_close(opened.tensors.read(EMBEDDINGS), words + ALPHA / RANK * (along @ across).T)
    assert torch.equal(opened.tensors.read(HEAD), words)
    loads(opened)
    saved = open_checkpoint(
        peft(
            tied.parent / "saved",
            {"model.language_model.embed_tokens.weight": words * 1.01},
            modules_to_save=["embed_tokens"],
        )
    )
    assert torch.equal(saved.tensors.read(HEAD), words) and not saved.config.language.tie_word_embeddings
    untouched = open_checkpoint(peft(tied.parent / "none", {"multi_modal_projector.linear_1.bias": drawn(width)}))
    assert untouched.config.language.tie_word_embeddings


def test_rows_of_tied_embeddings_are_the_heads_too(tied: Path) -> None:
    words = stored(tied)[EMBEDDINGS]
    rows = drawn(2, words.shape[1])
    adapter = {"model.language_model.embed_tokens.token_adapter.trainable_tokens_delta": rows}
    opened = open_checkpoint(peft(tied.parent / "x", adapter, trainable_token_indices={"embed_tokens": [4, 9]}))
    assert opened.config.language.tie_word_embeddings
    assert torch.equal(opened.tensors.read(EMBEDDINGS)[[4, 9]], rows)
    loads(opened)
    width = words.shape[1]
    head = {"lm_head.lora_A.weight": drawn(RANK, width), "lm_head.lora_B.weight": drawn(len(words), RANK)}
    both = peft(tied.parent / "both", adapter | head, trainable_token_indices={"embed_tokens": [4, 9]})
    assert "tied" in refused(both).cause


@pytest.mark.parametrize("name", ["", ".default"])
def test_modules_saved_whole_take_the_place_of_the_originals_beside_them(hf: Path, name: str) -> None:
    head, bias = drawn(*stored(hf)[HEAD].shape), drawn(*stored(hf)["multi_modal_projector.linear_2.bias"].shape)
    adapter = {
        f"lm_head.modules_to_save{name}.weight": head,
        "lm_head.original_module.weight": torch.zeros_like(head),
        f"multi_modal_projector.modules_to_save{name}.linear_2.bias": bias,
    }
    opened = open_checkpoint(peft(hf.parent / "x", adapter, modules_to_save=["lm_head", "multi_modal_projector"]))
    assert torch.equal(opened.tensors.read(HEAD), head)
    assert torch.equal(opened.tensors.read("multi_modal_projector.linear_2.bias"), bias)


# Biases


@pytest.mark.parametrize("kind", ["all", "lora_only"])
@pytest.mark.parametrize("wrapped", [".base_layer", ""], ids=["now", "before PEFT 0.6"])
def test_biases_of_a_tower_inside(hf: Path, kind: str, wrapped: str) -> None:
    width = stored(hf)[f"{Q}.bias"].shape[0]
    bias, norm, down, up = drawn(width), drawn(width, seed=2), drawn(RANK, width), drawn(width, RANK)
    adapter = {f"{Q}{wrapped}.bias": bias, f"{Q}.lora_A.weight": down, f"{Q}.lora_B.weight": up}
    other = "vision_tower.vision_model.encoder.layers.0.layer_norm1.bias"
    if kind == "all":
        adapter[other] = norm
    opened = open_checkpoint(peft(hf.parent / "x", adapter, bias=kind))
    assert torch.equal(opened.tensors.read(f"{Q}.bias"), bias)
    assert torch.equal(opened.tensors.read(other), norm if kind == "all" else stored(hf)[other])
    torch.testing.assert_close(opened.tensors.read(f"{Q}.weight"), stored(hf)[f"{Q}.weight"] + ALPHA / RANK * up @ down)
    loads(opened)


def test_a_tower_outside_is_changed_by_what_is_trained_on_it(bare: Path) -> None:
    place = "model.vision_tower." + Q
    bias, down, up = drawn(SEES), drawn(RANK, SEES), drawn(SEES, RANK)
    adapter = {f"{place}.base_layer.bias": bias, f"{place}.lora_A.weight": down, f"{place}.lora_B.weight": up}
    # The original's code writes biases into both files.
    opened = open_checkpoint(
        original(bare.parent / "x", adapter, {**projector(2), f"{place}.base_layer.bias": bias}, bias="all")
    )
    before = tower("vision_tower.")
    torch.testing.assert_close(opened.tensors.read(f"{Q}.weight"), before[f"{Q}.weight"] + ALPHA / RANK * up @ down)
    assert torch.equal(opened.tensors.read(f"{Q}.bias"), bias)
    assert torch.equal(
        opened.tensors.read(Q.replace("q_proj", "k_proj.bias")), before[Q.replace("q_proj", "k_proj.bias")]
    )
    loads(opened)


def test_two_files_that_disagree_on_a_bias_are_refused(bare: Path) -> None:
    bias = projector(2)["model.mm_projector.0.bias"]
    adapter = {"model.mm_projector.0.bias": bias + 1}
    assert "twice" in refused(original(bare.parent / "x", adapter, projector(2), bias="all")).cause


# What is put around


@pytest.mark.parametrize(
    "around",
    ["_orig_mod.{}", "module.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "base_model.model.{}", "LAYER"],
)
def test_a_whole_model_saved_from_inside_a_wrapper(hf: Path, around: str) -> None:
    def spelled(name: str) -> str:
        return name.replace("layers.0.", "layers.0._orig_mod.") if around == "LAYER" else around.format(name)

    tensors = stored(hf)
    save_file({spelled(name): each for name, each in tensors.items()}, hf / "model.safetensors")
    opened = open_checkpoint(hf)
    assert opened.tensors.tensors.keys() == tensors.keys()
    assert all(torch.equal(opened.tensors.read(name), each) for name, each in tensors.items())


AROUND = ["_orig_mod.", "module.", "base_model.model.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module."]
NAMES = [*projector(1), *projector(2), *language(ROWS), *tower("model.vision_tower."), HEAD, EMBEDDINGS, f"{Q}.bias"]


@given(st.sampled_from(NAMES), st.lists(st.sampled_from(AROUND), max_size=6))
def test_whatever_is_put_around_a_name_and_however_often_comes_off(name: str, around: list[str]) -> None:
    assert canonical("".join(around) + name) == canonical(name)
    first, _, rest = name.partition(".")
    inside = "".join(each for each in around if each.startswith("_"))
    assert canonical(f"{first}.{inside}{rest}") == canonical(name)


@pytest.mark.parametrize("prefix", ["_orig_mod.base_model.model.", "module.base_model.model._orig_mod.", ""])
def test_an_adapter_saved_from_inside_a_wrapper(bare: Path, prefix: str) -> None:
    name = "model.layers.1.self_attn.v_proj"
    down, up = drawn(RANK, WIDTH), drawn(WIDTH, RANK)
    folder = original(bare.parent / "x", {}, projector(2))
    pair = {f"{prefix}{name}.lora_A.style.weight": down, f"{prefix}{name}.lora_B.style.weight": up}
    save_file(pair, folder / "adapter_model.safetensors")
    folded = open_checkpoint(folder).tensors.read(f"language_model.{name}.weight")
    torch.testing.assert_close(folded, language(ROWS)[f"{name}.weight"] + ALPHA / RANK * up @ down)


# What is not read, with the true reason


@pytest.mark.parametrize(
    ("tensors", "settings", "words"),
    [
        ({"lora_A.weight": (RANK, 3, 4, 4), "lora_B.weight": (TINY.vision.hidden_size, RANK, 1, 1)}, {}, "convolution"),
        ({"lora_A.weight": (RANK, 9), "lora_B.weight": (9, RANK), "lora_B.bias": (9,)}, {}, "lora_bias"),
        ({"lora_A.weight": (RANK, 9), "lora_B.weight": (9, RANK)}, {"lora_bias": True}, "lora_bias"),
        ({"lora_A.weight": (RANK, 9), "lora_B.weight": (9, RANK)}, {"alora_invocation_tokens": [5]}, "alora"),
    ],
    ids=["convolution", "bias by its tensor", "bias by its setting", "aLoRA"],
)
def test_what_can_not_be_folded_is_named(
    hf: Path, tensors: dict[str, tuple[int, ...]], settings: dict[str, Any], words: str
) -> None:
    place = "vision_tower.vision_model.embeddings.patch_embedding."
    error = refused(peft(hf.parent / "x", {place + name: drawn(*shape) for name, shape in tensors.items()}, **settings))
    assert words in error.cause and "config.json." not in error.cause and "--base" not in error.remedy


def test_dora_over_embeddings_is_named(hf: Path) -> None:
    rows, width = stored(hf)[EMBEDDINGS].shape
    place = "model.language_model.embed_tokens.lora_"
    adapter = {f"{place}embedding_A": drawn(RANK, rows), f"{place}embedding_B": drawn(width, RANK)}
    adapter[f"{place}magnitude_vector.weight"] = drawn(rows)
    assert "DoRA" in refused(peft(hf.parent / "x", adapter, use_dora=True)).cause


# What lies beside


def test_an_adapter_without_its_other_file_says_which(bare: Path) -> None:
    name = "model.layers.0.mlp.gate_proj"
    pair = {f"{name}.lora_A.weight": drawn(RANK, WIDTH), f"{name}.lora_B.weight": drawn(40, RANK)}
    error = refused(original(bare.parent / "x", pair, None))
    assert "non_lora_trainables.bin" in error.cause and "projector" in error.cause
    error = refused(peft(bare.parent / "y", pair))  # as a step in between is: no config.json either
    assert "non_lora_trainables.bin" in error.cause and "what pictures go through" in error.cause


def test_a_base_of_another_name_is_said(bare: Path) -> None:
    name = "model.layers.0.mlp.gate_proj"
    pair = {f"{name}.lora_A.weight": drawn(RANK, WIDTH), f"{name}.lora_B.weight": drawn(40, RANK)}
    folder = original(bare.parent / "x", pair, projector(2))
    assert not any("as its base" in note for note in open_checkpoint(folder, base=bare).found.notes)
    whole = write(bare.parent / "whole", {**NEWEST, "vocab_size": ROWS}, {**language(ROWS), **projector(2)})
    notes = open_checkpoint(folder, base=whole).found.notes
    assert any("adapter_config.json names base as its base" in note for note in notes)
