"""Spans -> token ids, picture slots and the supervised mask, in the one place where these are made; and ids -> text.

In: a model folder's tokenizer files (BPE: the Llama kind with "▁" and byte fallback, or the byte-level kind). Knows
no template, no torch, no transformers.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tokenizers

from llava_engine.conversation.sentencepiece import tokenizer_spec
from llava_engine.conversation.spans import PictureSpan, Span
from llava_engine.conversation.tokenizer_json import decoder_strips, plain_spec, prefix_rule, token_bytes, with_added
from llava_engine.errors import ModelError
from llava_engine.files.json import read_bytes, read_json

# Of a tokenizer.model; the largest that is published has 4 MB.
MAX_MODEL_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Slot:
    """Where a picture's features go: `length` tokens from `start`; `picture` counts the conversation's pictures."""

    start: int
    length: int
    picture: int


@dataclass(frozen=True)
class Prompt:
    """A conversation as a model reads it.

    Attributes:
        ids: token ids; in a slot, the picture's placeholder id.
        slots: the pictures' places, in order.
        supervised: one flag a token: whether the loss counts it.
    """

    ids: tuple[int, ...]
    slots: tuple[Slot, ...]
    supervised: tuple[bool, ...]


class Tokenizer:
    """A model's tokenizer.

    Attributes:
        bos_id: stands before everything, or None.
        eos_id: ends an answer, or None.
        pad_id: fills short rows of a batch; the end token where none is named.
        special_ids: every special token's id by its text.
        strips_space: whether decoding drops the space before the first word.
        vocabulary: one more than the largest id, added ones included.
    """

    def __init__(self, spec: dict[str, Any], config: dict[str, Any]) -> None:
        """Take the parsed tokenizer.json and tokenizer_config.json; `from_folder` is the usual way."""
        self.special_ids: dict[str, int] = {
            token["content"]: token["id"] for token in spec.get("added_tokens") or () if token.get("special")
        }
        self._strips_before = _flagged(spec, "lstrip")
        self._strips_after = _flagged(spec, "rstrip")
        # Prefixes, marks and the begin token are put in by hand, so the library sees only plain text.
        self._plain = tokenizers.Tokenizer.from_str(json.dumps(plain_spec(spec, set(self.special_ids))))
        self._plain.encode_special_tokens = True
        self._marks = re.compile("|".join(re.escape(text) for text in sorted(self.special_ids, key=len, reverse=True)))
        self._prefix, self._prefix_after_marks = prefix_rule(spec, config)
        self.strips_space = decoder_strips(spec.get("decoder"))
        ids = self._plain.get_vocab(with_added_tokens=True)
        self.vocabulary = max([*ids.values(), *self.special_ids.values()], default=-1) + 1
        self._bytes = token_bytes(spec, ids)
        self._special = frozenset(self.special_ids.values())

        self.eos_id = self._named(config, "eos_token")
        pad = self._named(config, "pad_token")
        self.pad_id = self.eos_id if pad is None else pad
        first = self._plain.encode("").ids
        bos = self._named(config, "bos_token")
        adds = config.get("add_bos_token", bool(first) and first[0] == bos)
        self.bos_id = bos if adds else None

    @classmethod
    def from_folder(cls, folder: str | Path, added: Sequence[str] = ()) -> Tokenizer:
        """Read a model folder's tokenizer: tokenizer.json, or else the original's tokenizer.model.

        Args:
            folder: the model's, or its base's where the model is an adapter.
            added: special tokens that the folder may lack: those that are not there yet get the next ids, in order.

        Raises:
            ModelError: both are missing, or what is there is broken or of a kind that we do not read.
        """
        source, spec, config = read_files(Path(folder), added)
        with _told_of(source):
            return cls(spec, config)

    def encode(self, text: str, *, first: bool) -> list[int]:
        """Plain text -> ids, no begin token. Special tokens' texts are ordinary letters here.

        Args:
            text: anything.
            first: whether it begins a chunk: then it gets the space that SentencePiece puts before the first word.
        """
        if not text:
            return []
        if first and self._prefix:
            text = " " + text
        whole = text.encode("utf-8", "replace").decode()  # half a character, from a file name or a paste, becomes "?"
        ids: list[int] = self._plain.encode(whole, add_special_tokens=False).ids
        return ids

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text without special tokens; the same text that a `Detokenizer` gives piece by piece."""
        whole = Detokenizer(self)
        return "".join([*map(whole.push, ids), whole.flush()])

    def stop_ids(self, stops: Sequence[str]) -> frozenset[int]:
        """The ids that end an answer: the end token, and each stop string that is one special token."""
        ends = {self.special_ids[stop] for stop in stops if stop in self.special_ids}
        return frozenset(ends if self.eos_id is None else ends | {self.eos_id})

    def is_special(self, token_id: int) -> bool:
        """Whether an id is a special token, which has no text."""
        return token_id in self._special

    def token_bytes(self, token_id: int) -> bytes:
        """The bytes that a token stands for; none for special tokens and for ids beyond the vocabulary."""
        return b"" if token_id in self._special else self._bytes.get(token_id, b"")

    def split_marks(self, text: str) -> Iterator[int | str]:
        """A template's mark -> the ids of the special tokens in it, and the text between them."""
        start = 0
        for match in self._marks.finditer(text) if self.special_ids else ():
            if match.start() > start:
                yield text[start : match.start()]
            yield self.special_ids[match.group()]
            start = match.end()
        if start < len(text):
            yield text[start:]

    @property
    def prefix_after_marks(self) -> bool:
        """Whether text after a special token gets the first word's space again (SentencePiece's `legacy`)."""
        return self._prefix_after_marks

    def strips_before(self, token_id: int) -> bool:
        """Whether the white space before a special token belongs to it."""
        return token_id in self._strips_before

    def strips_after(self, token_id: int) -> bool:
        """Whether the white space after a special token belongs to it."""
        return token_id in self._strips_after

    def _named(self, config: dict[str, Any], key: str) -> int | None:
        named = config.get(key)
        text = named.get("content") if isinstance(named, dict) else named
        return None if text is None else self.special_ids.get(text, self._plain.token_to_id(text))


def read_files(folder: Path, added: Sequence[str] = ()) -> tuple[Path, dict[str, Any], dict[str, Any]]:
    """A folder's tokenizer as data: the file that it is in, tokenizer.json's content (made from tokenizer.model where
    that is all there is), and its settings. See `Tokenizer.from_folder`.
    """
    names = _json_if_there(folder / "special_tokens_map.json") or {}
    settings = _json_if_there(folder / "tokenizer_config.json") or {}
    config = names | {key: value for key, value in settings.items() if value is not None}  # June wrote pad_token: null
    spec = _json_if_there(folder / "tokenizer.json")
    source = folder / ("tokenizer.model" if spec is None else "tokenizer.json")
    if not source.exists():
        raise ModelError(
            f"The model folder {folder} has no tokenizer.json and no tokenizer.model.",
            "Take the folder of a model complete.",
        )
    with _told_of(source):
        if spec is None:
            own = _json_if_there(folder / "added_tokens.json") or {}
            config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"} | config
            # A folder that does not say is from before the question arose: June 2023, and so legacy. The trainer's
            # tokenizer of that time also took away the white space around added tokens; the models never saw any.
            june = "legacy" not in config and "added_tokens_decoder" not in config
            spec = tokenizer_spec(
                read_bytes(source, MAX_MODEL_BYTES), own, legacy=bool(config.get("legacy", True)), added_strip=june
            )
            return source, with_added(spec, added, strip=june), config
        return source, with_added(spec, added), config


def _flagged(spec: dict[str, Any], flag: str) -> frozenset[int]:
    return frozenset(
        token["id"] for token in spec.get("added_tokens") or () if token.get("special") and token.get(flag)
    )


@contextmanager
def _told_of(source: Path) -> Iterator[None]:
    """What goes wrong with a tokenizer's file as an error for its user."""
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # a stranger's file can be wrong in every way; the library raises bare Exceptions too
        why = error if str(error) else type(error).__name__
        raise ModelError(f"{source} is not a tokenizer that we can read: {why}.", "Download it again.") from error


def assemble(
    parts: Sequence[Span], tokenizer: Tokenizer, picture_lengths: Sequence[int], image_token_id: int
) -> Prompt:
    """Spans -> ids, slots and mask.

    Neighbouring text is tokenized in one piece, as if it had been written by one hand; it is cut only at special
    tokens, at pictures, and where the supervised text begins or ends; white space goes where a special token beside it
    takes it. So the ids of an open prompt are always the
    beginning of the ids of the prompt with its answer.

    Args:
        parts: from `spans`.
        tokenizer: the model's.
        picture_lengths: what each picture costs, in tokens.
        image_token_id: the placeholder that fills a slot.
    """
    ids: list[int] = []
    supervised: list[bool] = []
    slots: list[Slot] = []
    pending: list[str] = []
    pending_supervised = False
    first = True
    stripped = False  # the white space that comes next belongs to the token before it

    def put(new: Sequence[int], learned: bool) -> None:
        ids.extend(new)
        supervised.extend([learned] * len(new))

    def settle(before: int | None = None) -> None:
        nonlocal first, stripped
        text = "".join(pending)
        pending.clear()
        if stripped:
            text = text.lstrip()
        if before is not None and tokenizer.strips_before(before):
            text = text.rstrip()
        if text:
            put(tokenizer.encode(text, first=first), pending_supervised)
            first = stripped = False

    def settle_and_put(token: int, count: int, learned: bool) -> None:
        nonlocal stripped
        settle(before=token)
        put([token] * count, learned)
        stripped = tokenizer.strips_after(token)

    if tokenizer.bos_id is not None:
        put([tokenizer.bos_id], False)
    for part in parts:
        if isinstance(part, PictureSpan):
            length = picture_lengths[part.index]
            settle_and_put(image_token_id, length, False)
            slots.append(Slot(len(ids) - length, length, part.index))
            first = True  # as the original: each text between pictures is tokenized on its own
            continue
        if part.supervised != pending_supervised:
            settle()
            pending_supervised = part.supervised
        for piece in tokenizer.split_marks(part.text) if part.special else [part.text]:
            if isinstance(piece, str):
                pending.append(piece)
            else:
                settle_and_put(piece, 1, part.supervised)
                first = tokenizer.prefix_after_marks
    settle()
    return Prompt(tuple(ids), tuple(slots), tuple(supervised))


class Detokenizer:
    """Ids one by one -> text that will not change any more.

    A character whose bytes are spread over tokens is held back until it is whole. All pieces together are
    `Tokenizer.decode` of all ids; bytes that never become a character show as U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, *, lead: str = "") -> None:
        """Begin a stream.

        Args:
            tokenizer: whose ids they are.
            lead: what the template lets an answer begin with (`Template.answer_lead`); dropped once, if it is there.
        """
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._lead = lead or (" " if tokenizer.strips_space else "")

    def push(self, token_id: int) -> str:
        """The text that this token completes; "" while a character is unfinished."""
        return self._without_lead(self._utf8.decode(self._tokenizer.token_bytes(token_id)))

    def flush(self) -> str:
        """What is left at the end."""
        return self._without_lead(self._utf8.decode(b"", final=True))

    def _without_lead(self, text: str) -> str:
        if not text or not self._lead:
            return text
        lead, self._lead = self._lead, ""
        return text.removeprefix(lead)


def _json_if_there(file: Path) -> dict[str, Any] | None:
    return read_json(file) if file.exists() or file.is_symlink() else None  # a link to nowhere is half a copy
