"""What a tokenizer.json says, in its several dialects, as tokenizer.py needs to know it.

In: the parsed file. Out: the same vocabulary for plain text only, the rule for the first word's space, and the bytes
of every token. Knows no folder and encodes nothing.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llava_engine.conversation.sentencepiece import special_flags

_BYTE_TOKEN = re.compile(r"<0x([0-9A-Fa-f]{2})>")


# How byte-level tokenizers of published models cut text before any merge: Llama 3 and Qwen 2 with these patterns,
# GPT-2 and GPT-NeoX without. Any other is a stranger's program, and some programs of this kind never end.
KNOWN_CUTS = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    + digits
    + r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+": whose
    for digits, whose in (("", "qwen2"), ("{1,3}", "llama3"))
}
_KNOWN_STEPS = frozenset({"Prepend", "Replace", "NFC", "Metaspace", "ByteLevel", "Split", "Digits"})
_MOST_STEPS = 4  # of one kind; Llama 3 has two


def is_usual(spec: Mapping[str, Any]) -> bool:
    """Whether a tokenizer.json has one of the shapes that LLaVAs have, known to be read in little time and memory.

    A step that makes text longer can double it forty times; a pattern may never end.
    """
    for part, key in (("normalizer", "normalizers"), ("pre_tokenizer", "pretokenizers")):
        steps = list(_flat(spec.get(part), key))
        if len(steps) > _MOST_STEPS or any(step.get("type") not in _KNOWN_STEPS for step in steps):
            return False
        for step in steps:
            pattern = step.get("pattern") or {}
            if step["type"] == "Prepend" and len(step.get("prepend", "")) > 1:
                return False
            if step["type"] == "Replace" and len(step.get("content", "")) > len(pattern.get("String", "")):
                return False
            if "Regex" in pattern and pattern["Regex"] not in KNOWN_CUTS:
                return False
    return True


def as_special(spec: dict[str, Any], texts: Mapping[str, int | None]) -> dict[str, Any]:
    """The same file with these tokens special, whatever it says of them itself.

    Args:
        spec: the file.
        texts: the tokens, with the ids that they have elsewhere; one whose id another token has here is left out.
    """
    tokens = {token["content"]: token for token in spec.get("added_tokens") or ()}
    vocabulary: dict[str, int] = spec["model"]["vocab"]
    taken = {*vocabulary.values(), *(token["id"] for token in tokens.values())}
    for text, number in texts.items():
        if text in tokens:
            tokens[text] = tokens[text] | {"special": True, "normalized": False}
            continue
        place = vocabulary.get(text, number)
        if place is not None and (text in vocabulary or place not in taken):
            tokens[text] = {"id": place, "content": text} | special_flags(strips=False)
            taken.add(place)
    return spec | {"added_tokens": sorted(tokens.values(), key=lambda token: token["id"])}


def plain_spec(spec: dict[str, Any], specials: set[str]) -> dict[str, Any]:
    """The same vocabulary without the space before the first word, and with no merge that ends in a special token."""
    normalizer = copy.deepcopy(spec.get("normalizer"))
    pre_tokenizer = copy.deepcopy(spec.get("pre_tokenizer"))
    for step in steps_of(pre_tokenizer, "pretokenizers"):
        if step["type"] == "Metaspace":
            step.pop("add_prefix_space", None)
            step["prepend_scheme"] = "never"
        elif step["type"] == "ByteLevel":
            step["add_prefix_space"] = False
    model = dict(spec["model"]) | {"dropout": None}  # which would cut a text otherwise each time
    if model.get("type", "BPE") != "BPE":
        raise ValueError(f"its kind is {model['type']}, not BPE")
    merges = model["merges"]  # "a b" in older files, ["a", "b"] in newer ones
    model["merges"] = [m for m in merges if "".join(m.split(" ") if isinstance(m, str) else m) not in specials]
    without = {"truncation": None, "padding": None, "decoder": None, "normalizer": _without_prepend(normalizer)}
    return spec | without | {"pre_tokenizer": pre_tokenizer, "model": model}


def with_added(spec: dict[str, Any], texts: Sequence[str], *, strip: bool = False) -> dict[str, Any]:
    """The same file with these special tokens too; one that it has keeps its id, the others get the next ones.

    Args:
        spec: the file.
        texts: the tokens.
        strip: whether the white space around new ones belongs to them.
    """
    tokens: list[dict[str, Any]] = list(spec.get("added_tokens") or ())
    ids: dict[str, int] = spec["model"]["vocab"] | {token["content"]: token["id"] for token in tokens}
    special = {token["content"] for token in tokens if token.get("special")}
    for text in texts:
        if text not in special:
            place = ids.setdefault(text, max(ids.values(), default=-1) + 1)
            new_token = {"id": place, "content": text} | special_flags(strips=strip)
            tokens = [token for token in tokens if token["content"] != text] + [new_token]
            special.add(text)
    return spec | {"added_tokens": sorted(tokens, key=lambda token: token["id"])}


def _without_prepend(normalizer: dict[str, Any] | None) -> dict[str, Any] | None:
    if normalizer is None or normalizer["type"] == "Prepend":
        return None
    if normalizer["type"] == "Sequence":
        normalizer["normalizers"] = [step for step in normalizer["normalizers"] if step["type"] != "Prepend"]
    return normalizer


def prefix_rule(spec: dict[str, Any], config: dict[str, Any]) -> tuple[bool, bool]:
    """Whether the first text gets a space, and whether text after a special token gets one too.

    tokenizer.json says so in three dialects; an explicit `legacy` in tokenizer_config.json decides the second.
    """
    prefix = after = False
    if any(step["type"] == "Prepend" for step in steps_of(spec.get("normalizer"), "normalizers")):
        prefix = after = True
    for step in steps_of(spec.get("pre_tokenizer"), "pretokenizers"):
        if step["type"] == "Metaspace":
            scheme = step.get("prepend_scheme") or ("always" if step.get("add_prefix_space", True) else "never")
            prefix, after = prefix or scheme != "never", after or scheme == "always"
        elif step["type"] == "ByteLevel" and step.get("add_prefix_space"):
            prefix = after = True
    legacy = config.get("legacy")
    return prefix, after if legacy is None else prefix and bool(legacy)


def decoder_strips(decoder: dict[str, Any] | None) -> bool:
    """Whether decoding drops the space before the first word."""
    return any(
        step["type"] == "Strip" and step.get("content") == " " and step.get("start", 0) > 0
        for step in steps_of(decoder, "decoders")
    )


def steps_of(part: dict[str, Any] | None, key: str) -> list[dict[str, Any]]:
    """The steps of a normalizer, pre-tokenizer or decoder, whether it is a sequence or a single one."""
    if part is None:
        return []
    return list(part[key]) if part["type"] == "Sequence" else [part]


def _flat(part: Any, key: str) -> Iterator[dict[str, Any]]:
    """The same, of sequences in sequences too."""
    for step in steps_of(part, key):
        yield from _flat(step, key) if step.get("type") == "Sequence" else [step]


def token_bytes(spec: dict[str, Any], vocabulary: dict[str, int]) -> dict[int, bytes]:
    """What each token of the vocabulary stands for."""
    added = {token["id"]: token["content"] for token in spec.get("added_tokens") or ()}
    kinds = {step["type"] for step in steps_of(spec.get("decoder"), "decoders")}
    byte_level = _byte_alphabet() if "ByteLevel" in kinds else None
    table: dict[int, bytes] = {}
    for token, token_id in vocabulary.items():
        if token_id in added:
            table[token_id] = added[token_id].encode()
        elif byte_level is not None:
            table[token_id] = b"".join(byte_level.get(character, character.encode()) for character in token)
        elif match := _BYTE_TOKEN.fullmatch(token):
            table[token_id] = bytes([int(match[1], 16)])
        else:
            table[token_id] = token.replace("▁", " ").encode()
    return table


def _byte_alphabet() -> dict[str, bytes]:
    """The visible character that byte-level BPE writes for each byte (GPT-2's table: printable ones stay)."""
    visible = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    hidden = [byte for byte in range(256) if byte not in visible]
    written = {byte: chr(byte) for byte in visible} | {byte: chr(256 + place) for place, byte in enumerate(hidden)}
    return {character: bytes([byte]) for byte, character in written.items()}
