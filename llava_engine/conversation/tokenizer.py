"""Spans -> token ids, picture slots and the supervised mask, in the one place where these are made; and ids -> text.

In: a model folder's tokenizer files (BPE: the Llama kind with "▁" and byte fallback, or the byte-level kind). Knows
no template, no torch, no transformers.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tokenizers

from llava_engine.conversation.sentencepiece import Pieces, cutter
from llava_engine.conversation.spans import PictureSpan, Span, prompt_text
from llava_engine.conversation.tokenizer_files import is_panic, read_files, told_of
from llava_engine.conversation.tokenizer_json import decoder_strips, plain_spec, prefix_rule, token_bytes
from llava_engine.errors import ModelError


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
        text: the same for a person to read, each picture written as <image>.
    """

    ids: tuple[int, ...]
    slots: tuple[Slot, ...]
    supervised: tuple[bool, ...]
    text: str = field(compare=False)  # prompts that a model reads alike are the same


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

    def __init__(
        self,
        spec: dict[str, Any],
        config: dict[str, Any],
        *,
        pieces: Pieces | None = None,
        inside: Collection[str] = (),
        end_ids: Collection[int] = (),
    ) -> None:
        """Take the parsed tokenizer.json and tokenizer_config.json; `from_folder` is the usual way.

        Args:
            spec, config: the files' content.
            pieces: tokenizer.model's, where that is what `spec` was made from: SentencePiece itself cuts then.
            inside: special tokens that stand inside of a text, which goes on behind them as if they were letters.
            end_ids: ids that end an answer beside the end token.
        """
        self.special_ids: dict[str, int] = {
            token["content"]: token["id"] for token in spec.get("added_tokens") or () if token.get("special")
        }
        self._strips_before = _flagged(spec, "lstrip")
        self._strips_after = _flagged(spec, "rstrip")
        self._marks = re.compile("|".join(re.escape(text) for text in sorted(self.special_ids, key=len, reverse=True)))
        self._prefix, self._prefix_after_marks = prefix_rule(spec, config)
        self.strips_space = decoder_strips(spec.get("decoder"))
        self._ids: dict[str, int] = spec["model"]["vocab"] | {
            token["content"]: token["id"] for token in spec.get("added_tokens") or ()
        }
        self._cut: Callable[[str], list[int]]
        # Prefixes, marks and the begin token are put in by hand, so what cuts sees only plain text.
        begins = False
        bos = self._named(config, "bos_token")
        if pieces is not None:
            self._cut = cutter(pieces, hidden=self.special_ids)
        else:
            plain = tokenizers.Tokenizer.from_str(json.dumps(plain_spec(spec, set(self.special_ids))))
            plain.encode_special_tokens = True
            self._cut = lambda text: _cut_by_json(plain, text)
            begins = plain.encode("").ids[:1] == [bos]
        self.vocabulary = max(self._ids.values(), default=-1) + 1
        self._bytes = token_bytes(spec, self._ids)
        self._special = frozenset(self.special_ids.values())
        self._inside = frozenset(self.special_ids[text] for text in inside)

        self.eos_id = self._named(config, "eos_token")
        self._ends = frozenset(end_ids) | (frozenset() if self.eos_id is None else {self.eos_id})
        pad = self._named(config, "pad_token")
        self.pad_id = self.eos_id if pad is None else pad
        self.bos_id = bos if config.get("add_bos_token", begins) else None

    @classmethod
    def from_folder(cls, folder: str | Path, added: Sequence[str] = ()) -> Tokenizer:
        """Read a model folder's tokenizer: tokenizer.json, or else the original's tokenizer.model.

        Args:
            folder: the model's, or its base's where the model is an adapter.
            added: special tokens that the folder may lack: those that are not there yet get the next ids, in order.

        Raises:
            ModelError: both are missing, or what is there is broken or of a kind that we do not read.
        """
        files = read_files(Path(folder), added)
        with told_of(files.source):
            return cls(files.spec, files.config, pieces=files.pieces, inside=files.inside, end_ids=files.end_ids)

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
        return self._cut(whole)

    def decode(self, ids: Sequence[int]) -> str:
        """Ids -> text without special tokens; the same text that a `Detokenizer` gives piece by piece."""
        whole = Detokenizer(self)
        return "".join([*map(whole.push, ids), whole.flush()])

    def stop_ids(self, stops: Sequence[str]) -> frozenset[int]:
        """The ids that end an answer: the end tokens, and each stop string that is one special token."""
        return self._ends | {self.special_ids[stop] for stop in stops if stop in self.special_ids}

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

    def first_space(self) -> list[int]:
        """The space before a first word that is none: a mark that is cut out of the text."""
        return self._cut(" ") if self._prefix else []

    def cut_inside(self, token_id: int) -> bool:
        """Whether a special token is cut out of the middle of a text, which begins before it and goes on behind it."""
        return token_id in self._inside

    def prefix_after(self, token_id: int) -> bool:
        """Whether text after a special token gets the first word's space again (SentencePiece's `legacy`)."""
        return self._prefix_after_marks and token_id not in self._inside

    def strips_before(self, token_id: int) -> bool:
        """Whether the white space before a special token belongs to it."""
        return token_id in self._strips_before

    def strips_after(self, token_id: int) -> bool:
        """Whether the white space after a special token belongs to it."""
        return token_id in self._strips_after

    def _named(self, config: dict[str, Any], key: str) -> int | None:
        named = config.get(key)
        text = named.get("content") if isinstance(named, dict) else named
        return None if text is None else self._ids.get(text)


def _cut_by_json(plain: tokenizers.Tokenizer, text: str) -> list[int]:
    try:
        ids: list[int] = plain.encode(text, add_special_tokens=False).ids
    except BaseException as error:
        if not is_panic(error):
            raise
        raise ModelError(
            f"A pattern in this model's tokenizer.json fails on this text ({error}).",
            "Write it in other words, or take another copy of the model.",
        ) from None
    return ids


def _flagged(spec: dict[str, Any], flag: str) -> frozenset[int]:
    return frozenset(
        token["id"] for token in spec.get("added_tokens") or () if token.get("special") and token.get(flag)
    )


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
    prompt = _PromptBuilder(tokenizer)
    for part in parts:
        if isinstance(part, PictureSpan):
            prompt.put_picture(part.index, picture_lengths[part.index], image_token_id)
            continue
        for piece in tokenizer.split_marks(part.text) if part.special else [part.text]:
            if isinstance(piece, str):
                prompt.put_text(piece, part.supervised)
            else:
                prompt.put_mark(piece, part.supervised)
    return prompt.finish(prompt_text(parts))


class _PromptBuilder:
    """A prompt as it grows: text waits until it is clear how far it goes, and is then cut in one piece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._supervised: list[bool] = []
        self._slots: list[Slot] = []
        self._waiting = ""
        self._waiting_supervised = False
        self._first = True  # the text that comes next gets the first word's space
        self._stripped = False  # the white space that comes next belongs to the token before it
        if tokenizer.bos_id is not None:
            self._put([tokenizer.bos_id], supervised=False)

    def put_text(self, text: str, supervised: bool) -> None:
        """Text of somebody's, or a template's between its special tokens."""
        if supervised != self._waiting_supervised:
            self._cut()
            self._waiting_supervised = supervised
        self._waiting += text

    def put_mark(self, token: int, supervised: bool) -> None:
        """A special token."""
        if self._first and not self._waiting and self._tokenizer.cut_inside(token):
            self._put(self._tokenizer.first_space(), supervised)
        self._cut(before=token)
        self._put([token], supervised)
        self._stripped = self._tokenizer.strips_after(token)
        self._first = self._tokenizer.prefix_after(token)

    def put_picture(self, picture: int, length: int, placeholder: int) -> None:
        """A picture's slot."""
        self._cut(before=placeholder)
        self._slots.append(Slot(len(self._ids), length, picture))
        self._put([placeholder] * length, supervised=False)
        self._stripped = self._tokenizer.strips_after(placeholder)
        self._first = True  # as the original: each text between pictures is tokenized on its own

    def finish(self, text: str) -> Prompt:
        """All of it, which a person reads as `text`."""
        self._cut()
        return Prompt(tuple(self._ids), tuple(self._slots), tuple(self._supervised), text)

    def _put(self, ids: Sequence[int], supervised: bool) -> None:
        self._ids.extend(ids)
        self._supervised.extend([supervised] * len(ids))

    def _cut(self, before: int | None = None) -> None:
        text, self._waiting = self._waiting, ""
        if self._stripped:
            text = text.lstrip()
        if before is not None and self._tokenizer.strips_before(before):
            text = text.rstrip()
        if text:
            self._put(self._tokenizer.encode(text, first=self._first), self._waiting_supervised)
            self._first = self._stripped = False


class Detokenizer:
    """Ids one by one -> text that will not change any more.

    A character whose bytes are spread over tokens is held back until it is whole. All pieces together are
    `Tokenizer.decode` of all ids; bytes that never become a character show as U+FFFD.
    """

    def __init__(self, tokenizer: Tokenizer, *, lead: str | None = "") -> None:
        """Begin a stream.

        Args:
            tokenizer: whose ids they are.
            lead: what the template lets an answer begin with (`Template.answer_lead`); dropped once, if it is there;
                None where the text was begun before, and nothing is dropped.
        """
        self._tokenizer = tokenizer
        self._utf8 = codecs.getincrementaldecoder("utf-8")("replace")
        self._lead = "" if lead is None else lead or (" " if tokenizer.strips_space else "")

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
