"""Tokenizers small enough to build in a test: Llama's kind from a made SentencePiece file, and the byte-level kind."""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

from llava_engine.conversation.sentencepiece import read_pieces, tokenizer_spec
from llava_engine.conversation.tokenizer import Tokenizer

# Words whose every beginning becomes a piece, so that they can be merged letter by letter.
_WORDS = ["▁▁", "▁the", "▁cat", "▁red", "ASSIST", "▁USER", "Human", "###", "</s", "\n\n", "▁is", "世界", "ing"]
_MARKS = ["<im_start>", "<im_end>", "<|im_start|>", "<|im_end|>"]


def sentencepiece_model() -> bytes:
    """A tokenizer.model as SentencePiece would write it: <unk>, <s>, </s>, 256 bytes, then BPE pieces by score."""
    pieces = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3)]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    beginnings = [word[:length] for word in _WORDS for length in range(2, len(word) + 1)]
    letters = "▁\n #:<>/|._?!'-," + "".join(map(chr, [*range(48, 58), *range(65, 91), *range(97, 123)])) + "世界"
    texts = dict.fromkeys([*beginnings, *letters.replace(" ", "")])
    pieces += [(text, -float(rank), 1) for rank, text in enumerate(texts)]
    return piece_file(pieces)


def piece_file(
    pieces: Iterable[tuple[str, float, int]], *, dummy_prefix: bool = True, byte_fallback: bool = True
) -> bytes:
    """The protobuf of a BPE tokenizer.model: (text, score, kind) by id."""
    body = b"".join(
        _field(1, _field(1, text.encode()) + _float(2, score) + _int(3, kind)) for text, score, kind in pieces
    )
    trainer = _int(3, 2) + _int(35, int(byte_fallback))
    return body + _field(2, trainer) + _field(3, _int(3, int(dummy_prefix)) + _int(4, 0))


def llama_spec(*, legacy: bool) -> dict[str, Any]:
    """That file as a tokenizer.json, with the marks of every template as special tokens."""
    pieces = read_pieces(sentencepiece_model())
    return tokenizer_spec(pieces, {mark: len(pieces.ids) + n for n, mark in enumerate(_MARKS)}, legacy=legacy)


@cache
def llama(*, legacy: bool) -> Tokenizer:
    """Llama's kind, with the old or the new rule for text after a special token."""
    config = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    return Tokenizer(llama_spec(legacy=legacy), config, pieces=read_pieces(sentencepiece_model()))


def byte_level_spec() -> dict[str, Any]:
    """A byte-level tokenizer.json as GPT-NeoX and MPT have it, with a few merges."""
    from tokenizers.pre_tokenizers import ByteLevel

    letters = sorted(ByteLevel.alphabet())
    words = ["Ġthe", "Ġcat", "ing", "###", "ĠĠ", "ĊĊ", "user", "assist"]
    merges = [[word[:length], word[length]] for word in words for length in range(1, len(word))]
    vocabulary = dict.fromkeys(["<|endoftext|>", *letters, *("".join(merge) for merge in merges)])
    ids = {text: index for index, text in enumerate(vocabulary)}
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = ["<|endoftext|>", *_MARKS, "</s>"]
    step = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "added_tokens": [
            {"id": ids.get(text, len(ids) + place - 1), "content": text} | flags for place, text in enumerate(added)
        ],
        "normalizer": None,
        "pre_tokenizer": step,
        "post_processor": step,
        "decoder": step,
        "model": {"type": "BPE", "vocab": ids, "merges": merges, "unk_token": None},
    }


def llama_3_spec() -> dict[str, Any]:
    """The same with the pattern by which Llama 3 cuts text first, and the marks of its template."""
    spec = byte_level_spec()
    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    steps = [split, spec["pre_tokenizer"] | {"use_regex": False}]
    last = max(token["id"] for token in spec["added_tokens"])
    marks = ("<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>")
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    added = [{"id": last + place, "content": mark} | flags for place, mark in enumerate(marks, start=1)]
    return spec | {
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": steps},
        "added_tokens": [*spec["added_tokens"], *added],
    }


@cache
def llama_3() -> Tokenizer:
    """Llama 3's kind."""
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|eot_id|>", "add_bos_token": True}
    return Tokenizer(llama_3_spec(), config)


@cache
def byte_level() -> Tokenizer:
    """The byte-level kind: no first word's space, no begin token."""
    return Tokenizer(byte_level_spec(), {"eos_token": "<|endoftext|>"})


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def _int(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, value: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _float(field: int, value: float) -> bytes:
    return _varint(field << 3 | 5) + struct.pack("<f", value)
