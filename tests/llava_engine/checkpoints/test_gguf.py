"""Random tiny models of every kind as GGUF files: keys by llama.cpp's names, its arithmetic, and nothing half done."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.convert.gguf import pair as pair_module
from llava_engine.checkpoints.convert.gguf.pair import to_gguf
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, StorageError
from llava_engine.opening import Placement
from tests.llava_engine.checkpoints.rooms import write_mpt
from tests.llava_engine.checkpoints.test_convert import ANYRES, original
from tests.llava_engine.gguf_reference import GgufReference
from tests.llava_engine.large import wide, write_large
from tests.llava_engine.originals import LLAMA, NEWEST, ROWS, SIDE, WIDTH, language, projector, write, write_tower
from tests.llava_engine.tiny import SHAPES, SPECIALS, TINY, complete, tokenizer_files

MB = 10**6


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_tower(tmp_path / "eyes")
    return tmp_path


def read(folder: Path) -> tuple[GgufReference, GgufReference]:
    """The language model's file, and the tower's."""
    (mmproj,) = folder.glob("mmproj-*.gguf")
    return GgufReference(folder / mmproj.name.removeprefix("mmproj-")), GgufReference(mmproj)


@torch.inference_mode()
def ours(checkpoint: Checkpoint) -> tuple[Tensor, Tensor, Tensor, list[int]]:
    """Pixels, their features, logits of a prompt with them, and that prompt."""
    config = checkpoint.config
    model = load_for_inference(config, checkpoint.tensors, Placement(device="cpu", dtype="float32")).model
    side = config.vision.image_size
    pixels = torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(5))
    ids = [1, 30, *[config.image_token_id] * config.picture_tokens, 28, 29]
    return pixels, model.encode_pictures(pixels)[0], model(torch.tensor([ids]), pixels)[0], ids


def check(checkpoint: Checkpoint, folder: Path, atol: float = 1e-4) -> None:
    """llama.cpp's arithmetic on the files gives what our modules give."""
    told, seen = read(folder)
    pixels, features, logits, ids = ours(checkpoint)
    torch.testing.assert_close(seen.features(pixels), features, rtol=0, atol=atol)
    numbers = [-200 if number == checkpoint.config.image_token_id else number for number in ids]
    made = told.logits(told.embedded(numbers, seen.features(pixels)))
    torch.testing.assert_close(made, logits, rtol=0, atol=atol)


@pytest.mark.parametrize("kind", ["v0", "v0 without marks", "v1", "1.5", "1.5, more rows than tokens", "last layer"])
def test_originals(room: Path, kind: str) -> None:
    folder = original(room, kind)
    to_gguf(folder, room / "x", kind="f32")
    check(open_checkpoint(folder), room / "x")


@pytest.mark.parametrize("shape", [shape for shape in SHAPES if shape != "class token kept"])
def test_hugging_faces_layout(tmp_path: Path, shape: str) -> None:
    folder = complete(SHAPES[shape], tmp_path / "hf")
    to_gguf(folder, tmp_path / "x", kind="f32")
    check(open_checkpoint(folder), tmp_path / "x")


def test_heads_wider_than_their_share(tmp_path: Path) -> None:
    folder = complete(replace(TINY, language=replace(TINY.language, head_dim=16)), tmp_path / "hf")
    to_gguf(folder, tmp_path / "x", kind="f32")
    check(open_checkpoint(folder), tmp_path / "x")
    told, _ = read(tmp_path / "x")
    assert told.of("attention.key_length") == told.of("attention.value_length") == told.of("rope.dimension_count") == 16


def test_two_layers_with_nothing_between(room: Path) -> None:
    convert(original(room, "v1"), "hf", room / "hf")
    to_gguf(room / "hf", room / "x", kind="f32")
    check(open_checkpoint(room / "hf"), room / "x")


def test_an_adapter_and_a_projector_go_onto_their_base(room: Path) -> None:
    settings = {**NEWEST, "vocab_size": ROWS}
    write(room / "base", {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, language(ROWS))
    lora = write(room / "lora", settings, {}, names=False)
    (lora / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4, "peft_type": "LORA"}))
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    matrices = {f"{module}.lora_A.weight": torch.ones(2, WIDTH), f"{module}.lora_B.weight": torch.ones(WIDTH, 2)}
    save_file(matrices, lora / "adapter_model.safetensors")
    torch.save(projector(2), lora / "non_lora_trainables.bin")
    torch.save(projector(2), room / "projector.bin")
    to_gguf(lora, room / "x", base=room / "base", kind="f32")
    to_gguf(room / "projector.bin", room / "y", base=room / "base", towers={"": room / "eyes"}, kind="f32")
    check(open_checkpoint(lora, base=room / "base"), room / "x")
    assert {each.name for each in (room / "y").iterdir()} == {"projector.gguf", "mmproj-projector.gguf", "Modelfile"}
    changed, plain = (read(room / each)[0].tensors["blk.0.attn_q.weight"] for each in "xy")
    torch.testing.assert_close(changed, plain + 4)  # 4 / 2 · 1·1, over two ranks


def test_what_a_llama_says(room: Path) -> None:
    folder = original(room, "1.5 with marks")
    to_gguf(folder, room / "x")
    told, seen = read(room / "x")
    rows = ROWS + 3
    assert {key: told.keys[key] for key in told.keys if key.split(".")[0] in ("general", "llama")} == {
        "general.architecture": "llama",
        "general.type": "model",
        "general.name": "model",
        "general.file_type": 1,
        "general.quantization_version": 2,
        "llama.vocab_size": rows,
        "llama.context_length": 512,
        "llama.embedding_length": WIDTH,
        "llama.block_count": 2,
        "llama.feed_forward_length": 40,
        "llama.attention.head_count": 4,
        "llama.attention.head_count_kv": 4,
        "llama.attention.layer_norm_rms_epsilon": pytest.approx(1e-6),
        "llama.rope.freq_base": 10000.0,
        "llama.rope.dimension_count": 8,
    }
    words = {key.removeprefix("tokenizer.ggml."): value for key, value in told.keys.items() if "ggml" in key}
    types, tokens = words["token_type"], words["tokens"]
    assert len(tokens) == len(types) == len(words["scores"]) == rows
    assert [types[number] for number in (0, 1, 2)] == [2, 3, 3]  # <unk>, <s>, </s>
    assert types[tokens.index("<0x0A>")] == 6 and types[tokens.index("a")] == 1
    assert tokens[-3:] == ["<im_patch>", "<im_start>", "<im_end>"] and types[-3:] == [3, 3, 3]
    assert words["model"] == "llama" and words["add_bos_token"] is True and words["add_space_prefix"] is True
    assert (words["bos_token_id"], words["eos_token_id"], words["unknown_token_id"]) == (1, 2, 0)
    assert {told.types[name] for name in told.tensors if "norm" in name} == {"F32"}
    assert {told.types[name] for name in told.tensors if "norm" not in name} == {"F16"}
    assert {key: value for key, value in seen.keys.items() if key.startswith("clip.")} == {
        "clip.has_vision_encoder": True,
        "clip.projector_type": "mlp",
        "clip.use_gelu": False,
        "clip.vision.image_size": SIDE,
        "clip.vision.patch_size": 14,
        "clip.vision.embedding_length": 16,
        "clip.vision.feed_forward_length": 24,
        "clip.vision.block_count": 2,  # of three: the last is not run
        "clip.vision.feature_layer": [2],
        "clip.vision.attention.head_count": 1,
        "clip.vision.attention.layer_norm_epsilon": pytest.approx(1e-5),
        "clip.vision.projection_dim": WIDTH,
        "clip.vision.image_mean": pytest.approx([0.48145466, 0.4578275, 0.40821073]),
        "clip.vision.image_std": pytest.approx([0.26862954, 0.26130258, 0.27577711]),
    }
    assert seen.keys["general.architecture"] == "clip" and seen.keys["general.type"] == "mmproj"
    assert not any(name.startswith("v.blk.2.") for name in seen.tensors)


def test_what_an_mpt_says(room: Path) -> None:
    write_mpt(room / "mpt")
    to_gguf(room / "mpt", room / "x", kind="f32")
    told, _ = read(room / "x")
    checkpoint = open_checkpoint(room / "mpt")
    check(checkpoint, room / "x", atol=2e-4)
    assert told.keys["general.architecture"] == "mpt" and "output.weight" not in told.tensors
    assert not any("rope" in key for key in told.keys)
    assert told.of("attention.max_alibi_bias") == 8.0
    assert told.keys["tokenizer.ggml.model"] == "gpt2" and told.keys["tokenizer.ggml.pre"] == "mpt"
    assert told.keys["tokenizer.ggml.add_bos_token"] is False
    end = checkpoint.tokenizer.special_ids["<|im_end|>"]
    assert told.keys["tokenizer.ggml.eot_token_id"] == end and told.keys["tokenizer.ggml.token_type"][end] == 3


def test_tiles_and_the_class_token_only_by_force(room: Path) -> None:
    tiles = original(room, "1.6")
    before = sorted(os.walk(room))
    with pytest.raises(ModelError, match=r"image_newline(.|\n)*--force"):
        to_gguf(tiles, room / "x")
    assert sorted(os.walk(room)) == before
    to_gguf(tiles, room / "x", force=True)
    _, seen = read(room / "x")
    pairs = ANYRES["image_grid_pinpoints"]  # the original, too, has the width first
    assert seen.keys["clip.vision.image_grid_pinpoints"] == [side for pair in pairs for side in pair]
    assert seen.keys["clip.vision.mm_patch_merge_type"] == "spatial_unpad" and "v.image_newline" in seen.tensors
    kept = complete(SHAPES["class token kept"], room / "kept")
    with pytest.raises(ModelError, match="class token"):
        to_gguf(kept, room / "y")


def test_numbers_that_float16_can_not_hold(room: Path) -> None:
    big = {"model.layers.0.mlp.up_proj.weight": torch.full((40, WIDTH), 1e6)}
    folder = original(room, "1.5", big)
    with pytest.raises(ModelError, match="--type f32"):
        to_gguf(folder, room / "x")
    assert not (room / "x").exists()
    to_gguf(folder, room / "x", kind="f32")


def test_without_llama_cpp_a_command_stands_in_place_of_quantizing(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_module, "llama_cpp_installed", lambda: False)
    done = to_gguf(original(room, "1.5"), room / "x", kind="q4_k_m")
    told, _ = read(room / "x")
    assert told.types["blk.0.ffn_up.weight"] == "F16"
    assert f"llama-quantize {room / 'x' / 'model.gguf'} " in done.notes[-1] and done.notes[-1].endswith(" Q4_K_M")


def test_progress_a_full_disk_and_a_run_cut_off(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, told = original(room, "1.5"), list[LoadProgress]()
    done = to_gguf(folder, room / "x", on_progress=told.append)
    assert [each.done for each in told] == sorted(each.done for each in told)
    assert told[-1].done == told[-1].total <= done.bytes == sum(each.stat().st_size for each in room.glob("x/*.gguf"))

    def cut_off(progress: LoadProgress) -> None:
        if progress.done == told[-2].done:  # all of the language model is written
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        to_gguf(folder, room / "y", on_progress=cut_off)
    assert not (room / "y").exists()
    with pytest.raises(StorageError, match="--resume"):
        to_gguf(folder, room / "y")
    to_gguf(folder, room / "y", resume=True)
    assert {each.name: each.read_bytes() for each in (room / "x").iterdir()} == {
        each.name: each.read_bytes() for each in (room / "y").iterdir()
    }
    for out, words in ((folder, "read and written at once"), (room / "x", "is there already")):
        with pytest.raises(StorageError, match=words):
            to_gguf(folder, out)
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(StorageError, match="disk space"):
        to_gguf(folder, room / "z")
    assert not [each for each in room.iterdir() if "unfinished" in each.name and each.is_dir()]


def test_names_are_such_as_files_may_have(tmp_path: Path) -> None:
    folder = complete(TINY, tmp_path / "my model (1)")
    to_gguf(folder, tmp_path / "x")
    names = {each.name for each in (tmp_path / "x").iterdir()}
    assert names == {"my-model-1.gguf", "mmproj-my-model-1.gguf", "Modelfile"}
    sources = re.findall(r"^FROM \./(.+)$", (tmp_path / "x" / "Modelfile").read_text(), re.MULTILINE)
    assert set(sources) == names - {"Modelfile"}


_CONVERT = """
import json, sys
from pathlib import Path
from llava_engine.checkpoints.convert.gguf.pair import to_gguf
def memory(field):
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(field))
before = memory("VmRSS")
to_gguf(Path(sys.argv[1]), Path(sys.argv[2]))
print(json.dumps([before, memory("VmHWM")]))
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_memory_is_a_tensor_or_two(tmp_path: Path) -> None:
    config = wide(layers=6, width=1024, vocabulary=16000)
    size = write_large(config, tmp_path / "model")
    tokenizer_files(tmp_path / "model", SPECIALS)
    side = config.vision.image_size
    pictures = {"size": {"shortest_edge": side}, "crop_size": {"height": side, "width": side}}
    (tmp_path / "model" / "preprocessor_config.json").write_text(json.dumps(pictures))
    largest = 16000 * 1024 * 2
    assert size > 6 * largest
    command = [sys.executable, "-c", _CONVERT, str(tmp_path / "model"), str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)
    before, peak = json.loads(done.stdout)
    assert peak - before < 2 * largest + 100 * MB  # what is mapped of a file is given back every 64 MB
