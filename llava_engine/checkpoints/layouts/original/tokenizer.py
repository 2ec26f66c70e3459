"""A checkpoint's tokenizer in the original's files: tokenizer.model and what goes with it, or tokenizer.json.

Files that are the original's already are copied; those of Hugging Face's layout are told apart by the token for
pictures, which the original does not have. Knows no weights.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.layouts.folder_plan import json_text
from llava_engine.conversation.sentencepiece import read_pieces
from llava_engine.conversation.tokenizer_files import read_files

_COPIED = ("tokenizer_config.json", "special_tokens_map.json")


@dataclass(frozen=True)
class PictureRow:
    """The token that Hugging Face's layout has for a picture's place, and the original's has not.

    Attributes:
        text: as the tokenizer has it.
        rows_without: how many rows embeddings and head have without it.
    """

    text: str
    rows_without: int


def picture_row(checkpoint: Checkpoint) -> PictureRow | None:
    """The token to be taken off; None when there is none, or it can not go since others stand after it."""
    config, special = checkpoint.config, checkpoint.tokenizer.special_ids
    rows, token = config.language.vocab_size, config.image_token_id
    text = next((text for text, token_id in special.items() if token_id == token), None)
    if checkpoint.found.layout == "original" or text is None or text == "<im_patch>":
        return None
    said = (checkpoint.raw.config.get("llava") or {}).get("rows")
    if type(said) is int and 0 < said <= rows:  # we put it there
        return PictureRow(text, said)
    return PictureRow(text, token) if token == rows - 1 else None


def tokenizer_files(checkpoint: Checkpoint) -> dict[str, str | Path]:
    """The files, by name."""
    folder = checkpoint.raw.tokenizer
    read = read_files(folder, checkpoint.raw.added)
    spec, config = read.spec, read.config
    gone = picture_row(checkpoint)
    tokens = {
        token["content"]: token["id"] for token in spec["added_tokens"] if gone is None or token["content"] != gone.text
    }
    pieces = folder / "tokenizer.model"
    if not pieces.is_file():
        spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] in tokens]
        copied = {name: folder / name for name in _COPIED if (folder / name).is_file()}
        return {"tokenizer.json": json.dumps(spec, ensure_ascii=False), **copied}
    own = read_pieces(pieces.read_bytes()).ids
    files: dict[str, str | Path] = {"tokenizer.model": pieces}
    if added := {text: token_id for text, token_id in tokens.items() if text not in own}:
        files["added_tokens.json"] = json_text(dict(sorted(added.items())))
    if checkpoint.config.template == "v1-june" and checkpoint.found.form != "whole":
        config = {"pad_token": config.get("unk_token"), **config}  # as v1's trainer left it; v0's has one of its own
    elif read.source == pieces:
        return files | {name: folder / name for name in _COPIED if (folder / name).is_file()}
    files["tokenizer_config.json"] = json_text(_settings(config))
    return files


def _settings(config: dict[str, Any]) -> dict[str, Any]:
    """tokenizer_config.json for the original's slow Llama tokenizer."""
    names = ("bos_token", "eos_token", "unk_token", "pad_token", "legacy", "model_max_length", "add_bos_token")
    return {name: config[name] for name in names if config.get(name) is not None} | {
        "add_eos_token": False,
        "clean_up_tokenization_spaces": False,
        "padding_side": "right",
        "sp_model_kwargs": {},
        "tokenizer_class": "LlamaTokenizer",
    }
