"""A SentencePiece file (tokenizer.model): its pieces, SentencePiece to cut text with, and what tokenizer.json can say.

The original's checkpoints have nothing else. Text is cut by the `sentencepiece` package, so a vocabulary that somebody
extended is cut as its weights learned it. The file's protobuf (sentencepiece_model.proto: pieces are field 1,
trainer_spec 2, normalizer_spec 3) is read by hand first: what the package gets of a stranger's file is only what we
understood of it. BPE without normalization, as every Llama has it. Knows no folder.
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

_NORMAL, _UNKNOWN, _CONTROL, _USER_DEFINED, _UNUSED, _BYTE = 1, 2, 3, 4, 5, 6  # SentencePiece.Type
_BPE = 2  # TrainerSpec.ModelType
_LONGEST = 128  # letters of a piece that is merged from others; SentencePiece makes none over 16 unless asked to
_MOST_PIECES = 1_000_000  # the largest vocabulary that is published has a quarter of that
_MARK = re.compile(r"<.+>|\[.+\]", re.DOTALL)
_Value = int | bytes


class Piece(NamedTuple):
    """An entry of the vocabulary; its id is its place."""

    text: str
    score: float
    kind: int


@dataclass(frozen=True)
class Pieces:
    """What a tokenizer.model holds.

    Attributes:
        pieces: by id.
        dummy_prefix: whether a text gets a space before its first word.
        byte_fallback: whether a letter that is no piece becomes its bytes; otherwise it is unknown.
    """

    pieces: tuple[Piece, ...]
    dummy_prefix: bool
    byte_fallback: bool

    @cached_property
    def ids(self) -> dict[str, int]:
        """Every piece's id."""
        return {piece.text: index for index, piece in enumerate(self.pieces)}

    @property
    def unknown(self) -> str | None:
        """The piece for what is no piece."""
        return next((piece.text for piece in self.pieces if piece.kind == _UNKNOWN), None)

    @cached_property
    def control(self) -> frozenset[str]:
        """Pieces that no text is ever cut into: <unk>, <s>, </s>, …"""
        return frozenset(piece.text for piece in self.pieces if piece.kind in (_UNKNOWN, _CONTROL))

    @cached_property
    def marks(self) -> frozenset[str]:
        """User-defined pieces that stand for no word: <|im_start|> and its like.

        SentencePiece cuts them out of every text, whoever wrote it. A user's words must not pass for a mark, so we let
        it cut out only the other ones, which are words that somebody wanted whole.
        """
        return frozenset(p.text for p in self.pieces if p.kind == _USER_DEFINED and looks_like_a_mark(p.text))


def looks_like_a_mark(text: str) -> bool:
    """Whether a token stands between brackets, as marks do and words do not: <s>, <|im_end|>, [INST], [PAD]."""
    return bool(_MARK.fullmatch(text.strip("▁ \n")))


def read_pieces(model: bytes) -> Pieces:
    """Read the bytes of a tokenizer.model.

    Raises:
        ValueError: they are broken, or of a kind that no Llama has.
    """
    pieces: list[Piece] = []
    trainer: dict[int, _Value] = {}
    normalizer: dict[int, _Value] = {}
    for field, value in _fields(model):
        if field == 1:
            pieces.append(_piece(value))
        elif field == 2:
            trainer |= dict(_fields(value))
        elif field == 3:
            normalizer |= dict(_fields(value))
    if not pieces:
        raise ValueError("it holds no pieces")
    if len(pieces) > _MOST_PIECES:
        raise ValueError(f"it holds {len(pieces):,} pieces")
    if trainer.get(3, 1) != _BPE:
        raise ValueError("it is not BPE")
    if normalizer.get(2) or normalizer.get(4, 1) or not normalizer.get(5, 1) or trainer.get(24, 0):
        # precompiled_charsmap, remove_extra_whitespaces, escape_whitespaces, treat_whitespace_as_suffix
        raise ValueError("it normalizes text")
    texts = [piece.text for piece in pieces]
    if len(set(texts)) < len(texts) or "" in texts:
        raise ValueError("a piece is there twice, or empty")
    if sum(piece.kind == _UNKNOWN for piece in pieces) != 1:
        raise ValueError("it has not exactly one piece for the unknown")
    bytes_known = sum(piece.kind == _BYTE for piece in pieces)
    fallback = bool(trainer.get(35, bytes_known == 256))
    if fallback and bytes_known != 256:
        raise ValueError("it has not a piece for every byte")
    return Pieces(tuple(pieces), bool(normalizer.get(3, 1)), fallback)


def cutter(pieces: Pieces, hidden: Collection[str] = ()) -> Callable[[str], list[int]]:
    """SentencePiece's own cut of a text, without the space before the first word.

    Args:
        pieces: the vocabulary.
        hidden: pieces that are never to come out of a text.

    Raises:
        ValueError: SentencePiece does not take this vocabulary.
    """
    import sentencepiece

    try:
        processor = sentencepiece.SentencePieceProcessor(model_proto=_proto(pieces, hidden))
    except (RuntimeError, TypeError) as error:
        raise ValueError(f"SentencePiece does not take it: {error}") from None
    cut: Callable[[str], list[int]] = processor.encode
    return cut


def tokenizer_spec(
    pieces: Pieces, added: Mapping[str, int], *, legacy: bool, added_strip: bool = False, marks: Collection[str] = ()
) -> dict[str, Any]:
    """The same tokenizer as the content of a tokenizer.json, as far as that can say it: see `unsaid`.

    Args:
        pieces: the vocabulary.
        added: special tokens beyond the control pieces, as added_tokens.json states them: text to id.
        legacy: whether text after a special token gets the first word's space again.
        added_strip: whether the white space around `added` ones belongs to them.
        marks: pieces that are special too.
    """
    special = {text: pieces.ids[text] for text in {*pieces.control, *marks}} | dict(added)
    prefix = ("always" if legacy else "first") if pieces.dummy_prefix else "never"
    added_tokens = [
        {"id": index, "content": text} | special_flags(strips=added_strip and text not in pieces.ids)
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
            "unk_token": pieces.unknown,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": True,
            "byte_fallback": pieces.byte_fallback,
            "ignore_merges": False,
            "vocab": dict(pieces.ids),
            "merges": [[text[:cut], text[cut:]] for _, _, _, text, cut in sorted(_merges(pieces))],
        },
    }


def special_flags(*, strips: bool) -> dict[str, bool]:
    """How tokenizer.json describes a special token; one that strips takes the white space around it away."""
    return {"single_word": False, "lstrip": strips, "rstrip": strips, "normalized": False, "special": True}


def unsaid(pieces: Pieces) -> str | None:
    """What of this vocabulary no tokenizer.json can say, in a few words; None where it says all.

    tokenizer.json merges pairs of pieces in an order of the pairs; SentencePiece merges whatever makes a piece, letters
    that are no piece too, the best score first, and of equal scores the leftmost.
    """
    normal = [piece for piece in pieces.pieces if piece.kind == _NORMAL and len(piece.text) > 1]
    if any(p.kind == _UNUSED or (p.kind == _USER_DEFINED and p.text not in pieces.marks) for p in pieces.pieces):
        return "user-defined or unused pieces"
    if len({piece.score for piece in normal}) < len(normal):
        return "pieces of equal scores"
    merged = {piece.text for piece in pieces.pieces if piece.kind == _NORMAL}
    for text, _, _ in normal:
        for cut in range(1, len(text)):
            halves = text[:cut], text[cut:]
            reached = all(half in merged or len(half) == 1 for half in halves)
            if reached and not all(half in pieces.ids for half in halves):
                return "pieces of letters that are no pieces"
    return None


def _merges(pieces: Pieces) -> Iterator[tuple[float, int, int, str, int]]:
    """Every pair of pieces that makes a third, to be sorted: the best score first."""
    for text, score, kind in pieces.pieces:
        if kind != _NORMAL or len(text) > _LONGEST:
            continue
        for cut in range(1, len(text)):
            left, right = pieces.ids.get(text[:cut]), pieces.ids.get(text[cut:])
            if left is not None and right is not None:
                yield -score, left, right, text, cut


def _piece(value: _Value) -> Piece:
    fields = dict(_fields(value))
    text, score, kind = fields.get(1, b""), fields.get(2, b"\0\0\0\0"), fields.get(3, _NORMAL)
    if not (isinstance(text, bytes) and isinstance(score, bytes) and isinstance(kind, int)):
        raise ValueError("a piece is broken")
    (number,) = struct.unpack("<f", score)
    if kind not in range(_NORMAL, _BYTE + 1) or not math.isfinite(number):
        raise ValueError("a piece is broken")
    return Piece(text.decode(), number, kind)


def _proto(pieces: Pieces, hidden: Collection[str]) -> bytes:
    """The protobuf of a file with these pieces; hidden ones are control pieces, and no space is put before a text."""
    entries = b"".join(
        _message(
            1,
            _message(1, text.encode())
            + _key(2, 5)
            + struct.pack("<f", score)
            + _number(3, _CONTROL if text in hidden and kind != _UNKNOWN else kind),
        )
        for text, score, kind in pieces.pieces
    )
    unknown = _message(45, (pieces.unknown or "").encode())  # trainer_spec.unk_piece
    trainer = _number(3, _BPE) + _number(35, int(pieces.byte_fallback)) + unknown
    normalizer = _number(3, 0) + _number(4, 0) + _number(5, 1)
    return entries + _message(2, trainer) + _message(3, normalizer)


def _key(field: int, kind: int) -> bytes:
    return _as_varint(field << 3 | kind)


def _number(field: int, value: int) -> bytes:
    return _key(field, 0) + _as_varint(value)


def _message(field: int, content: bytes) -> bytes:
    return _key(field, 2) + _as_varint(len(content)) + content


def _as_varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


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
