"""Prompts and labels of conversations that the first set does not have, from its templates and the README's account.

In: a template's fields as prompts.json has them, turns, a tokenizer of speech.py. Out: what goldens say of them. Proven
on every case of the first set's prompts.json and labels.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.conformance.remake.speech import Speech, with_pictures

TAG = "<image>"
_NOTHING = -100
Turns = Sequence[Sequence[Any]]
"""Each who speaks (0 the user, 1 the assistant) and what."""
Fields = Mapping[str, Any]


def prompt(fields: Fields, turns: Turns, *, june: bool) -> str:
    """A prompt; an empty text is an open slot, and what ends a turn depends on its place.

    Raises:
        AssertionError, TypeError: where the original does (README 5, and the plain style's missing second separator).
    """
    roles: list[str] = fields["roles"]
    messages = [(place % 2, text) for place, (_, text) in enumerate(fields["builtin_messages"])]
    messages += [(role, text) for role, text in turns]
    if not june and messages and isinstance(messages[0][1], dict):  # a picture of the web page's
        role, bare = messages[0][0], messages[0][1]["text"].replace(TAG, "").strip()
        if "mmtag" in fields["version"]:
            messages[:1] = [(0, f"<Image>{TAG}</Image>"), (1, "Received."), (role, bare)]
        else:
            messages[0] = (role, f"{TAG}\n{bare}")
    said = [(role, text["text"] if isinstance(text, dict) else text) for role, text in messages]
    style, sep, sep2 = fields["sep_style"], fields["sep"], fields["sep2"]
    ends = (sep, sep if style == "SINGLE" else sep2)
    out = "" if style == "LLAMA_2" else fields["system"] + ("" if style == "PLAIN" else sep)
    for place, (role, text) in enumerate(said):
        if style in ("SINGLE", "TWO"):
            out += f"{roles[role]}: {text}{ends[place % 2]}" if text else f"{roles[role]}:"
        elif style == "MPT":
            out += roles[role] + (text + sep if text else "")
        elif style == "PLAIN":
            out += text + ends[place % 2] if text else ""  # a TypeError where there is no second separator
        else:
            assert place or (text and role == 0)
            if not text:
                continue
            if not place and fields["system"]:
                text = f"<<SYS>>\n{fields['system']}\n<</SYS>>\n\n{text}"
            out += f" {text} {sep2}" if place % 2 else f"{sep}[INST] {text} [/INST]"
    return out.lstrip(sep) if style == "LLAMA_2" and sep else out


def outcome(fields: Fields, turns: Turns, *, june: bool) -> dict[str, str]:
    """The prompt, or the error's class, as a case of prompts.json says it."""
    try:
        return {"prompt": prompt(fields, turns, june=june)}
    except (AssertionError, TypeError) as error:
        return {"error": type(error).__name__}


@dataclass(frozen=True)
class Group:
    """What labels.json says of a group.

    Attributes:
        june: which commit.
        fields: its template.
        speech: its tokenizer.
        settings: the group itself.
    """

    june: bool
    fields: Fields
    speech: Speech
    settings: Mapping[str, Any]

    @property
    def longest(self) -> int:
        """model_max_length."""
        return int(self.settings["model_max_length"])


def labelled(sample: Mapping[str, Any], group: Group) -> dict[str, Any]:
    """A result of labels.json, an error included."""
    try:
        return _labelled([dict(turn) for turn in sample["conversations"]], "image" in sample, group)
    except (AssertionError, KeyError, IndexError) as error:
        return {"error": type(error).__name__}


def _labelled(turns: list[dict[str, str]], shown: bool, group: Group) -> dict[str, Any]:
    if shown:
        _show(turns, group)
    if group.fields["sep_style"] == "PLAIN":
        assert len(turns) == 2 and TAG in turns[0]["value"]
        ids = with_pictures(TAG + turns[1]["value"] + group.fields["sep"], group.speech)
        before = len(with_pictures(TAG, group.speech))
        return {"input_ids": ids, "labels": [_NOTHING] * before + ids[before:]}
    cut = None if shown and not group.june else group.longest  # newest leaves pictures' samples to the collator
    encode: Callable[[str], list[int]] = group.speech.ids
    if shown and not group.june:
        encode = lambda text: with_pictures(text, group.speech)  # noqa: E731
    kind = group.fields["version"]
    if group.fields["sep_style"] == "LLAMA_2":
        return _counted(turns, group, encode, cut, "[/INST] ")
    if kind in ("v1", "v1_mmtag"):
        return _counted(turns, group, encode, cut, f"{group.fields['sep']}{group.fields['roles'][1]}: ")
    if kind == "mpt":
        return _chatml(turns, group, encode, cut)
    return _drifting(turns, group, encode, cut)


def _show(turns: list[dict[str, str]], group: Group) -> None:
    """June writes patches for each tag; newest leaves one tag, in front."""
    settings, marks = group.settings, group.settings["mm_use_im_start_end"]
    if group.june:
        if settings["sep_image_conv_front"]:
            assert TAG in turns[0]["value"]
            rest = turns[0]["value"].replace(TAG, "").strip()
            turns[0]["value"] = f"{TAG}{group.fields['sep']}{group.fields['roles'][0]}: {rest}"
        patches = "<im_patch>" * settings["image_token_len"]
        patches = f"<im_start>{patches}<im_end>" if marks else patches
        for turn in turns:
            turn["value"] = turn["value"].replace(TAG, patches)
        return
    tag = f"<Image>{TAG}</Image>" if "mmtag" in group.fields["version"] else TAG
    tag = tag.replace(TAG, f"<im_start>{TAG}<im_end>") if marks else tag
    for turn in turns:
        if TAG in turn["value"]:
            turn["value"] = (tag + "\n" + turn["value"].replace(TAG, "").strip()).strip()


def _conversation(turns: Sequence[Mapping[str, str]], group: Group) -> str:
    """Without the assistant's first words."""
    role = {"human": 0, "gpt": 1}
    kept = turns[1:] if role[turns[0]["from"]] else turns
    said = []
    for place, turn in enumerate(kept):
        assert role[turn["from"]] == place % 2
        said.append((place % 2, turn["value"]))
    return prompt(dict(group.fields) | {"builtin_messages": []}, said, june=group.june)


def _settled(ids: list[int], labels: list[int], counted: int, group: Group) -> dict[str, Any]:
    labels[counted:] = [_NOTHING] * len(labels[counted:])
    total = sum(token != group.settings["pad_token_id"] for token in ids)
    if counted < group.longest and counted != total:
        return {"input_ids": ids, "labels": [_NOTHING] * len(ids), "mismatch_warning": True}
    return {"input_ids": ids, "labels": labels}


def _mask(labels: list[int], start: int, count: int) -> None:
    count = len(labels[start : start + count])
    labels[start : start + count] = [_NOTHING] * count


def _counted(
    turns: Sequence[Mapping[str, str]],
    group: Group,
    encode: Callable[[str], list[int]],
    cut: int | None,
    announced: str,
) -> dict[str, Any]:
    """v1 and Llama 2 (README 8 and 11): rounds are what the end of an answer parts."""
    text = _conversation(turns, group)
    ids = encode(text)[:cut]
    labels, place = [_NOTHING, *ids[1:]], 1
    shorter = int(not group.june and not group.speech.legacy and group.fields["sep_style"] == "TWO")
    for number, piece in enumerate(text.split(group.fields["sep2"])):
        parts = piece.split(announced)
        if not piece or len(parts) != 2:
            break
        less = shorter if number else 0
        _mask(labels, place, len(encode(parts[0] + announced)) - 2 - less)
        place += len(encode(piece)) - less
    return _settled(ids, labels, place, group)


def _chatml(
    turns: Sequence[Mapping[str, str]], group: Group, encode: Callable[[str], list[int]], cut: int | None
) -> dict[str, Any]:
    """The system text, the question and the answer are the first round; newest forgets the mark that ends each."""
    text, end = _conversation(turns, group), group.fields["sep"]
    announced = end + group.fields["roles"][1]
    ids = encode(text)[:cut]
    labels, place = list(ids), 0
    stretches = text.split(end)
    rounds = [end.join(stretches[:3])]
    rounds += [end.join(stretches[start : start + 2]) for start in range(3, len(stretches), 2)]
    for number, piece in enumerate(rounds):
        parts = piece.split(announced)
        if not piece or len(parts) != 2:
            break
        asked, whole = len(encode(parts[0] + announced)), len(encode(piece))
        if group.june:
            whole += len(encode(end))
        else:
            more = int(bool(number) and group.speech.legacy)
            asked, whole = asked - 1 + more, whole + more
        _mask(labels, place, asked)
        place += whole
    return _settled(ids, labels, place, group)


def _drifting(
    turns: Sequence[Mapping[str, str]], group: Group, encode: Callable[[str], list[int]], cut: int | None
) -> dict[str, Any]:
    """v0 (README 6, 7 and 10): every turn is measured with a begin token of its own, padding not counted."""
    roles, pad = group.fields["roles"], group.settings["pad_token_id"]
    names = {"human": roles[0], "gpt": roles[1]}
    header = f"{group.fields['system']}\n\n"
    pieces = [f"### {names.get(turn['from'].lower(), 'unknown')}: {turn['value']}\n" for turn in turns]
    ids = encode("".join([header, *pieces, "### "]))[:cut]

    def measured(text: str) -> int:
        made = encode(text)
        return len(made) if cut is None else sum(token != pad for token in made[:cut])

    labels, place = list(ids), measured(header)
    _mask(labels, 0, place)
    for turn, piece in zip(turns, pieces, strict=True):
        size = measured(piece)
        if turn["from"] == "human":
            _mask(labels, place + 2, size - 2)
        place += size
    return {"input_ids": ids, "labels": labels}
