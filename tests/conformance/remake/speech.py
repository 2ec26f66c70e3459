"""Tokenizers as the original's stacks had them, for texts that the first set does not have: ids, and text of ids.

Cutting is asked of the sentencepiece package (slow ones) and the tokenizers package (byte-level ones); what
transformers did around that is written out here, from the README's account: what stands between special tokens is cut
by itself, June takes white space away around tokens that it knows as plain strings, newest's `legacy` puts a space
before each stretch, and without it only before the first. Proven on every slow and byte-level text of the first set.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import sentencepiece
from tokenizers import AddedToken, Tokenizer

from tests.conformance.remake.files import read_json

SPACE = "▁"
PICTURE = -200
# A NormalizerSpec with add_dummy_prefix off, appended: protobuf merges it into the model's own.
_NO_PREFIX = b"\x1a\x02\x18\x00"
_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token")


class Speech(Protocol):
    """What labels and prompts need of one."""

    legacy: bool
    begin: int | None

    def ids(self, text: str) -> list[int]: ...


def of_folder(folder: Path, *, june: bool, added: Sequence[str] = (), renewed: bool = False) -> Slow | ByteLevel:
    """A folder's; `renewed` where June's v0 trainer set the special tokens once more, as plain strings."""
    if (folder / "tokenizer.model").exists():
        return Slow(folder, june=june, added=added, renewed=renewed)
    return ByteLevel(folder, added)


class ByteLevel:
    """As its file says, with tokens added."""

    legacy = False
    begin: int | None = None

    def __init__(self, folder: Path, added: Sequence[str] = ()) -> None:
        self._whole = Tokenizer.from_file(str(folder / "tokenizer.json"))
        known = self._whole.get_vocab(with_added_tokens=True)
        self._whole.add_special_tokens([AddedToken(token, normalized=False) for token in added if token not in known])

    @property
    def length(self) -> int:
        """Of the vocabulary."""
        count: int = self._whole.get_vocab_size()
        return count

    def ids(self, text: str) -> list[int]:
        """Special tokens in it included."""
        ids: list[int] = self._whole.encode(text).ids
        return ids


class Slow:
    """Llama's slow class."""

    def __init__(self, folder: Path, *, june: bool, added: Sequence[str] = (), renewed: bool = False) -> None:
        config, named = _json(folder / "tokenizer_config.json"), _json(folder / "special_tokens_map.json")
        self._june = june
        self.legacy = june or bool(config.get("legacy", True))
        model = (folder / "tokenizer.model").read_bytes()
        self._cut = sentencepiece.SentencePieceProcessor(model_proto=model if self.legacy else model + _NO_PREFIX)
        count = self._cut.get_piece_size()
        self._own = _json(folder / "added_tokens.json")
        said = {key: (config | named).get(key) for key in _NAMED}
        basic = {text for text in map(_content, said.values()) if text}
        self._ids = {token: self._cut.piece_to_id(token) for token in basic if token not in self._own} | self._own
        for token in added:
            known = self._cut.piece_to_id(token)
            is_piece = known != self._cut.unk_id()
            if token not in self._ids:
                self._ids[token] = known if is_piece else max([count - 1, *self._ids.values()]) + 1
        self._basic = basic
        self._special = basic if june else basic | set(added)
        flagged = {_content(value) for value in said.values() if isinstance(value, dict)}
        plain = {value for value in said.values() if isinstance(value, str)} - flagged
        strips = set(self._own) | set(added) | (basic if renewed else plain)
        self._strips = strips if june else set()
        self._pattern = re.compile("|".join(re.escape(token) for token in sorted(self._ids, key=len, reverse=True)))
        self.length = max([count - 1, *self._ids.values()]) + 1
        self.begin: int | None = self._cut.bos_id() if config.get("add_bos_token", True) else None
        self._unk = _content(said["unk_token"]) or "<unk>"

    def ids(self, text: str) -> list[int]:
        """The begin token first."""
        begin = [] if self.begin is None else [self.begin]
        if self.legacy or not text:
            return begin + [each for part in self._parts(text) for each in self._of(part)]
        parts = self._parts(SPACE + text.replace(SPACE, " "))
        if len(parts) > 1 and parts[0] == SPACE and parts[1] in self._special:
            parts = parts[1:]
        return begin + [each for part in parts for each in self._of(part)]

    def _parts(self, text: str) -> list[str]:
        parts, start = list[str](), 0
        for found in self._pattern.finditer(text):
            parts += [text[start : found.start()], found[0]]
            start = found.end()
        parts.append(text[start:])
        for place in range(1, len(parts), 2):
            if parts[place] in self._strips:
                parts[place - 1], parts[place + 1] = parts[place - 1].rstrip(), parts[place + 1].lstrip()
        return [part for part in parts if part]

    def _of(self, part: str) -> list[int]:
        if part in self._ids:
            return [self._ids[part]]
        if self.legacy or not part.startswith((SPACE, " ")):
            return list(self._cut.encode(part))
        # So that the space at the beginning is kept: transformers puts the unknown token's letters before it.
        before = self._cut.encode(self._unk, out_type=str)
        pieces = self._cut.encode(self._unk + part, out_type=str)
        pieces = pieces[len(before) :] if len(pieces) >= len(before) else pieces
        return [self._cut.piece_to_id(piece) for piece in pieces]

    def text(self, ids: Sequence[int], *, skip_special: bool = False) -> str:
        """As its decode writes them."""
        by_id = {token_id: token for token, token_id in self._ids.items()}
        count = self._cut.get_piece_size()
        tokens = [by_id.get(each) or (self._cut.id_to_piece(each) if each < count else "") for each in ids]
        parts, pending = list[str](), list[str]()
        for token in [*tokens, None]:
            if token is not None and skip_special and token in self._special:
                continue
            if token is None or (token in self._ids and token not in self._basic):
                said = self._joined(pending) if pending else None
                if said or (said is not None and self._june):
                    parts.append(said)
                pending = []
                parts += [] if token is None else [token]
            else:
                pending.append(token)
        return " ".join(parts)

    def _joined(self, tokens: list[str]) -> str:
        if not self._june and tokens[0].startswith(SPACE):
            tokens = [tokens[0][1:], *tokens[1:]]
        out, pending, after_special = "", list[str](), False
        for place, token in enumerate(tokens):
            if token in self._special:
                out += " " if place and not after_special and self.legacy else ""
                out += str(self._cut.decode(pending)) + token
                pending, after_special = [], True
            else:
                pending.append(token)
                after_special = False
        return out + str(self._cut.decode(pending))


def with_pictures(text: str, speech: Speech) -> list[int]:
    """Newest: what stands between <image> tags by itself, one begin token in all."""
    ids: list[int] = []
    for place, stretch in enumerate(text.split("<image>")):
        piece = speech.ids(stretch)
        begins = bool(piece) and speech.begin is not None and piece[0] == speech.begin
        ids += [PICTURE] if place else piece[:1] if begins else []
        ids += piece[1:] if begins else piece
    return ids


def _json(file: Path) -> dict[str, Any]:
    return dict(read_json(file)) if file.exists() else {}


def _content(token: Any) -> str | None:
    return token.get("content") if isinstance(token, dict) else token
