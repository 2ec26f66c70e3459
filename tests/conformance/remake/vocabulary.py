"""A tokenizer with the same pieces under other ids, and some pieces more that no text has.

In: a tokenizer.model or tokenizer.json, a seed. Out: the new file, and what each old id is now. Reads and writes the
protobuf by hand (pieces are field 1: text 1, score 2, kind 3), so as to owe nothing to the engine's reader.
"""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_NORMAL = 1
_SPACE = "▁"


@dataclass(frozen=True)
class Vocabulary:
    """Old ids to new ones.

    Attributes:
        order: the new id of each old piece.
        more: how many pieces stand after them, before the added tokens.
        pieces: the new file's pieces by id; empty for byte-level ones.
        spoken: ids of the pieces that say something: no special ones, bytes, half letters, or what no text has.
        content: the new file.
    """

    order: tuple[int, ...]
    more: int
    pieces: tuple[str, ...]
    spoken: frozenset[int]
    content: bytes

    def id(self, old: int) -> int:
        """Added tokens follow the pieces; what is negative is no token."""
        if old < 0:
            return old
        return self.order[old] if old < len(self.order) else old + self.more

    def ids(self, old: Iterable[int]) -> list[int]:
        """Each `id`."""
        return [self.id(each) for each in old]

    def rows(self, old: Tensor) -> Tensor:
        """A matrix with one row a token; the pieces that no text has get rows of zeros."""
        new = old.new_zeros(old.shape[0] + self.more, *old.shape[1:])
        new[torch.tensor(self.ids(range(old.shape[0])))] = old
        return new

    def text(self, ids: Sequence[int], special: Iterable[int]) -> str:
        """What Llama's pieces say, special tokens left out; the caller sees to it that no byte is among them."""
        left_out = set(special)
        said = "".join(self.pieces[each] for each in ids if each not in left_out)
        return said.replace(_SPACE, " ")


def of_folder(folder: Path, seed: int, more: int) -> tuple[str, Vocabulary]:
    """The file's name and its vocabulary, renumbered; `more` pieces are put after its own."""
    if (folder / "tokenizer.model").exists():
        return "tokenizer.model", _sentencepiece((folder / "tokenizer.model").read_bytes(), seed, more)
    return "tokenizer.json", _byte_level(json.loads((folder / "tokenizer.json").read_text("utf-8")), seed, more)


def scored(model: bytes) -> list[tuple[str, float]]:
    """The pieces of a tokenizer.model, by id, with their scores."""
    return [_parsed(body)[:2] for number, body in _messages(model) if number == 1]


def kinds(model: bytes) -> list[int]:
    """What each piece is: 1 normal, 2 unknown, 3 control, 4 user-defined, 6 a byte."""
    return [_parsed(body)[2] for number, body in _messages(model) if number == 1]


def _shuffled(movable: Sequence[int], count: int, seed: int) -> list[int]:
    order = list(range(count))
    places = list(movable)
    random.Random(seed).shuffle(places)
    for old, new in zip(movable, places, strict=True):
        order[old] = new
    return order


def _sentencepiece(model: bytes, seed: int, more: int) -> Vocabulary:
    """Only normal pieces move: every Llama has its special ones and its bytes in front."""
    fields = _messages(model)
    pieces = [body for number, body in fields if number == 1]
    parts = [_parsed(piece) for piece in pieces]
    order = _shuffled([place for place, (_, _, kind) in enumerate(parts) if kind == _NORMAL], len(pieces), seed)
    placed = [b""] * len(pieces)
    texts = [""] * len(pieces)
    for old, new in enumerate(order):
        placed[new], texts[new] = pieces[old], parts[old][0]
    worst = min(score for _, score, _ in parts)
    for place in range(more):
        text = "ŧ" * (place + 1)
        placed.append(_piece(text, worst - 1 - place))
        texts.append(text)
    content = b"".join(field(1, piece) for piece in placed)
    content += b"".join(field(number, body) for number, body in fields if number != 1)
    spoken = frozenset(order[old] for old, (_, _, kind) in enumerate(parts) if kind == _NORMAL)
    return Vocabulary(tuple(order), more, tuple(texts), spoken, content)


def _byte_level(spec: dict[str, Any], seed: int, more: int) -> Vocabulary:
    """Special tokens keep their places, at the beginning; those after the pieces move up."""
    vocabulary = spec["model"]["vocab"]
    special = {token["id"] for token in spec["added_tokens"]}
    movable = sorted(each for each in vocabulary.values() if each not in special)
    count = max(vocabulary.values()) + 1
    order = _shuffled(movable, count, seed)
    new = {text: order[old] for text, old in vocabulary.items()}
    for place in range(more):
        new["ŧ" * (place + 2)] = count + place
    spec["model"]["vocab"] = dict(sorted(new.items(), key=lambda item: item[1]))
    for token in spec["added_tokens"]:
        token["id"] = order[token["id"]] if token["id"] < count else token["id"] + more
    spoken = frozenset(order[old] for text, old in vocabulary.items() if old in movable and _is_letters(text))
    return Vocabulary(tuple(order), more, (), spoken, json.dumps(spec, ensure_ascii=False).encode())


def _is_letters(piece: str) -> bool:
    """Whether a byte-level piece is whole: "Ġ" is a space there, other letters beyond ASCII are single bytes."""
    return piece.replace("Ġ", " ").isascii()


def _parsed(piece: bytes) -> tuple[str, float, int]:
    text, score, kind, place = "", 0.0, _NORMAL, 0
    while place < len(piece):
        key = piece[place]
        place += 1
        if key == 0x0A:
            size, place = _varint(piece, place)
            text, place = piece[place : place + size].decode(), place + size
        elif key == 0x15:
            score, place = struct.unpack("<f", piece[place : place + 4])[0], place + 4
        elif key == 0x18:
            kind, place = _varint(piece, place)
        else:
            raise ValueError(f"a piece has a field {key >> 3}")
    return text, score, kind


def _piece(text: str, score: float) -> bytes:
    return field(1, text.encode()) + b"\x15" + struct.pack("<f", score)


def _messages(model: bytes) -> list[tuple[int, bytes]]:
    found, place = [], 0
    while place < len(model):
        key, place = _varint(model, place)
        if key & 7 != 2:
            raise ValueError("tokenizer.model holds something else than messages")
        size, place = _varint(model, place)
        found.append((key >> 3, model[place : place + size]))
        place += size
    return found


def _varint(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[place]
        place += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, place


def field(number: int, body: bytes) -> bytes:
    """A protobuf field that holds bytes, text or a message."""
    size, rest = b"", len(body)
    while True:
        size += bytes([rest & 0x7F | (0x80 if rest > 0x7F else 0)])
        rest >>= 7
        if not rest:
            return bytes([number << 3 | 2]) + size + body
