"""A conversation and a template -> spans of text and pictures, in the order in which the model reads them.

Each span says who said it, whether the model learns to say it, and whether special tokens in it count: only the
template's own marks do, so nothing that a user types can pass for a mark or a picture. Knows no tokenizer.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.templates import Template
from llava_engine.errors import ConversationError

Speaker = Literal["system", "user", "assistant"]


@dataclass(frozen=True)
class TextSpan:
    """A piece of text.

    Attributes:
        text: what stands there; never empty.
        role: whose turn it belongs to.
        supervised: whether the model learns to say it.
        special: whether it is the template's own mark, in which `</s>` and the like are special tokens; elsewhere
            they are ordinary letters.
    """

    text: str
    role: Speaker
    supervised: bool = False
    special: bool = False


@dataclass(frozen=True)
class PictureSpan:
    """The place of a picture. `index` counts the pictures of the whole conversation, from 0."""

    index: int


Span = TextSpan | PictureSpan


def spans(conversation: Conversation, template: Template, *, open_answer: bool = True, begun: str = "") -> list[Span]:
    """Write a conversation in a template.

    Args:
        conversation: user and assistant in turn, user first.
        template: how to write it.
        open_answer: when the user spoke last, end with the tag after which the model answers.
        begun: how that answer begins; the model goes on after it.

    Raises:
        ConversationError: no messages, a wrong order of roles, a turn of the user's with nothing in it, or pictures
            whose places do not fit their text.
    """
    _check(conversation, template)
    written = _write(conversation, template, open_answer, begun)
    return [span for span in written if isinstance(span, PictureSpan) or span.text]


def prompt_text(parts: Sequence[Span]) -> str:
    """The prompt as a person may read it, each picture written as <image>."""
    return "".join(part.text if isinstance(part, TextSpan) else "<image>" for part in parts)


def _write(conversation: Conversation, template: Template, open_answer: bool, begun: str) -> Iterator[Span]:
    stated = template.system if conversation.system is None else conversation.system
    system = list(_system(stated, template)) if stated else []
    if not template.system_inside:
        yield from system
        system = []
    start = ""
    for question, answer in template.examples:
        yield from _user(Message.user(question), template, 0, start, system)
        yield from _assistant(answer, template, supervised=False)
        start, system = template.turn_start, []
    pictures = 0
    for message in conversation.messages:
        if message.role == "user":
            yield from _user(message, template, pictures, start, system)
            pictures += len(message.pictures)
            start, system = template.turn_start, []
        else:
            yield from _assistant(message.text, template, supervised=True)
    if open_answer and conversation.messages[-1].role == "user":
        yield TextSpan(template.assistant_tag, "assistant", special=True)
        if begun:
            yield from _said(begun, template, supervised=True)


def _system(system: str, template: Template) -> Iterator[Span]:
    yield TextSpan(template.system_tag, "system", special=True)
    yield TextSpan(system, "system")
    yield TextSpan(template.system_end, "system", special=True)


def _user(
    message: Message, template: Template, first_picture: int, turn_start: str, system: Sequence[Span]
) -> Iterator[Span]:
    yield TextSpan(turn_start + template.user_tag, "user", special=True)
    yield from system
    indices = range(first_picture, first_picture + len(message.pictures))
    text = "" if template.captions_only else message.text
    joiner = TextSpan(template.picture_joiner, "user")
    if message.picture_offsets is not None and not template.captions_only:
        start = 0
        for index, end in zip(indices, message.picture_offsets, strict=True):
            yield TextSpan(text[start:end], "user")
            yield from _picture(index, template)
            start = end
        yield TextSpan(text[start:], "user")
    elif template.pictures_first:
        for index in indices:
            yield from _picture(index, template)
            if text or index != indices[-1]:
                yield joiner
        yield TextSpan(text, "user")
    else:
        yield TextSpan(text, "user")
        for index in indices:
            if text or index != indices[0]:
                yield joiner
            yield from _picture(index, template)
    yield TextSpan(template.user_end, "user", special=True)


def _picture(index: int, template: Template) -> Iterator[Span]:
    if template.wrap_pictures:
        yield TextSpan("<im_start>", "user", special=True)
    yield PictureSpan(index)
    if template.wrap_pictures:
        yield TextSpan("<im_end>", "user", special=True)


def _assistant(text: str, template: Template, *, supervised: bool) -> Iterator[Span]:
    yield TextSpan(template.assistant_tag, "assistant", special=True)
    yield from _said(text, template, supervised=supervised)
    yield TextSpan(template.answer_end, "assistant", supervised, special=True)


def _said(text: str, template: Template, *, supervised: bool) -> Iterator[Span]:
    yield TextSpan(template.answer_lead, "assistant", supervised, special=True)
    yield TextSpan(text, "assistant", supervised)


def _check(conversation: Conversation, template: Template) -> None:
    if not conversation.messages:
        raise ConversationError("This conversation is empty.", "Write a message or attach a picture.")
    if conversation.messages[0].role == "assistant":
        raise ConversationError(
            "This conversation begins with an answer, and models have only learned such as the user begins.",
            "Leave its first message out, as training does, or put the user's before it.",
        )
    for number, message in enumerate(conversation.messages, start=1):
        expected = "user" if number % 2 else "assistant"
        if message.role != expected:
            raise ConversationError(
                f"Message {number} is the {message.role}'s where the {expected}'s belongs.",
                "User and assistant take turns: put two messages of the same one together, or leave one out.",
            )
        if message.role == "assistant" and message.pictures:
            raise ConversationError(f"Message {number} is an answer with a picture.", "Only a user shows pictures.")
        if message.role == "user" and not message.pictures and not message.text:
            raise ConversationError(f"Message {number} says nothing.", "Write a message or attach a picture.")
        if message.role == "user" and not message.pictures and template.captions_only:
            raise ConversationError(
                f"Message {number} has no picture, and the template “{template.name}” writes nothing else.",
                "Attach a picture, or use a template for conversations.",
            )
        _check_places(number, message)


def _check_places(number: int, message: Message) -> None:
    places = message.picture_offsets
    if places is None:
        return
    if len(places) != len(message.pictures):
        raise ConversationError(
            f"Message {number} has {len(message.pictures)} pictures and {len(places)} places for them.",
            "Give each picture one place.",
        )
    if list(places) != sorted(places) or any(not 0 <= place <= len(message.text) for place in places):
        raise ConversationError(
            f"Message {number} places its pictures at {list(places)}, in a text of {len(message.text)} characters.",
            "Give places that ascend and lie within the text.",
        )
