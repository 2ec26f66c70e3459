"""A room with a small checkpoint of every form, to be broken, and what a checkpoint has to do when it is not."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import spans
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.conversation.tokenizer_json import with_added
from llava_engine.errors import LlavaError
from llava_engine.model.tiles import picture_tokens
from llava_engine.opening import Placement
from llava_engine.pictures.opening import open_picture
from tests.llava_engine import originals
from tests.llava_engine.conversation.tiny_tokenizers import byte_level_spec, llama_spec, sentencepiece_model
from tests.llava_engine.originals import JUNE, NEWEST, ROWS, WIDTH
from tests.llava_engine.tiny import TILED, TINY, complete

MARKS = ("[PAD]", "<im_patch>", "<im_start>", "<im_end>")
PAIR = "base_model.model.model.layers.1.self_attn.q_proj.lora_"
ADAPTER = {"base_model_name_or_path": "base", "peft_type": "LORA", "r": 2, "lora_alpha": 6}
MOST_MEMORY = 300 * 2**20
TILES = {"image_aspect_ratio": "anyres", "image_grid_pinpoints": [[28, 56], [56, 28]]}


def write_all(room: Path) -> list[str]:
    """One tiny checkpoint of each form in a room, with towers and bases beside them; the names of their folders."""
    originals.write_tower(room / "eyes")
    complete(TINY, room / "hf")
    complete(TILED, room / "next")
    _whole(room / "newest", NEWEST, 2)
    _whole(room / "tiles", {**NEWEST, **TILES}, 2, (), image_newline=torch.zeros(WIDTH))
    _whole(room / "june", {**JUNE, "mm_use_im_start_end": True}, 1, MARKS)
    _whole(room / "inside", NEWEST, 2, (), **originals.tower("model.vision_tower."))
    write_mpt(room / "mpt")
    _shard(room / "shards")
    _bins(room / "bins")
    bare = {"model_type": "llama", "num_hidden_layers": originals.LAYERS}
    originals.write(room / "base", bare, originals.language(ROWS))
    own = {**NEWEST, "vocab_size": ROWS, "_name_or_path": "base"}
    originals.write(room / "adapter", own, {}, names=False)
    (room / "adapter" / "adapter_config.json").write_text(json.dumps(ADAPTER))
    pair = {f"{PAIR}A.weight": torch.randn(2, WIDTH), f"{PAIR}B.weight": torch.randn(WIDTH, 2)}
    save_file(pair, room / "adapter" / "adapter_model.safetensors")
    rest = {f"base_model.model.{name}": tensor for name, tensor in originals.projector(2).items()}
    save_file(rest, room / "adapter" / "non_lora_trainables.safetensors")
    originals.write(room / "projector", own, {}, names=False)
    save_file(originals.projector(2), room / "projector" / "mm_projector.safetensors")
    return ["hf", "next", "newest", "tiles", "june", "inside", "mpt", "shards", "bins", "adapter", "projector"]


def write_mpt(folder: Path) -> Path:
    """A LLaVA-MPT, with a byte-level tokenizer."""
    generator = torch.Generator().manual_seed(0)
    tokenizer = with_added(byte_level_spec(), MARKS)
    rows = Tokenizer(tokenizer, {}).vocabulary

    def draw(*shape: int) -> torch.Tensor:
        return 0.15 * torch.randn(shape, generator=generator)

    tensors = {"transformer.wte.weight": draw(rows, WIDTH), "transformer.norm_f.weight": 1 + draw(WIDTH)}
    for layer in range(originals.LAYERS):
        at = f"transformer.blocks.{layer}."
        tensors |= {f"{at}norm_1.weight": 1 + draw(WIDTH), f"{at}norm_2.weight": 1 + draw(WIDTH)}
        tensors |= {f"{at}attn.Wqkv.weight": draw(3 * WIDTH, WIDTH), f"{at}attn.out_proj.weight": draw(WIDTH, WIDTH)}
        tensors |= {
            f"{at}ffn.up_proj.weight": draw(4 * WIDTH, WIDTH),
            f"{at}ffn.down_proj.weight": draw(WIDTH, 4 * WIDTH),
        }
    joined = {"model.mm_projector.weight": "weight", "model.mm_projector.bias": "bias"}
    for name, part in joined.items():
        tensors[f"transformer.mm_projector.{part}"] = originals.projector(1)[name]
    config = {
        "model_type": "llava_mpt",
        **originals.EYES,
        "mm_use_im_start_end": True,
        "d_model": WIDTH,
        "n_heads": originals.HEADS,
        "n_layers": originals.LAYERS,
        "expansion_ratio": 4,
        "max_seq_len": 512,
        "vocab_size": rows,
        "no_bias": True,
        "attn_config": {"alibi": True, "alibi_bias_max": 8},
    }
    originals.write(folder, config, tensors, names=False)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "<|endoftext|>"}))
    return folder


def copy(room: Path, target: Path) -> Path:
    """The same room in little time: its files are links to the same contents, and are replaced, never written into."""
    shutil.copytree(room, target, copy_function=os.link)
    return target


def replace(file: Path, content: bytes) -> None:
    """Put another content in the place of a file."""
    file.unlink()
    file.write_bytes(content)


def try_out(folder: Path, **options: Any) -> None:
    """Open a checkpoint, build its model, look at a picture and read a prompt: whatever a chat needs."""
    checkpoint = open_checkpoint(folder, **options)
    config = checkpoint.config
    model = load_for_inference(config, checkpoint.tensors, Placement(device="cpu", max_memory="4GiB")).model
    for name, parameter in model.language_model.named_parameters():
        assert parameter.numel() > 0, name
    assert tuple(model.language_model.embed_tokens.weight.shape) == (
        config.language.vocab_size,
        config.language.hidden_size,
    )
    picture = open_picture(Image.new("RGB", (50, 30), (200, 30, 90)))
    features = model.picture_features(torch.from_numpy(checkpoint.preprocessing.views(picture)), (30, 50))
    assert features.shape == (picture_tokens(config, (30, 50)), config.language.hidden_size)
    spoken = spans(Conversation((Message.user("Hello there", [picture]),)), checkpoint.template)
    ids = assemble(spoken, checkpoint.tokenizer, [len(features)], config.image_token_id).ids
    logits = model(torch.tensor([ids]))
    assert logits.shape == (1, len(ids), config.language.vocab_size)
    for token in (0, config.language.vocab_size - 1):
        checkpoint.tokenizer.decode([token])


def _whole(folder: Path, config: dict[str, Any], layers: int, added: tuple[str, ...] = (), **more: Any) -> Path:
    tensors = {**originals.language(ROWS + len(added)), **originals.projector(layers), **more}
    return originals.write(folder, {**config, "vocab_size": ROWS + len(added)}, tensors, added=added)


def _bins(folder: Path) -> None:
    """As the original's own folders are: .bin, tokenizer.model, and nothing more than there must be."""
    rows = Tokenizer(llama_spec(legacy=True), {}).vocabulary
    originals.write(folder, {**NEWEST, "vocab_size": rows}, {}, names=False)
    torch.save({**originals.language(rows), **originals.projector(2)}, folder / "pytorch_model.bin")
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    (folder / "tokenizer_config.json").write_text(json.dumps({"add_bos_token": True, "legacy": False}))
    (folder / "added_tokens.json").write_text(json.dumps({"<im_start>": rows - 1}))


def _shard(folder: Path) -> None:
    tensors = {**originals.language(ROWS), **originals.projector(2)}
    originals.write(folder, {**NEWEST, "vocab_size": ROWS}, {})
    files = {name: f"model-0000{1 + place % 2}-of-00002.safetensors" for place, name in enumerate(tensors)}
    for file in set(files.values()):
        save_file({name: tensors[name] for name in tensors if files[name] == file}, folder / file)
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": files}))


def refusal(folder: Path, **options: Any) -> LlavaError:
    """The error that opening and loading ends with. It has a remedy, and converting the same folder writes nothing."""
    with pytest.raises(LlavaError) as told:
        try_out(folder, **options)
    assert told.value.remedy.endswith((".", "FOLDER", "ID", "list")), told.value
    target = folder.parent / "target"
    if folder.is_dir():
        with pytest.raises(LlavaError):
            convert(folder, "hf", target, **options)
    assert not [path.name for path in folder.parent.iterdir() if "target" in path.name]
    return told.value


def change(file: Path, **tensors: torch.Tensor | None) -> None:
    content = {**load_file(file), **tensors}
    file.unlink()
    save_file({name: tensor for name, tensor in content.items() if tensor is not None}, file)


def edit_header(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what a safetensors file says of itself, and nothing else."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    replace(file, len(text).to_bytes(8, "little") + text + content[8 + length :])


@contextmanager
def little_memory() -> Iterator[None]:
    """Whatever happens inside takes little memory, at its highest."""
    if sys.platform != "linux":
        yield
        return
    Path("/proc/self/clear_refs").write_text("5")  # the highest so far is what it is now
    before = _kilobytes("VmRSS")
    try:
        yield
    finally:
        assert (_kilobytes("VmHWM") - before) * 1024 < MOST_MEMORY


def _kilobytes(line: str) -> int:
    found = re.search(rf"^{line}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])
