"""A SentencePiece file (tokenizer.model) -> the same tokenizer as tokenizer.json would state it.

The original's checkpoints have nothing else. Reads the file's protobuf by hand (sentencepiece_model.proto: pieces are
field 1, trainer_spec 2, normalizer_spec 3); only BPE without normalization, as every Llama has it. Knows no folder.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from typing import Any

_UNKNOWN, _CONTROL = 2, 3  # SentencePiece.Type; normal pieces are 1, bytes 6
_BPE = 2  # TrainerSpec.ModelType
_LONGEST = 128  # letters of a piece that is merged from others; SentencePiece makes none over 16 unless asked to
_Value = int | bytes


def tokenizer_spec(
    model: bytes, added: Mapping[str, int], *, legacy: bool, added_strip: bool = False
) -> dict[str, Any]:
    """The content of a tokenizer.json.

    Args:
        model: the bytes of tokenizer.model.
        added: special tokens beyond the file's pieces, as added_tokens.json states them: text to id.
        legacy: whether text after a special token gets the first word's space again.
        added_strip: whether the white space around `added` ones belongs to them.

    Raises:
        ValueError: it is broken, or of a kind that no Llama has.
    """
    pieces: list[tuple[str, float, int]] = []
    trainer: dict[int, _Value] = {}
    normalizer: dict[int, _Value] = {}
    for field, value in _fields(model):
        if field == 1:
            pieces.append(_piece(value))
        elif field == 2:
            trainer = dict(_fields(value))
        elif field == 3:
            normalizer = dict(_fields(value))
    if not pieces:
        raise ValueError("it holds no pieces")
    if trainer.get(3, 1) != _BPE:
        raise ValueError("it is not BPE")
    if normalizer.get(2) or normalizer.get(4, 1):  # precompiled_charsmap, remove_extra_whitespaces
        raise ValueError("it normalizes text")
    vocabulary = {text: index for index, (text, _, _) in enumerate(pieces)}
    special = {text: vocabulary[text] for text, _, kind in pieces if kind in (_UNKNOWN, _CONTROL)} | dict(added)
    prefix = ("always" if legacy else "first") if normalizer.get(3, 1) else "never"  # add_dummy_prefix
    added_tokens = [
        {"id": index, "content": text} | special_flags(strips=added_strip and text not in vocabulary)
        for text, index in sorted(special.items(), key=lambda item: item[1])
    ]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added_tokens,
        "normalizer": None,
        "pre_tokenizer": {"type": "Metaspace", "replacement": "▁", "prepend_scheme": prefix, "split": False},
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
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": next((text for text, _, kind in pieces if kind == _UNKNOWN), None),
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": True,
            "ignore_merges": False,
            "vocab": vocabulary,
            "merges": _merges(pieces, vocabulary),
        },
    }


def special_flags(*, strips: bool) -> dict[str, bool]:
    """How tokenizer.json describes a special token; one that strips takes the white space around it away."""
    return {"single_word": False, "lstrip": strips, "rstrip": strips, "normalized": False, "special": True}


def _merges(pieces: list[tuple[str, float, int]], vocabulary: dict[str, int]) -> list[list[str]]:
    """Every pair of pieces that makes a third, the best score first: what SentencePiece's BPE merges, and when."""
    found = [
        (-score, vocabulary[text[:cut]], vocabulary[text[cut:]], text, cut)
        for text, score, kind in pieces
        if kind == 1 and len(text) <= _LONGEST
        for cut in range(1, len(text))
        if text[:cut] in vocabulary and text[cut:] in vocabulary
    ]
    return [[text[:cut], text[cut:]] for _, _, _, text, cut in sorted(found)]


def _piece(value: _Value) -> tuple[str, float, int]:
    fields = dict(_fields(value))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, 1)
    if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
        raise ValueError("a piece is broken")
    return text.decode(), struct.unpack("<f", score)[0], kind


def _fields(message: _Value) -> Iterator[tuple[int, _Value]]:
    """The fields of a protobuf message: varints as int, everything else as bytes."""
    if not isinstance(message, bytes):
        raise ValueError("a message is broken")
    place = 0
    while place < len(message):
        key, place = _varint(message, place)
        match key & 7:
            case 0:
                value, place = _varint(message, place)
                yield key >> 3, value
                continue
            case 1:
                size = 8
            case 2:
                size, place = _varint(message, place)
            case 5:
                size = 4
            case kind:
                raise ValueError(f"a field is of kind {kind}")
        if place + size > len(message):
            raise ValueError("it ends too early")
        yield key >> 3, message[place : place + size]
        place += size


def _varint(message: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(message) and shift < 64:
        byte = message[place]
        place += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, place
        shift += 7
    raise ValueError("it ends too early")
