"""Deltas against plain tensor arithmetic: bit-exact both ways, only over their own base, never half written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor

from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError, StorageError
from llava_engine.files import drafts
from llava_engine.files.tensor_files import TensorFiles
from tests.llava_engine.originals import JUNE, LAYERS, LLAMA, WIDTH, language, projector, write

ROWS, MORE = 300, 303
BASE_CONFIG = {"model_type": "llama", **LLAMA}
INTEGERS = {torch.float16: torch.int16, torch.bfloat16: torch.int16, torch.float32: torch.int32}

Tensors = dict[str, Tensor]


def halves(tensors: Tensors) -> Tensors:
    return {name: tensor.half() for name, tensor in tensors.items()}


def base_tensors(seed: int = 0) -> Tensors:
    return halves(language(ROWS, seed))


def tuned(tensors: Tensors, amount: float = 0.01, seed: int = 5) -> Tensors:
    """As training might leave them."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (tensor.float() + amount * tensor.float().std() * torch.randn(tensor.shape, generator=generator)).half()
        for name, tensor in tensors.items()
    }


def target_tensors(base: Tensors) -> Tensors:
    """A LLaVA of June over a base: three more tokens, and a projector."""
    made = tuned(base) | halves(projector(1))
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        made[name] = torch.cat([made[name], torch.full((MORE - ROWS, WIDTH), 0.25, dtype=torch.float16)])
    return made


def difference(target: Tensors, base: Tensors) -> Tensors:
    """As the original's make_delta: in place, in float16, the base's block at the top left."""
    made = {name: tensor.clone() for name, tensor in target.items()}
    for name, tensor in base.items():
        made[name][tuple(slice(size) for size in tensor.shape)] -= tensor
    return made


def total(change: Tensors, base: Tensors) -> Tensors:
    """As the original's apply_delta."""
    made = {name: tensor.clone() for name, tensor in change.items()}
    for name, tensor in base.items():
        made[name][tuple(slice(size) for size in tensor.shape)] += tensor
    return made


def read(folder: Path) -> Tensors:
    files = TensorFiles(folder)
    return {name: files.read(name) for name in files.tensors}


def same_bits(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(
        tensor.dtype == other[name].dtype
        and tensor.shape == other[name].shape
        and torch.equal(tensor.reshape(-1).view(torch.uint8), other[name].reshape(-1).view(torch.uint8))
        for name, tensor in one.items()
    )


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write(tmp_path / "base", BASE_CONFIG, base_tensors())


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return write(tmp_path / "target", JUNE, target_tensors(base_tensors()), added=("<im_patch>",))


@pytest.fixture
def change(tmp_path: Path) -> Path:
    """Somebody else's delta, in a .bin."""
    folder = write(tmp_path / "change", JUNE, {}, added=("<im_patch>",))
    torch.save(difference(target_tensors(base_tensors()), base_tensors()), folder / "pytorch_model.bin")
    return folder


def nothing_new(tmp_path: Path) -> bool:
    return {path.name for path in tmp_path.iterdir()} <= {"base", "target", "change", "other"}


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
    slow = _after(0, lambda _: time.sleep(0.0005))  # so that what works ahead is as far ahead as it may be
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


# Wrong bases, and other wrong folders


def refused(tmp_path: Path, base: Path, change: Path, says: str, **options: Any) -> None:
    with pytest.raises((ModelError, StorageError), match=says):
        delta.apply(base, change, options.pop("target", tmp_path / "made"), **options)
    assert nothing_new(tmp_path)


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


def test_folders_must_differ(tmp_path: Path, base: Path, change: Path) -> None:
    refused(tmp_path, base, change, "read and written", target=base)
    refused(tmp_path, base, change, "read and written", target=tmp_path / "base" / ".." / "change")
    refused(tmp_path, base, base, "given twice")
    (tmp_path / "other").symlink_to(base)
    refused(tmp_path, base, change, "read and written", target=tmp_path / "other")
    refused(tmp_path, base, tmp_path / "other", "given twice")


def test_a_taken_target_is_refused(tmp_path: Path, base: Path, change: Path, target: Path) -> None:
    before = read(target)
    refused(tmp_path, base, change, "there already", target=target)
    assert same_bits(read(target), before)


def test_a_missing_folder_or_pointers_in_place_of_weights_are_named(tmp_path: Path, base: Path, change: Path) -> None:
    refused(tmp_path, tmp_path / "nowhere", change, "no model folder")
    (change / "pytorch_model.bin").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 99\n"
    )
    refused(tmp_path, base, change, "git lfs pull")


def test_too_small_a_disk_is_said_first(
    tmp_path: Path, base: Path, change: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(drafts.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**6))
    refused(tmp_path, base, change, "disk space")
    with pytest.raises(StorageError, match="disk space"):
        delta.make(base, target, tmp_path / "made")
    assert nothing_new(tmp_path)


@pytest.mark.parametrize("broken", ["record", "missing", "format", "another", "uneven", "floats"])
def test_a_record_that_does_not_fit_is_an_error_of_ours(tmp_path: Path, base: Path, target: Path, broken: str) -> None:
    made = tmp_path / "made"
    delta.make(base, target, made)
    exact = made / "exact.safetensors"
    if broken == "record":
        (made / "delta.json").write_text('{"format": 1, "base": 3}')
    elif broken == "missing":
        exact.unlink()
    elif broken == "format":
        (made / "delta.json").write_text('{"format": 99}')
    elif broken == "uneven":
        save_file({name: tensor[name.endswith(".places") :] for name, tensor in load_file(exact).items()}, exact)
    elif broken == "floats":
        save_file({name: tensor.float() for name, tensor in load_file(exact).items()}, exact)
    else:
        tensors = load_file(exact)
        save_file({name: torch.flip(tensor, (0,)).contiguous() + 1000 for name, tensor in tensors.items()}, exact)
    with pytest.raises(ModelError, match="made"):
        delta.apply(base, made, tmp_path / "again")
    assert not (tmp_path / "again").exists()


# Cut off, and gone on with

KILLED = """
import os, signal, sys
from pathlib import Path
from llava_engine.checkpoints.delta import delta
def tell(at):
    if at.done > at.total * 0.6:
        os.kill(os.getpid(), signal.SIGKILL)
what, *folders = sys.argv[1:]
getattr(delta, what)(*map(Path, folders), shard_bytes=20_000, on_progress=tell)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("what", ["apply", "make"])
def test_a_killed_run_leaves_nothing_under_the_name_and_goes_on(
    tmp_path: Path, base: Path, change: Path, target: Path, what: str
) -> None:
    other = change if what == "apply" else target
    made = tmp_path / "made"
    work = getattr(delta, what)
    command = [sys.executable, "-c", KILLED, what, str(base), str(other), str(made)]
    ended = subprocess.run(
        command, capture_output=True, timeout=120, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not made.exists()
    with pytest.raises(StorageError, match="--resume"):
        work(base, other, made, shard_bytes=20_000)
    kept = {file.name: file.stat().st_ino for file in drafts.unfinished(made).glob("*.safetensors")}
    assert kept
    told: list[int] = []
    work(base, other, made, shard_bytes=20_000, resume=True, on_progress=lambda at: told.append(at.done))
    assert kept.items() <= {file.name: file.stat().st_ino for file in made.iterdir()}.items()
    work(base, other, tmp_path / "at once", shard_bytes=20_000)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "at once").iterdir()
    }
    assert told == sorted(told)
    assert told[-1] == sum(tensor.nbytes for tensor in read(made).values())


def test_nobody_goes_on_over_another_base(tmp_path: Path, base: Path, change: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delta.apply(base, change, tmp_path / "made", shard_bytes=5000, on_progress=_after(3, stop))
    save_file(tuned(base_tensors(), 0.01), base / "model.safetensors")
    with pytest.raises((ModelError, StorageError)):
        delta.apply(base, change, tmp_path / "made", shard_bytes=5000, resume=True, force=True)
    assert not (tmp_path / "made").exists()


def _after(count: int, act: Any) -> Any:
    calls: list[object] = []

    def tell(at: object) -> None:
        calls.append(at)
        if len(calls) > count:
            act(at)

    return tell


# Verify


def test_verify_compares_with_a_target_and_writes_nothing(tmp_path: Path, base: Path, change: Path) -> None:
    delta.apply(base, change, tmp_path / "target")
    same = delta.verify(base, change, tmp_path / "target")
    assert (same.against, same.differing) == ("target", ())
    tensors = load_file(tmp_path / "target" / "model.safetensors")
    tensors["lm_head.weight"][-1, -1] += 1
    del tensors["model.mm_projector.bias"]
    save_file(tensors | {"extra": torch.ones(1)}, tmp_path / "target" / "model.safetensors")
    other = delta.verify(base, change, tmp_path / "target")
    assert set(other.differing) == {"lm_head.weight", "model.mm_projector.bias", "extra"}
    assert other.sha256 == same.sha256
    assert nothing_new(tmp_path)


def test_verify_holds_our_own_delta_to_what_it_says(tmp_path: Path, base: Path, target: Path) -> None:
    delta.make(base, target, tmp_path / "made")
    good = delta.verify(base, tmp_path / "made")
    assert (good.against, good.differing) == ("record", ())
    tensors = load_file(tmp_path / "made" / "model.safetensors")
    tensors["model.norm.weight"][0] += 1
    save_file(tensors, tmp_path / "made" / "model.safetensors")
    assert delta.verify(base, tmp_path / "made").differing == ("model.norm.weight",)


def test_verify_without_anything_to_compare_with_says_so(base: Path, change: Path) -> None:
    assert delta.verify(base, change).against is None


# Memory

PEAK = """
import resource, sys
from pathlib import Path
from llava_engine.checkpoints.delta import delta
import torch, safetensors
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
getattr(delta, sys.argv[1])(*map(Path, sys.argv[2:]))
print((peak() - before) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="counts memory in KiB")
@pytest.mark.parametrize("form", ["bin", "safetensors"])
def test_memory_is_a_few_pieces_whatever_the_size(tmp_path: Path, form: str) -> None:
    big = {"model.layers.0.mlp.up_proj.weight": torch.zeros(192, 2**20, dtype=torch.float16)}  # 384 MiB
    for name, config in (("base", BASE_CONFIG), ("change", JUNE)):
        folder = write(tmp_path / name, config, {}, names=False)
        if form == "bin":
            torch.save(big, folder / "pytorch_model.bin")
        else:
            save_file(big, folder / "model.safetensors")
    del big
    script = tmp_path / "peak.py"
    script.write_text(PEAK)
    command = [sys.executable, str(script), "apply", *(str(tmp_path / name) for name in ("base", "change", "made"))]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 250
