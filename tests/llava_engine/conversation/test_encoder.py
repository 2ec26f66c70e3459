"""The encoder: pictures cost what their sizes say, and the system text is the nearest that is stated."""

from __future__ import annotations

import pytest

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.templates import get
from llava_engine.errors import ConversationError
from tests.fakes.fake_picture import fake_picture
from tests.llava_engine.conversation.tiny_tokenizers import llama

IMAGE = -200


def encoder(system: str | None = None) -> PromptEncoder:
    return PromptEncoder(llama(legacy=True), get("v1"), system, IMAGE, lambda size: size[0] * 10 + size[1])


def test_a_picture_costs_what_its_height_and_width_say() -> None:
    shown = [fake_picture("a.png", size=(3, 2)), fake_picture("b.png", size=(1, 4))]  # width, height
    asked = Conversation((Message.user("the cat", shown[:1]), Message.assistant("red"), Message.user("is", shown[1:])))
    prompt = encoder("").encode(asked)
    assert [(slot.length, slot.picture) for slot in prompt.slots] == [(2 * 10 + 3, 0), (4 * 10 + 1, 1)]
    assert [prompt.ids[slot.start : slot.start + slot.length] for slot in prompt.slots] == [
        (IMAGE,) * 23,
        (IMAGE,) * 41,
    ]
    assert prompt.ids.count(IMAGE) == 64
    assert prompt.text == "USER: <image>\nthe cat ASSISTANT: red</s>USER: <image>\nis ASSISTANT:"


def test_the_nearest_system_text_counts() -> None:
    turn = (Message.user("the cat"),)
    own = get("v1").system
    assert own
    for of_encoder, of_conversation, read in (
        (None, None, f"{own} "),
        ("Be red.", None, "Be red. "),
        ("Be red.", "Be the cat.", "Be the cat. "),
        ("Be red.", "", ""),
        ("", None, ""),
        (None, "", ""),
    ):
        prompt = encoder(of_encoder).encode(Conversation(turn, of_conversation))
        assert prompt.text == f"{read}USER: the cat ASSISTANT:"
        assert prompt.ids[0] == 1 and prompt.ids.count(1) == 1
        begun, ended = llama(legacy=True).decode(prompt.ids), prompt.text
        assert begun.replace(" ", "") == ended.replace(" ", "")


def test_what_the_template_can_not_write_is_refused() -> None:
    with pytest.raises(ConversationError):
        encoder().encode(Conversation())
