"""Tiny random LLaVA models of several shapes, and transformers' model of the same weights as the oracle."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from llava_engine.checkpoints.layouts.hf.config import from_hf
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.checkpoints.save import save_checkpoint
from llava_engine.files.json import read_json
from llava_engine.files.tensor_files import TensorFiles, TensorSource
from llava_engine.model.config import LanguageConfig, LlavaConfig, TilesConfig, VisionConfig
from llava_engine.model.llava import LlavaModel

IMAGE_TOKEN = 3
SPECIALS = ["<unk>", "<s>", "</s>", "<image>"]
LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ .,:?!'-"

TINY = LlavaConfig(
    vision=VisionConfig(
        image_size=56,
        patch_size=14,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=3,
        num_attention_heads=4,
    ),
    language=LanguageConfig(
        vocab_size=400,
        hidden_size=48,
        intermediate_size=64,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=12,
        max_position_embeddings=512,
    ),
    image_token_id=IMAGE_TOKEN,
)

# Not symmetric, so that a height taken for a width shows.
TILED = replace(TINY, tiles=TilesConfig(((56, 112), (112, 56), (112, 112), (168, 56), (56, 224))))

SHAPES = {
    "grouped heads": TINY,
    "tied head, last layer, gelu": replace(
        TINY,
        vision=replace(TINY.vision, hidden_act="gelu", image_size=84),
        language=replace(TINY.language, tie_word_embeddings=True, num_key_value_heads=4),
        vision_feature_layer=-1,
    ),
    "class token kept": replace(TINY, keep_class_token=True),
}


def random_model(config: LlavaConfig, seed: int = 0) -> LlavaModel:
    """A model whose weights are drawn wide enough that its logits differ clearly from token to token."""
    model = LlavaModel(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            norm = "norm" in name and name.endswith("weight")
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if norm else noise * (0.5 if "embed" in name else 0.15))
    return model.eval()


def oracle(folder: Path) -> Any:
    """transformers' LLaVA or LLaVA-NeXT from a folder, with nothing missing and nothing left over."""
    from transformers import AutoModelForImageTextToText

    loader: Any = AutoModelForImageTextToText
    model, info = loader.from_pretrained(folder, dtype=torch.float32, output_loading_info=True)
    assert not info["missing_keys"] and not info["unexpected_keys"] and not info["mismatched_keys"], info
    return model.eval()


def saved(config: LlavaConfig, folder: Path, seed: int = 0) -> LlavaModel:
    """A random model, also written to `folder` in float32."""
    model = random_model(config, seed)
    save_checkpoint(model, folder, dtype=torch.float32)
    return model


def parts(folder: Path) -> tuple[LlavaConfig, TensorSource]:
    """Shape and weights of a folder that `saved` wrote, which has no tokenizer and so is no whole checkpoint."""
    return from_hf(read_json(folder / "config.json")), View(folder, canonical_names(TensorFiles(folder)))


def complete(config: LlavaConfig, folder: Path, seed: int = 0) -> Path:
    """A whole checkpoint folder: random weights, a tokenizer of single letters and bytes, picture settings."""
    config = replace(config, template=config.template or "v1", system="")
    saved(config, folder, seed)
    tokenizer_files(folder, SPECIALS)
    side = config.vision.image_size
    pictures: dict[str, Any] = {
        "do_pad": True,
        "size": {"shortest_edge": side},
        "crop_size": {"height": side, "width": side},
    }
    if config.tiles is not None:
        pictures["image_grid_pinpoints"] = [list(pinpoint) for pinpoint in config.tiles.pinpoints]
    (folder / "preprocessor_config.json").write_text(json.dumps(pictures), encoding="utf-8")
    return folder


def tokenizer_files(folder: Path, specials: Sequence[str], added: Sequence[str] = ()) -> None:
    """A Llama's tokenizer of single letters and bytes, its special tokens first, added ones last."""
    vocabulary = {token: index for index, token in enumerate(specials)}
    for token in [*(f"<0x{byte:02X}>" for byte in range(256)), *LETTERS.replace(" ", "▁")]:
        vocabulary[token] = len(vocabulary)
    marks = {**{token: vocabulary[token] for token in specials}}
    for token in added:
        marks[token] = len(vocabulary) + len(marks) - len(specials)
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [{"id": index, "content": token} | flags for token, index in marks.items()],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "Prepend", "prepend": "▁"},
                {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
            ],
        },
        "pre_tokenizer": None,
        "post_processor": None,
        "decoder": {
            "type": "Sequence",
            "decoders": [
                {"type": "Replace", "pattern": {"String": "▁"}, "content": " "},
                {"type": "ByteFallback"},
                {"type": "Fuse"},
                {"type": "Strip", "content": " ", "start": 1, "stop": 0},
            ],
        },
        "model": {"type": "BPE", "unk_token": "<unk>", "byte_fallback": True, "vocab": vocabulary, "merges": []},
    }
    settings = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>", "add_bos_token": True, "legacy": True}
    settings["pad_token"] = "[PAD]" if "[PAD]" in added else "<unk>"
    for name, content in (("tokenizer.json", tokenizer), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
