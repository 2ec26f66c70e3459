"""A delta is applied only over its own base, and what else is given is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError
from tests.llava_engine.checkpoints.delta.deltas import (
    BASE_CONFIG,
    MORE,
    base_tensors,
    halves,
    nothing_new,
    read,
    refused,
    same_bits,
    target_tensors,
    total,
    tuned,
)
from tests.llava_engine.originals import JUNE, LAYERS, WIDTH, language, write


@pytest.mark.parametrize(
    "seed_or_amount", [7, 0.002, 0.01, 0.1], ids=["unrelated", "hardly tuned", "tuned", "much tuned"]
)
def test_a_base_of_the_same_shapes_but_other_numbers_is_refused(
    tmp_path: Path, change: Path, seed_or_amount: float
) -> None:
    right = base_tensors()
    wrong = base_tensors(seed_or_amount) if isinstance(seed_or_amount, int) else tuned(right, seed_or_amount, seed=9)
    other = write(tmp_path / "other", BASE_CONFIG, wrong)
    refused(tmp_path, other, change, "not the model that this delta was made from")
    written = delta.apply(other, change, tmp_path / "made", force=True)
    assert "not the model" in written.notes[0]
    assert same_bits(read(tmp_path / "made"), total(read(change), wrong))


def test_what_its_config_says_of_the_base_is_told(tmp_path: Path, change: Path) -> None:
    config = BASE_CONFIG | {"max_position_embeddings": 4096}
    other = write(tmp_path / "other", config, base_tensors(7))
    refused(tmp_path, other, change, "512 positions, this one 4,096")


def test_a_right_base_is_right_whatever_its_config_says(tmp_path: Path, change: Path) -> None:
    other = write(tmp_path / "other", BASE_CONFIG | {"max_position_embeddings": 4096}, base_tensors())
    assert "made from" in delta.apply(other, change, tmp_path / "made").notes[0]


def test_a_delta_that_was_rounded_later_can_not_tell_its_base_and_says_so(tmp_path: Path, base: Path) -> None:
    wide = {name: tensor.float() for name, tensor in base_tensors().items()}
    generator = torch.Generator().manual_seed(2)
    change = {name: (0.001 * torch.randn(tensor.shape, generator=generator)).half() for name, tensor in wide.items()}
    other = write(tmp_path / "change", JUNE, change)
    assert "can not be told" in delta.apply(base, other, tmp_path / "made").notes[0]
    foreign = write(tmp_path / "other", BASE_CONFIG | {"rms_norm_eps": 1e-5}, base_tensors())
    with pytest.raises(ModelError, match="1e-06 as rms_norm_eps, this one 1e-05"):
        delta.apply(foreign, other, tmp_path / "more")


def test_our_own_delta_knows_its_base(tmp_path: Path, base: Path, target: Path) -> None:
    delta.make(base, target, tmp_path / "made")
    nearly = base_tensors()
    nearly["model.norm.weight"][3] += 1
    other = write(tmp_path / "other", BASE_CONFIG, nearly)
    with pytest.raises(ModelError, match=r"model\.norm\.weight first; meant is 2 layers, 32 wide"):
        delta.apply(other, tmp_path / "made", tmp_path / "more")


def test_a_base_of_another_size_is_named(tmp_path: Path, change: Path) -> None:
    fewer = {name: tensor for name, tensor in base_tensors().items() if ".layers.1." not in name}
    refused(tmp_path, write(tmp_path / "other", BASE_CONFIG, fewer), change, rf"1 layers.*belongs to.*{LAYERS} layers")
    narrow = {
        name: tensor[..., : WIDTH // 2].contiguous() if tensor.dim() else tensor
        for name, tensor in base_tensors().items()
    }
    refused(tmp_path, write(tmp_path / "base", BASE_CONFIG, narrow), change, "16 wide.*belongs to.*32 wide")


def test_sizes_have_the_names_that_people_know(tmp_path: Path) -> None:
    def model(folder: str, layers: int, width: int) -> Path:
        tensors = {f"model.layers.{n}.input_layernorm.weight": torch.ones(width) for n in range(layers)}
        return write(tmp_path / folder, {}, tensors | {"model.embed_tokens.weight": torch.ones(3, width)}, names=False)

    refused(tmp_path, model("base", 32, 4096), model("change", 40, 5120), "is a 7B .*belongs to a 13B")


@pytest.mark.parametrize(
    ("taken", "given"),
    [("model.layers.0.mlp.up_proj.weight", None), (None, "model.layers.0.mlp.gate_up.weight"), (None, "score.weight")],
)
def test_a_base_with_fewer_or_more_tensors_is_refused_by_their_name(
    tmp_path: Path, change: Path, taken: str | None, given: str | None
) -> None:
    tensors = base_tensors()
    if taken:
        del tensors[taken]
    if given:
        tensors[given] = torch.ones(2, dtype=torch.float16)
    refused(tmp_path, write(tmp_path / "other", BASE_CONFIG, tensors), change, str(taken or given))


def test_a_base_with_more_rows_than_the_delta_is_refused(tmp_path: Path, change: Path) -> None:
    other = write(tmp_path / "other", BASE_CONFIG, halves(language(MORE + 1)))
    refused(tmp_path, other, change, "304 × 32 in the base and 303 × 32 in the delta")


def test_a_delta_applied_twice_is_refused(tmp_path: Path, target: Path, change: Path) -> None:
    refused(tmp_path, target, change, "LLaVA already")


def test_a_whole_model_in_place_of_a_delta_is_refused(tmp_path: Path, base: Path, target: Path) -> None:
    refused(tmp_path, base, target, "whole model, not a delta")


def test_a_tensor_that_is_no_number_is_refused(tmp_path: Path) -> None:
    base = write(tmp_path / "base", BASE_CONFIG, {"mask": torch.ones(3, dtype=torch.bool)}, names=False)
    change = write(tmp_path / "change", JUNE, {"mask": torch.ones(3, dtype=torch.bool)}, names=False)
    refused(tmp_path, base, change, "mask is stored as torch.bool")


def test_another_layout_is_refused_with_what_to_do(tmp_path: Path, base: Path) -> None:
    tensors = {f"language_model.{name}": tensor for name, tensor in target_tensors(base_tensors()).items()}
    with pytest.raises(ModelError, match="llava convert"):
        delta.make(base, write(tmp_path / "target", JUNE, tensors), tmp_path / "made")
    assert nothing_new(tmp_path)
