"""A checkpoint's tokenizer as GGUF keys, under which llama.cpp cuts any text as we do.

Its tokenizer `llama` is SentencePiece's BPE: the pair whose piece has the best score is merged first, letters that are
no piece become their bytes, and a text begins with a space, after a special token too. Its `gpt2` is the byte-level
kind, with merges and the name of a known pattern. (src/llama-vocab.cpp)
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.gguf.gguf_file import Value
from llava_engine.conversation.tokenizer_files import TokenizerFiles, read_files
from llava_engine.conversation.tokenizer_json import KNOWN_CUTS, prefix_rule, steps_of
from llava_engine.errors import ModelError
from llava_engine.model.config import MptConfig

# enum llama_token_type, which has SentencePiece's own numbers
_NORMAL, _UNKNOWN, _CONTROL, _ADDED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6
_BYTE_PIECE = re.compile(r"<0x[0-9A-F]{2}>")
_CUT_NAMES = {"qwen2": "qwen2", "llama3": "llama-bpe"}
_LOWEST = -1e6  # the score of a piece that no merge makes; no vocabulary has so many merges


def tokenizer_files(checkpoint: Checkpoint) -> TokenizerFiles:
    """The files that a checkpoint's tokenizer was read from."""
    return read_files(checkpoint.raw.tokenizer, checkpoint.raw.added)


def vocabulary_keys(checkpoint: Checkpoint, files: TokenizerFiles) -> dict[str, Value]:
    """All keys `tokenizer.ggml.…`.

    Raises:
        ModelError: text is cut by a pattern that llama.cpp has no name for.
    """
    tokenizer, spec = checkpoint.tokenizer, files.spec
    byte_level = any(step["type"] == "ByteLevel" for step in steps_of(spec.get("decoder"), "decoders"))
    tokens, kinds = _tokens(checkpoint, files, byte_level)
    keys: dict[str, Value] = {"tokens": tokens, "token_type": kinds}
    if byte_level:
        merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in spec["model"]["merges"]]
        keys |= {"model": "gpt2", "pre": _pattern(checkpoint, spec), "merges": merges}
    else:
        prefix, _ = prefix_rule(spec, files.config)
        keys |= {"model": "llama", "pre": "default", "scores": _scores(files, tokens), "add_space_prefix": prefix}
    begin = tokenizer.bos_id if tokenizer.bos_id is not None else _named(files, "bos_token", tokens)
    ends = tokenizer.special_ids.get(checkpoint.template.answer_end.strip())
    numbers = {
        "bos": tokenizer.eos_id if begin is None else begin,  # llama.cpp would take 1, or 11, where none is said
        "eos": ends if tokenizer.eos_id is None else tokenizer.eos_id,
        "eot": None if ends == tokenizer.eos_id else ends,
        "padding": tokenizer.pad_id,
        "unknown": _named(files, "unk_token", tokens),
    }
    keys |= {f"{name}_token_id": number for name, number in numbers.items() if number is not None}
    keys |= {"add_bos_token": tokenizer.bos_id is not None, "add_eos_token": False}
    return {f"tokenizer.ggml.{name}": value for name, value in keys.items()}


def vocabulary_notes(checkpoint: Checkpoint, files: TokenizerFiles) -> tuple[str, ...]:
    """What llama.cpp can not be told of this tokenizer, a sentence each."""
    notes = []
    pieces = files.pieces
    odd = pieces is not None and any(
        piece.kind == _UNUSED or (piece.kind == _ADDED and piece.text not in pieces.marks) for piece in pieces.pieces
    )
    if odd or files.inside:
        notes.append("Its tokenizer.model has user-defined or unused pieces: llama.cpp cuts some texts differently.")
    prefix, after_marks = prefix_rule(files.spec, files.config)
    end = checkpoint.tokenizer.special_ids.get(checkpoint.template.answer_end.strip())
    if prefix and not after_marks and end is not None:
        notes.append(
            "llama.cpp puts a space behind every special token, where this tokenizer has none: "
            "prompts with earlier answers are a token longer for each."
        )
    return tuple(notes)


def _tokens(checkpoint: Checkpoint, files: TokenizerFiles, byte_level: bool) -> tuple[list[str], list[int]]:
    """Every row's text, and its kind; rows without a text are named so that no two are the same."""
    spec, special = files.spec, frozenset(checkpoint.tokenizer.special_ids.values())
    texts: dict[int, str] = {number: text for text, number in spec["model"]["vocab"].items()}
    kinds = dict.fromkeys(texts, _NORMAL)
    if files.pieces is not None:
        kinds |= {number: piece.kind for number, piece in enumerate(files.pieces.pieces)}
    elif not byte_level:
        kinds |= {number: _BYTE for number, text in texts.items() if _BYTE_PIECE.fullmatch(text)}
    for token in spec.get("added_tokens") or ():
        number, text = token["id"], token["content"]
        texts[number] = text
        kinds[number] = _CONTROL if number in special else _ADDED
    unknown = spec["model"].get("unk_token")
    if not byte_level and unknown in spec["model"]["vocab"]:
        kinds[spec["model"]["vocab"][unknown]] = _UNKNOWN
    taken = set(texts.values())
    for number, kind in kinds.items():
        plain = texts[number].replace("▁", " ")  # it is looked for in a text as it is written
        if kind == _ADDED and not byte_level and plain not in taken:
            texts[number] = plain
    for number in range(checkpoint.config.language.vocab_size):
        if number not in texts:
            texts[number], kinds[number] = f"[llava:{number}]", _UNUSED
    rows = range(checkpoint.config.language.vocab_size)
    return [texts[number] for number in rows], [kinds[number] for number in rows]


def _scores(files: TokenizerFiles, tokens: list[str]) -> list[float]:
    """The pieces' own, or the place of the first merge that makes a piece, the first merge the best."""
    if files.pieces is not None:
        own = [float(piece.score) for piece in files.pieces.pieces]
        return own + [0.0] * (len(tokens) - len(own))
    made: dict[str, float] = {}
    for place, merge in enumerate(files.spec["model"]["merges"]):
        made.setdefault("".join(merge.split(" ") if isinstance(merge, str) else merge), -float(place))
    return [made.get(text, _LOWEST) for text in tokens]


def _pattern(checkpoint: Checkpoint, spec: Mapping[str, Any]) -> str:
    """What llama.cpp calls the pattern that text is cut by before any merge."""
    steps = steps_of(spec.get("pre_tokenizer"), "pretokenizers")
    patterns = [(step.get("pattern") or {}).get("Regex") for step in steps if step["type"] != "ByteLevel"]
    if not patterns:
        return "mpt" if isinstance(checkpoint.config.language, MptConfig) else "gpt-2"
    whose = KNOWN_CUTS.get(str(patterns[0]))
    if len(patterns) > 1 or whose is None:
        raise ModelError(
            f"{files_name(checkpoint)} cuts text by a pattern that llama.cpp has no name for.",
            "Serve it with llava serve.",
        )
    return _CUT_NAMES[whose]


def files_name(checkpoint: Checkpoint) -> str:
    """The tokenizer's file, for an error."""
    return str(checkpoint.raw.tokenizer / "tokenizer.json")


def _named(files: TokenizerFiles, key: str, tokens: list[str]) -> int | None:
    named = files.config.get(key)
    text = named.get("content") if isinstance(named, Mapping) else named
    return tokens.index(text) if isinstance(text, str) and text in tokens else None
