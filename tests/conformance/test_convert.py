"""The fixtures converted: to transformers and back, token for token and bit for bit; adapters folded in."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.model.config import MptConfig
from llava_engine.opening import Placement
from llava_engine.pictures.opening import Picture
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures
from tests.conformance.odd_pictures import plain_pictures
from tests.llava_engine import hf_oracle

pytestmark = needs_fixtures

FORWARDS = sorted(path.name for path in (FIXTURES / "goldens").glob("forward_*.json"))
TOWER = "model.vision_tower.vision_tower."


@cache
def opened(name: str) -> Checkpoint:
    """The checkpoint of a forward golden."""
    base = golden(name).get("base")
    return open_checkpoint(FIXTURES / golden(name)["checkpoint"], base=FIXTURES / base if base else None)


def is_mpt(name: str) -> bool:
    return isinstance(opened(name).config.language, MptConfig)


def pictures() -> list[Picture]:
    """Two of different shapes that everybody reads alike."""
    found = plain_pictures()
    return [found[0], found[-1]]


def logits(checkpoint: Checkpoint) -> torch.Tensor:
    """Of a prompt with noise for a picture."""
    config = checkpoint.config
    model = load_for_inference(config, checkpoint.tensors, Placement(device="cpu", dtype="float32")).model
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randn(1, 3, config.vision.image_size, config.vision.image_size, generator=generator)
    ids = torch.tensor([[1, 50, *[config.image_token_id] * config.picture_tokens, 60, 70, 80]])
    with torch.inference_mode():
        x = model.embed(ids, model.encode_pictures(pixels).flatten(0, 1))
        return model.language_model.logits(model.language_model(x, torch.arange(ids.shape[1])))


@pytest.mark.parametrize("name", FORWARDS)
def test_transformers_computes_the_same(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name)
    if is_mpt(name):
        with pytest.raises(ModelError, match="no place for an MPT"):
            convert(checkpoint.folder, "hf", tmp_path / "x")
        assert not list(tmp_path.iterdir())
        return
    convert(checkpoint.folder, "hf", tmp_path / "x", base=checkpoint.found.base)
    # What the fixtures' README allows: prompts with tiles are long, and a wider model's sums are larger.
    hf_oracle.check(checkpoint, tmp_path / "x", pictures(), atol=1e-4)


@pytest.mark.parametrize("name", FORWARDS)
def test_there_and_back_nothing_changes(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name)
    direct, hf, back = tmp_path / "direct", tmp_path / "hf", tmp_path / "back"
    convert(checkpoint.folder, "original", direct, base=checkpoint.found.base)
    ways = [direct]
    if not is_mpt(name):
        convert(checkpoint.folder, "hf", hf, base=checkpoint.found.base)
        convert(hf, "original", back)
        ways += [hf, back]
    before = logits(checkpoint)
    for folder in ways:
        again = open_checkpoint(folder)
        assert again.found.tower == "in the checkpoint"
        assert again.template == checkpoint.template
        assert again.preprocessing == checkpoint.preprocessing
        rows = checkpoint.config.language.vocab_size
        torch.testing.assert_close(logits(again)[..., :rows], before, rtol=0, atol=1e-5)
    if not is_mpt(name):
        one, other = TensorFiles(direct), TensorFiles(back)
        assert one.tensors.keys() == other.tensors.keys()
        for each, stored in one.tensors.items():
            there = other.tensors[each]
            if each.endswith("inv_freq"):  # Hugging Face's layout has none: computed again
                continue
            assert (stored.shape, stored.dtype) == (there.shape, there.dtype), each
            assert torch.equal(one.read(each), other.read(each)), each


@pytest.mark.parametrize("name", [name for name in FORWARDS if (FIXTURES / "manifest.json").exists()])
def test_the_originals_layout_is_that_of_its_own_files(name: str, tmp_path: Path) -> None:
    """Names, shapes, dtypes and values of tensors, keys of config.json, ids of tokens, from Hugging Face's layout."""
    checkpoint = opened(name)
    if checkpoint.found.form != "whole" or is_mpt(name):
        return
    convert(checkpoint.folder, "hf", tmp_path / "hf")
    convert(tmp_path / "hf", "original", tmp_path / "back")
    own, made = TensorFiles(checkpoint.folder), TensorFiles(tmp_path / "back")
    language = {each for each in own.tensors if "vision_tower" not in each}
    assert {each for each in made.tensors if not each.startswith(TOWER)} == language
    for each in language:
        assert made.tensors[each].shape == own.tensors[each].shape
        if each.endswith("inv_freq"):  # computed again, since Hugging Face's layout has none
            torch.testing.assert_close(made.read(each), own.read(each).float(), rtol=1e-3, atol=0)
            continue
        assert made.tensors[each].dtype == own.tensors[each].dtype
        assert torch.equal(made.read(each), own.read(each)), each

    before = json.loads((checkpoint.folder / "config.json").read_text())
    after = json.loads((tmp_path / "back" / "config.json").read_text())
    of_files = {"_name_or_path", "transformers_version"}
    of_training = {"mm_projector_lr", "mm_resampler_type", "mm_vision_tower_lr", "unfreeze_mm_vision_tower"}
    assert not before.keys() - after.keys() - of_files - of_training
    same = {"mm_vision_tower", "model_type", "initializer_range", "pad_token_id", "tokenizer_model_max_length"}
    for key in before.keys() - of_files - of_training - same - {"use_cache"}:
        assert after[key] == before[key], key
    assert open_checkpoint(tmp_path / "back").tokenizer.special_ids == checkpoint.tokenizer.special_ids
    for file in ("tokenizer.model", "added_tokens.json"):
        assert (tmp_path / "back" / file).exists() == (checkpoint.folder / file).exists()


@pytest.mark.parametrize("name", FORWARDS)
def test_merged_needs_no_base_any_more(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name)
    if checkpoint.found.form == "whole":
        with pytest.raises(ModelError, match="nothing to merge"):
            convert(checkpoint.folder, "merged", tmp_path / "x")
        return
    convert(checkpoint.folder, "merged", tmp_path / "x", base=checkpoint.found.base)
    merged = open_checkpoint(tmp_path / "x")
    assert (merged.found.form, merged.found.base, merged.found.layout) == ("whole", None, "original")
    assert merged.found.generation == checkpoint.found.generation
    torch.testing.assert_close(logits(merged), logits(checkpoint), rtol=0, atol=1e-5)


@pytest.mark.parametrize("name", FORWARDS)
def test_a_projector_goes_onto_its_base_again(name: str, tmp_path: Path) -> None:
    checkpoint = opened(name)
    base = checkpoint.found.base
    if base is None:
        return
    convert(checkpoint.folder, "projector", tmp_path / "x", base=base)
    tower = Path(checkpoint.found.tower)
    again = open_checkpoint(tmp_path / "x", base=base, towers={"": tower} if tower.is_dir() else None)
    assert again.found.form == "projector"
    for each in (name for name in checkpoint.tensors.tensors if name.startswith("multi_modal_projector.")):
        assert torch.equal(again.tensors.read(each), checkpoint.tensors.read(each))
    if checkpoint.template.wrap_pictures:
        embeddings = "language_model.model.embed_tokens.weight"
        for mark in ("<im_start>", "<im_end>"):
            row, before = again.tokenizer.special_ids[mark], checkpoint.tokenizer.special_ids[mark]
            assert torch.equal(again.tensors.read(embeddings)[row], checkpoint.tensors.read(embeddings)[before].float())
