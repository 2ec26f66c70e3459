"""Deltas against plain tensor arithmetic: bit-exact both ways."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file
from torch import Tensor

from llava_engine.checkpoints.delta import delta
from tests.llava_engine.checkpoints.delta.deltas import (
    BASE_CONFIG,
    INTEGERS,
    after,
    base_tensors,
    difference,
    read,
    same_bits,
    target_tensors,
    total,
)
from tests.llava_engine.originals import JUNE, write


def test_apply_is_the_sum_with_the_deltas_config_and_tokenizer(tmp_path: Path, base: Path, change: Path) -> None:
    written = delta.apply(base, change, tmp_path / "made", shard_bytes=20_000)
    assert same_bits(read(tmp_path / "made"), total(read(change), read(base)))
    assert len(list((tmp_path / "made").glob("model-*.safetensors"))) > 1
    for name in ("config.json", "tokenizer.json"):
        assert (tmp_path / "made" / name).read_bytes() == (change / name).read_bytes()
    assert written.folder == tmp_path / "made"
    assert written.tensors == len(read(change))
    assert written.bytes == sum(tensor.nbytes for tensor in read(change).values())


def test_sharded_bins_and_safetensors_are_read_alike(tmp_path: Path, base: Path, change: Path) -> None:
    sharded = write(tmp_path / "sharded", BASE_CONFIG, {})
    table = {}
    for number, (name, tensor) in enumerate(read(base).items()):
        file = f"pytorch_model-{number}.bin"
        torch.save({name: tensor}, sharded / file)
        table[name] = file
    (sharded / "pytorch_model.bin.index.json").write_text(json.dumps({"weight_map": table}))
    assert delta.verify(sharded, change).sha256 == delta.verify(base, change).sha256


def test_the_base_is_rounded_to_the_deltas_dtype_first(tmp_path: Path, change: Path) -> None:
    wide = write(tmp_path / "other", BASE_CONFIG, {name: tensor.float() for name, tensor in base_tensors().items()})
    delta.apply(wide, change, tmp_path / "made")
    assert same_bits(read(tmp_path / "made"), total(read(change), base_tensors()))


def test_make_is_the_originals_difference_and_apply_gives_every_bit_back(
    tmp_path: Path, base: Path, target: Path
) -> None:
    written = delta.make(base, target, tmp_path / "made")
    assert same_bits(read(tmp_path / "made"), difference(read(target), read(base)))
    lossy = total(read(tmp_path / "made"), read(base))
    assert not same_bits(lossy, read(target)), "there is nothing to correct here: a weak test"
    assert written.notes
    delta.apply(base, tmp_path / "made", tmp_path / "again")
    assert same_bits(read(tmp_path / "again"), read(target))
    for name, tensor in read(target).items():  # who does not know the corrections is not far off
        torch.testing.assert_close(lossy[name], tensor, rtol=2**-10, atol=2**-10 * 0.6)


@given(st.sampled_from(list(INTEGERS)), st.integers(0, 2**32), st.integers(1, 3), st.integers(0, 2))
def test_any_two_bit_patterns_come_back(
    tmp_path_factory: pytest.TempPathFactory, dtype: torch.dtype, seed: int, rows: int, more: int
) -> None:
    """NaN, infinities, minus zero, subnormal numbers and all that lies far apart."""
    generator = torch.Generator().manual_seed(seed)
    integers = INTEGERS[dtype]
    most = torch.iinfo(integers)

    def draw(count: int) -> Tensor:
        return torch.randint(most.min, most.max, (count, 7), generator=generator, dtype=integers).view(dtype)

    folder = tmp_path_factory.mktemp("bits")
    base = write(folder / "base", BASE_CONFIG, {"model.embed_tokens.weight": draw(rows), "x": draw(5)}, names=False)
    tensors = {"model.embed_tokens.weight": draw(rows + more), "x": draw(5), "model.mm_projector.weight": draw(2)}
    target = write(folder / "target", JUNE, tensors, names=False)
    delta.make(base, target, folder / "made")
    delta.apply(base, folder / "made", folder / "again")
    assert same_bits(load_file(folder / "again" / "model.safetensors"), tensors)


def test_numbers_past_the_first_piece_are_corrected_too(
    tmp_path: Path, base: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_engine.checkpoints.delta.sums.PIECE_BYTES", 512)
    delta.make(base, target, tmp_path / "made", shard_bytes=9000)
    slow = after(0, lambda _: time.sleep(0.0005))  # so that what works ahead is as far ahead as it may be
    delta.apply(base, tmp_path / "made", tmp_path / "again", shard_bytes=9000, on_progress=slow)
    assert same_bits(read(tmp_path / "again"), read(target))


def test_rotary_frequencies_are_added_where_the_base_has_them_and_never_left_at_zero(
    tmp_path: Path, base: Path
) -> None:
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    frequencies = torch.tensor([1.0, 0.1])
    change = difference(target_tensors(base_tensors()), base_tensors()) | {name: torch.zeros(2)}
    with_zeros = write(tmp_path / "change", JUNE, change)
    old = write(tmp_path / "other", BASE_CONFIG, base_tensors() | {name: frequencies})
    delta.apply(old, with_zeros, tmp_path / "one")
    assert torch.equal(read(tmp_path / "one")[name], frequencies)
    written = delta.apply(base, with_zeros, tmp_path / "two")
    assert name not in read(tmp_path / "two")
    assert any("frequencies" in note for note in written.notes)


def test_another_family_and_a_tower_inside(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(4)
    table, more = torch.randn(9, 8, generator=generator).half(), torch.randn(11, 8, generator=generator).half()
    blocks = torch.randn(90, 40, generator=generator).half()
    base = write(
        tmp_path / "base", {}, {"transformer.wte.weight": table, "transformer.blocks.0.ffn.up_proj.weight": blocks}
    )
    own = {
        "transformer.mm_projector.weight": torch.ones(8, 4, dtype=torch.float16),
        "model.vision_tower.vision_model.embeddings.position_ids": torch.arange(5)[None],
        "model.image_newline": torch.ones(8, dtype=torch.bfloat16),
    }
    tensors = {"transformer.wte.weight": more, "transformer.blocks.0.ffn.up_proj.weight": blocks * 2} | own
    delta.make(base, write(tmp_path / "target", {}, tensors), tmp_path / "made")
    made = read(tmp_path / "made")
    assert same_bits({name: made[name] for name in own}, own)
    assert torch.equal(made["transformer.wte.weight"][9:], more[9:])
    delta.apply(base, tmp_path / "made", tmp_path / "again")
    assert same_bits(read(tmp_path / "again"), tensors)
