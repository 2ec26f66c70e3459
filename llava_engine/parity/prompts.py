"""The original's prompt: turns and one of its templates -> text, with what it does to odd conversations.

In default, templates and spans.py write prompts; this is what the original's own code wrote, including its errors, so
that the two can be compared. Knows no tokenizer and no pictures beyond their tags.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from llava_engine.parity.original_templates import Commit, OriginalTemplate

PICTURE_TAG = "<image>"
PATCH = "<im_patch>"


@dataclass(frozen=True)
class WebMessage:
    """What the web page puts in a message's place when a picture goes with it; its picture and mode play no part."""

    text: str


Turn = tuple[int, str | WebMessage | None]
"""Who speaks (0 the user, 1 the assistant) and what; None is the slot where the model is to answer."""


def prompt(template: OriginalTemplate, turns: Sequence[Turn], commit: Commit) -> str:
    """The text that the original asks the model with.

    An empty message is taken for an open slot: its role is announced, and nothing ends it.

    Args:
        template: whose examples stand before the turns.
        turns: the conversation.
        commit: whose code; they differ in what they do with a `WebMessage`.

    Raises:
        AssertionError: in Llama 2's style, when the first message is empty or not the user's.
        TypeError: in the plain style, when the assistant says something (there is nothing to end it with).
    """
    examples: list[Turn] = [(place % 2, text) for place, text in enumerate(template.examples)]
    messages = [*examples, *turns]
    if commit == "c121f04":
        messages = _with_picture_in_front(template, messages)
    spoken = [(role, text.text if isinstance(text, WebMessage) else text) for role, text in messages]
    return _STYLES[template.style](template, spoken)


def copied(template: OriginalTemplate, commit: Commit) -> OriginalTemplate:
    """What is left of a template after the original's `copy()`: June's forgot the version."""
    return replace(template, version="Unknown") if commit == "b4be90b" else template


def with_patches(text: str, patches: int, *, start_end: bool) -> str:
    """June's way to show a picture: its tag becomes as many patch tokens as the tower gives patches."""
    shown = PATCH * patches
    return text.replace(PICTURE_TAG, f"<im_start>{shown}<im_end>" if start_end else shown)


def _with_picture_in_front(template: OriginalTemplate, messages: list[Turn]) -> list[Turn]:
    """Newest, where the first message came with a picture: all tags leave it, and one goes in front."""
    if not messages or not isinstance(messages[0][1], WebMessage):
        return messages
    role, said = messages[0][0], messages[0][1].text.replace(PICTURE_TAG, "").strip()
    if "mmtag" in template.version:
        return [(0, f"<Image>{PICTURE_TAG}</Image>"), (1, "Received."), (role, said), *messages[1:]]
    return [(role, f"{PICTURE_TAG}\n{said}"), *messages[1:]]


_Spoken = Sequence[tuple[int, str | None]]


def _single(template: OriginalTemplate, messages: _Spoken) -> str:
    return _announced(template, messages, (template.sep, template.sep))


def _two(template: OriginalTemplate, messages: _Spoken) -> str:
    return _announced(template, messages, (template.sep, template.sep2 or ""))


def _announced(template: OriginalTemplate, messages: _Spoken, ends: tuple[str, str]) -> str:
    """Who speaks is said by name; what ends a turn depends on its place, not on who spoke."""
    written = template.system + template.sep
    for place, (role, text) in enumerate(messages):
        name = template.roles[role]
        written += f"{name}: {text}{ends[place % 2]}" if text else f"{name}:"
    return written


def _chatml(template: OriginalTemplate, messages: _Spoken) -> str:
    written = template.system + template.sep
    for role, text in messages:
        written += template.roles[role] + (text + template.sep if text else "")
    return written


def _plain(template: OriginalTemplate, messages: _Spoken) -> str:
    written = template.system
    for place, (_, text) in enumerate(messages):
        if text:
            end = template.sep2 if place % 2 else template.sep
            if end is None:
                raise TypeError("the plain style has nothing to end the assistant's words with")
            written += text + end
    return written


def _llama_2(template: OriginalTemplate, messages: _Spoken) -> str:
    written = ""
    for place, (role, text) in enumerate(messages):
        if place == 0 and (not text or role != 0):
            raise AssertionError("the first message has to be the user's, and to say something")
        if not text:
            continue
        if place == 0 and template.system:
            text = f"<<SYS>>\n{template.system}\n<</SYS>>\n\n{text}"
        written += f" {text} {template.sep2}" if place % 2 else f"{template.sep}[INST] {text} [/INST]"
    # Meant to take off one separator, it takes off every character that occurs in it, as often as it comes.
    return written.lstrip(template.sep)


_STYLES = {"SINGLE": _single, "TWO": _two, "MPT": _chatml, "PLAIN": _plain, "LLAMA_2": _llama_2}
