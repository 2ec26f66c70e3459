"""The ids that the original's tokenizers gave, and the text they made of ids: June's stack and the newest one's.

In default, tokenizer.py reads every model one way. The original read the same files in three: transformers' slow class
(training, and newest also at inference), and the fast ones (June's inference; byte-level models always). Built on the
tokenizers library and on our reader of tokenizer.model; knows no prompts and no templates.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import tokenizers

from llava_engine.conversation.sentencepiece import Pieces, read_pieces, tokenizer_spec
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.conversation.tokenizer_files import read_files
from llava_engine.conversation.tokenizer_json import with_added
from llava_engine.parity.original_templates import Commit

_SPACE = "▁"


class OriginalTokenizer(Protocol):
    """A tokenizer as the original's code used it.

    Attributes:
        special_ids: every special and added token's id by its text.
        legacy: whether text after a special token gets the first word's space again, as newest's label code asks.
        bos_id: the begin token's id, or None; byte-level models do not put it before a text.
    """

    special_ids: dict[str, int]
    legacy: bool

    @property
    def bos_id(self) -> int | None: ...

    def ids(self, text: str) -> list[int]:
        """The ids of a text, special tokens in it included, the begin token first."""

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """The text of ids."""


def original_tokenizer(
    folder: Path,
    commit: Commit,
    *,
    fast: bool,
    added: Sequence[str] = (),
    renewed: bool = False,
) -> OriginalTokenizer:
    """What the original's AutoTokenizer made of a folder.

    Args:
        folder: a model's, with a tokenizer.model or (byte-level models) a tokenizer.json.
        commit: which stack: transformers 4.28 (June) or 4.37.
        fast: `use_fast`; byte-level models have no other, newest Llamas only the slow one.
        added: tokens that the code added after reading, as special ones.
        renewed: whether it also set the special tokens anew, as June's trainer did for v0.
    """
    if not (folder / "tokenizer.model").exists():  # a tokenizer.json beside it is not looked at
        return _ByteLevel(folder, added)
    if fast:
        return _FastLlama(folder, added)
    return _SlowLlama(folder, added, june=commit == "b4be90b", renewed=renewed)


def ids_with_pictures(prompt: str, tokenizer: OriginalTokenizer, image_token_id: int = -200) -> list[int]:
    """Newest: each text between <image> tags by itself, with one placeholder for each tag."""
    ids: list[int] = []
    for count, text in enumerate(prompt.split("<image>")):
        piece = tokenizer.ids(text)
        begins = piece[:1] == [tokenizer.bos_id]
        ids += [image_token_id] if count else piece[:1] if begins else []
        ids += piece[1:] if begins else piece
    return ids


def _json(path: Path) -> Any:
    return json.loads(path.read_text("utf-8")) if path.exists() else {}


class _ByteLevel:
    """GPT-NeoX's kind, for MPT: as its file says. Decoding tidies up before punctuation."""

    legacy = False
    _TIDY = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")

    def __init__(self, folder: Path, added: Sequence[str]) -> None:
        spec = with_added(_json(folder / "tokenizer.json"), added)
        config = _json(folder / "tokenizer_config.json")
        self._whole = tokenizers.Tokenizer.from_str(json.dumps(spec))
        self.special_ids: dict[str, int] = {token["content"]: token["id"] for token in spec["added_tokens"]}
        self.bos_id: int | None = self.special_ids.get(_content(config.get("bos_token")) or "")
        self._tidies = bool(config.get("clean_up_tokenization_spaces", True))

    def ids(self, text: str) -> list[int]:
        ids: list[int] = self._whole.encode(text).ids
        return ids

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        text: str = self._whole.decode(list(ids), skip_special_tokens=skip_special)
        for untidy in self._TIDY if self._tidies else ():
            text = text.replace(untidy, untidy.strip() if untidy != " ' " else "'")
        return text


class _FastLlama:
    """June's fast class: a conversion of tokenizer.model with three faults.

    Scores of zero were taken for none, so those merges are missing: of most files the first. The space before the first
    word is put before each stretch of text between added tokens; and since it is also put before the three basic
    special tokens when they are looked for, those are found only after a space or at the beginning of a stretch.
    """

    legacy = True

    def __init__(self, folder: Path, added: Sequence[str]) -> None:
        own: dict[str, int] = _json(folder / "added_tokens.json")
        pieces = read_pieces((folder / "tokenizer.model").read_bytes())
        spec = with_added(tokenizer_spec(pieces, own, legacy=True), added)
        # Text is made with the tokens as they are; the library would write the space that they are looked for with.
        self._back = tokenizers.Tokenizer.from_str(json.dumps(spec))
        model = spec["model"]
        for token in spec["added_tokens"]:
            token["normalized"] = token["id"] < len(model["vocab"])
        spec = spec | {
            "normalizer": {
                "type": "Sequence",
                "normalizers": [
                    {"type": "Prepend", "prepend": _SPACE},
                    {"type": "Replace", "pattern": {"String": " "}, "content": _SPACE},
                ],
            },
            "pre_tokenizer": None,
            "model": model | {"merges": _fast_merges(pieces)},
        }
        self._whole = tokenizers.Tokenizer.from_str(json.dumps(spec))
        self.special_ids: dict[str, int] = {token["content"]: token["id"] for token in spec["added_tokens"]}
        self.bos_id = self.special_ids["<s>"]

    def ids(self, text: str) -> list[int]:
        return [self.bos_id, *self._whole.encode(text).ids]

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        text: str = self._back.decode(list(ids), skip_special_tokens=skip_special)
        return text


class _SlowLlama:
    """The slow class: SentencePiece on what stands between special tokens, each stretch by itself.

    June's took away white space around tokens that it knew as plain strings, which all added ones were (and in v0's
    trainer all others too). Newest's `legacy` puts the first word's space before every stretch; without it, only before
    the first, by hand.
    """

    def __init__(self, folder: Path, added: Sequence[str], *, june: bool, renewed: bool) -> None:
        config = _json(folder / "tokenizer_config.json")
        names = config | _json(folder / "special_tokens_map.json")
        pieces = read_pieces((folder / "tokenizer.model").read_bytes())
        own: dict[str, int] = _json(folder / "added_tokens.json")
        if not june:  # from 4.34 on the settings list added tokens too
            listed = config.get("added_tokens_decoder") or {}
            own = own | {token["content"]: int(number) for number, token in listed.items()}
        legacy = june or bool(config.get("legacy", True))
        spec = with_added(tokenizer_spec(pieces, own, legacy=legacy), added)
        # No piece is kept from a text: whatever SentencePiece finds in it comes out.
        self._plain = Tokenizer(spec, read_files(folder, added).config, pieces=pieces)
        self._pieces: dict[str, int] = spec["model"]["vocab"]
        self._texts = {number: text for text, number in self._pieces.items()}
        self._space_byte = self._pieces.get("<0x20>")
        self._june = june
        self.legacy = legacy
        self.special_ids = self._plain.special_ids
        self.bos_id = self._plain.bos_id
        self._tokens = {token_id: text for text, token_id in self.special_ids.items()}
        basic = {key: names.get(key) for key in ("bos_token", "eos_token", "unk_token", "pad_token")}
        self._basic = frozenset(text for text in map(_content, basic.values()) if text is not None)
        # Newest calls special what is added as such, but not what a file adds.
        self._special = self._basic if june else self._basic | set(added)
        strings = {token for token in basic.values() if isinstance(token, str)}
        flagged = {_content(token) for token in basic.values() if isinstance(token, dict)}
        strips = {*_json(folder / "added_tokens.json"), *added, *(self._basic if renewed else strings - flagged)}
        self._strips: Collection[str] = strips if june else ()
        self._marks = re.compile("|".join(map(re.escape, sorted(self.special_ids, key=len, reverse=True))))

    def ids(self, text: str) -> list[int]:
        ids: list[int] = [] if self.bos_id is None else [self.bos_id]
        if self.legacy or not text:
            return ids + self._ids_of(self._split(text))
        parts = self._split(_SPACE + text.replace(_SPACE, " "))
        if len(parts) > 1 and parts[0] == _SPACE and parts[1] in self._special:
            parts = parts[1:]
        return ids + self._ids_of(parts)

    def _split(self, text: str) -> list[str]:
        """Special tokens, and what stands between them, which may be nothing."""
        parts: list[str] = []
        start = 0
        for match in self._marks.finditer(text):
            parts += [text[start : match.start()], match.group()]
            start = match.end()
        parts.append(text[start:])
        for place in range(1, len(parts), 2):
            if parts[place] in self._strips:
                parts[place - 1] = parts[place - 1].rstrip()
                parts[place + 1] = parts[place + 1].lstrip()
        return [part for part in parts if part]

    def _ids_of(self, parts: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for part in parts:
            if part in self.special_ids:
                ids.append(self.special_ids[part])
            else:
                ids += self._plain.encode(part.replace(_SPACE, " "), first=self.legacy)
        return ids

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        pieces: list[str] = []
        pending: list[int] = []

        def settle() -> None:
            if pending:
                piece = self._text_of(pending)
                if piece or self._june:
                    pieces.append(piece)
                pending.clear()

        for token_id in ids:
            token = self._tokens.get(token_id)
            if token in self._special and skip_special:
                continue
            if token is None or token in self._basic:
                pending.append(token_id)
            else:
                settle()
                pieces.append(token)
        settle()
        return " ".join(pieces)

    def _text_of(self, ids: Sequence[int]) -> str:
        """Ids without added tokens; a basic special one after words brings a space of its own, in the old ways."""
        out = ""
        pending: list[int] = []
        begins = after_special = False
        for place, token_id in enumerate(ids):
            token = self._tokens.get(token_id)
            if token is None:
                begins = begins or not place
                pending.append(token_id)
                after_special = False
            else:
                space = " " if place and not after_special and self.legacy else ""
                out += space + self._said(pending, begins) + token
                pending.clear()
                after_special, begins = True, False
        return out + self._said(pending, begins)

    def _said(self, ids: Sequence[int], begins: bool) -> str:
        """As SentencePiece joins pieces, with one sign for each byte that is no character.

        The old way it takes off one space at the beginning; newest takes off one more where the whole text begins. Only
        a word's space counts, not one that is spelled as a byte. Newest takes it off the piece, and a rest that is no
        piece (of a run of spaces, where somebody added one) is written as it stands.
        """
        whole = b"".join(map(self._plain.token_bytes, ids))
        if ids and ids[0] != self._space_byte:
            rest = self._texts.get(ids[0], "").removeprefix(_SPACE)
            if begins and not self._june and _SPACE in rest and rest not in self._pieces:
                whole = rest.encode() + b"".join(map(self._plain.token_bytes, ids[1:]))
            else:
                for _ in range(self.legacy + (begins and not self._june)):
                    whole = whole.removeprefix(b" ")
        return re.sub("[\udc80-\udcff]", "\ufffd", whole.decode("utf-8", "surrogateescape"))


def _fast_merges(pieces: Pieces) -> list[tuple[str, str]]:
    """Every pair of entries that makes a third, whatever their kinds, the best score first."""
    found = [
        (-score, pieces.ids[text[:cut]], pieces.ids[text[cut:]], text[:cut], text[cut:])
        for text, score, _ in pieces.pieces
        if score
        for cut in range(1, len(text))
        if text[:cut] in pieces.ids and text[cut:] in pieces.ids
    ]
    return [(left, right) for *_, left, right in sorted(found)]


def _content(token: Any) -> str | None:
    content: str | None = token.get("content") if isinstance(token, dict) else token
    return content
