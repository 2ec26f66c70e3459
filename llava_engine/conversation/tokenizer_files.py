"""A model folder -> its tokenizer as data: vocabulary, settings, and which of its tokens are special.

tokenizer.json, or else the original's tokenizer.model. A token is special when any of the folder's files says so: by
its kind, as an added token, or by being named as the begin, the end or another such token. Knows no text to be cut.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from llava_engine.conversation.sentencepiece import Pieces, looks_like_a_mark, read_pieces, tokenizer_spec
from llava_engine.conversation.tokenizer_json import as_special, is_usual, with_added
from llava_engine.errors import ModelError
from llava_engine.files.json import MAX_BYTES, MAX_CONFIG_BYTES, read_bytes, read_json
from llava_engine.limited_process import LimitedProcessError, call_apart

# Of a tokenizer.model; the largest that is published has 4 MB.
MAX_MODEL_BYTES = 16 * 2**20

_TRIAL_S = 5.0  # the largest published tokenizer.json is read and tried out in a second

_NAMED = ("bos_token", "eos_token", "unk_token", "pad_token", "sep_token", "cls_token", "mask_token")
_LISTED = ("additional_special_tokens", "extra_special_tokens")
_CERTAIN_MARK = re.compile(r"<\|[^<>|\s]+\|>")
_NUMBERED = ("bos_token_id", "eos_token_id", "pad_token_id")


class _Number(NamedTuple):
    """A token that a config names by its id.

    Attributes:
        key: what for.
        token_id: the id.
        by_hand: whether somebody meant it: a lone one in config.json may be its class's default, which is 2 whatever
            the vocabulary.
    """

    key: str
    token_id: int
    by_hand: bool


@dataclass(frozen=True)
class TokenizerFiles:
    """What the files say.

    Attributes:
        source: tokenizer.json or tokenizer.model, whichever is read.
        spec: tokenizer.json's content; made from tokenizer.model where that is all there is.
        config: special_tokens_map.json and tokenizer_config.json, the latter first.
        pieces: tokenizer.model's, where that is read.
        inside: special tokens that SentencePiece cuts out of the middle of a text, which goes on behind them: those
            of tokenizer.model that no other file names or adds.
        end_ids: all ids that end an answer by `eos_token_id` of config.json and generation_config.json.
    """

    source: Path
    spec: dict[str, Any]
    config: dict[str, Any]
    pieces: Pieces | None
    inside: frozenset[str]
    end_ids: frozenset[int]


def read_files(folder: Path, added: Sequence[str] = ()) -> TokenizerFiles:
    """Read a folder's files. See `Tokenizer.from_folder` for arguments and errors."""
    names = _json_if_there(folder / "special_tokens_map.json") or {}
    settings = _json_if_there(folder / "tokenizer_config.json") or {}
    config = names | {key: value for key, value in settings.items() if value is not None}  # June wrote pad_token: null
    numbers = _numbers(folder)
    spec = _json_if_there(folder / "tokenizer.json", MAX_BYTES)
    source = folder / ("tokenizer.model" if spec is None else "tokenizer.json")
    if not source.exists():
        raise ModelError(
            f"The model folder {folder} has no tokenizer.json and no tokenizer.model.",
            "Take the folder of a model complete.",
        )
    with told_of(source):
        pieces, strip = None, False
        own: dict[str, int] = _json_if_there(folder / "added_tokens.json") or {}
        if spec is None:
            pieces = read_pieces(read_bytes(source, MAX_MODEL_BYTES))
            config = {"add_bos_token": True, "bos_token": "<s>", "eos_token": "</s>"} | config
            # A folder that does not say is from before the question arose: June 2023, and so legacy. The trainer's
            # tokenizer of that time also took away the white space around added tokens; the models never saw any.
            strip = "legacy" not in config and "added_tokens_decoder" not in config
            legacy = bool(config.get("legacy", True))
            spec = tokenizer_spec(pieces, own, legacy=legacy, added_strip=strip, marks=pieces.marks)
        elif not is_usual(spec):
            _try_out(spec)
        said = _said_special(spec, config, own, numbers)
        inside: frozenset[str] = frozenset()
        if pieces is not None:
            inside = frozenset({*said, *pieces.marks} & pieces.ids.keys()) - pieces.control - _apart(config, own)
            inside -= frozenset(added)
        spec = with_added(as_special(spec, said), added, strip=strip)
        special = {token["id"] for token in spec["added_tokens"] if token.get("special")}
        ends = frozenset(
            each.token_id
            for each in numbers
            if each.key == "eos_token_id" and (each.by_hand or each.token_id in special)
        )
        return TokenizerFiles(source, spec, config, pieces, inside, ends)


@contextmanager
def told_of(source: Path) -> Iterator[None]:
    """What goes wrong with a tokenizer's file as an error for its user."""
    try:
        yield
    except ModelError:
        raise
    except BaseException as error:  # a stranger's file can be wrong in every way; the library raises bare ones too
        if not (isinstance(error, Exception) or is_panic(error)):
            raise
        why = error if str(error) else type(error).__name__
        raise ModelError(f"{source} is not a tokenizer that we can read: {why}.", "Download it again.") from error


def is_panic(error: BaseException) -> bool:
    """Whether the tokenizers library gave up in Rust; that is no Exception, and its class cannot be imported."""
    return type(error).__name__ == "PanicException"


def _try_out(spec: Mapping[str, Any]) -> None:
    """Read it in another process first, where it may do no harm. Raises `ValueError`."""
    try:
        refused = call_apart("llava_engine.conversation.tokenizer_trial:problem_of", spec, seconds=_TRIAL_S)
    except LimitedProcessError as error:
        raise ValueError(str(error)) from None
    if refused is not None:
        raise ValueError(refused)


def _said_special(
    spec: Mapping[str, Any], config: Mapping[str, Any], own: Mapping[str, int], numbers: Sequence[_Number]
) -> dict[str, int | None]:
    """The tokens that some file calls special, with their ids where it says them.

    What is added or numbered counts only where it looks like a mark: an added run of spaces is a word that somebody
    wanted whole, and a wrong number may point at any word. What is written <|so|> is no word, whoever lists it.
    """
    vocabulary: Mapping[str, int] = spec["model"]["vocab"]
    texts: dict[str, int | None] = {
        text: number for text, number in vocabulary.items() if text[:2] == "<|" and _CERTAIN_MARK.fullmatch(text)
    }
    for number, token in _dictionary(config, "added_tokens_decoder").items():
        text = _content(token)
        if text is not None and str(number).isdecimal() and (_flagged(token) or looks_like_a_mark(text)):
            texts[text] = int(number)
    texts |= {text: number for text, number in own.items() if looks_like_a_mark(text)}
    by_id = {number: text for text, number in vocabulary.items()}
    for token in spec.get("added_tokens") or ():
        by_id[token["id"]] = token["content"]
        if not token.get("special") and looks_like_a_mark(token["content"]):
            texts.setdefault(token["content"], token["id"])
    for text in _named(config):
        if text in vocabulary:
            texts.setdefault(text, vocabulary[text])
    for each in numbers:
        if looks_like_a_mark(by_id.get(each.token_id, "")):
            texts.setdefault(by_id[each.token_id], each.token_id)
    return texts


def _named(config: Mapping[str, Any]) -> list[str]:
    """The tokens that the settings name: the begin, the end, …"""
    named = [config.get(key) for key in _NAMED]
    for key in _LISTED:
        listed = config.get(key)
        named += listed.values() if isinstance(listed, dict) else listed if isinstance(listed, list) else []
    return [text for text in map(_content, named) if text]


def _apart(config: Mapping[str, Any], own: Mapping[str, int]) -> frozenset[str]:
    """What the slow tokenizer took out of a text before SentencePiece saw it: named and added tokens."""
    decoder = map(_content, _dictionary(config, "added_tokens_decoder").values())
    return frozenset({*_named(config), *own, *(text for text in decoder if text)})


def _dictionary(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _numbers(folder: Path) -> list[_Number]:
    """Special tokens by number, from the folder's configs, the language model's part of them too."""
    found: list[_Number] = []
    for file in ("config.json", "generation_config.json"):
        whole = _json_if_there(folder / file) or {}
        parts = [part for part in (whole, whole.get("text_config")) if isinstance(part, dict)]
        for part in parts:
            for key in _NUMBERED:
                listed = part[key] if isinstance(part.get(key), list) else [part.get(key)]
                by_hand = file == "generation_config.json" or len(listed) > 1
                found += [_Number(key, each, by_hand) for each in listed if type(each) is int and each >= 0]
    return found


def _content(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _flagged(token: Any) -> bool:
    return isinstance(token, dict) and token.get("special") is True


def _json_if_there(file: Path, most: int = MAX_CONFIG_BYTES) -> dict[str, Any] | None:
    return read_json(file, most) if file.exists() or file.is_symlink() else None  # a link to nowhere is half a copy
