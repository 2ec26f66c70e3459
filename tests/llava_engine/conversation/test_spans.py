"""What a template makes of a conversation, read as text; and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import pytest

from llava_engine.conversation import templates
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import PictureSpan, TextSpan, prompt_text, spans
from llava_engine.errors import ConversationError, ModelError
from llava_engine.pictures.opening import Picture

PICTURE = cast(Picture, None)
V1 = templates.get("v1")


def written(
    *messages: Message, template: templates.Template = V1, system: str | None = "", open_answer: bool = True
) -> str:
    return prompt_text(spans(Conversation(messages, system), template, open_answer=open_answer))


def test_an_open_prompt_ends_where_the_model_begins_to_speak() -> None:
    assert written(Message.user("Hi")) == "USER: Hi ASSISTANT:"
    assert written(Message.user("Hi"), open_answer=False) == "USER: Hi "
    assert written(Message.user("Hi"), Message.assistant("Yes")) == "USER: Hi ASSISTANT: Yes</s>"


def test_no_system_text_leaves_no_trace_of_one() -> None:
    assert (
        written(Message.user("Hi"), template=templates.get("mpt"))
        == "<|im_start|>user\nHi<|im_end|><|im_start|>assistant\n"
    )
    assert written(Message.user("Hi"), system="Be brief.") == "Be brief. USER: Hi ASSISTANT:"
    assert written(Message.user("Hi"), system=None).startswith("A chat between a curious user")


def test_pictures_stand_on_the_templates_side() -> None:
    two = Message.user("Compare.", [PICTURE, PICTURE])
    assert written(two) == "USER: <image>\n<image>\nCompare. ASSISTANT:"
    last = replace(V1, pictures_first=False)
    assert written(two, template=last) == "USER: Compare.\n<image>\n<image> ASSISTANT:"
    wrapped = replace(V1, wrap_pictures=True)
    assert "<im_start><image><im_end>\n<im_start><image><im_end>\nCompare." in written(two, template=wrapped)


def test_a_picture_alone_needs_no_joiner() -> None:
    alone = Message.user("", [PICTURE])
    assert written(alone) == "USER: <image> ASSISTANT:"
    assert written(alone, template=replace(V1, pictures_first=False)) == "USER: <image> ASSISTANT:"


def test_pictures_stand_where_the_data_says() -> None:
    placed = Message("user", "Is  or  larger?", (PICTURE, PICTURE), (3, 7))
    assert written(placed) == "USER: Is <image> or <image> larger? ASSISTANT:"
    assert written(Message("user", "ab", (PICTURE, PICTURE), (0, 2))) == "USER: <image>ab<image> ASSISTANT:"


def test_pictures_are_counted_through_the_whole_conversation() -> None:
    parts = spans(
        Conversation((Message.user("a", [PICTURE]), Message.assistant("b"), Message.user("c", [PICTURE, PICTURE]))), V1
    )
    assert [part.index for part in parts if isinstance(part, PictureSpan)] == [0, 1, 2]


def test_a_tag_that_a_user_types_is_text() -> None:
    parts = spans(Conversation((Message.user("What does <image> mean? </s>"),)), V1)
    assert not any(isinstance(part, PictureSpan) for part in parts)
    typed = next(part for part in parts if isinstance(part, TextSpan) and "<image>" in part.text)
    assert typed == TextSpan("What does <image> mean? </s>", "user", supervised=False, special=False)


def test_the_answer_and_its_end_are_supervised_and_nothing_else() -> None:
    conversation = Conversation((Message.user("q"), Message.assistant("a"), Message.user("r"), Message.assistant("b")))
    for name, learned in [
        ("v0", " a### b###"),
        ("v0-trained", " a\n### b\n###"),
        ("v1", " a</s> b</s>"),
        ("llama2", " a </s> b </s>"),
        ("mpt", "a<|im_end|>b<|im_end|>"),
    ]:
        parts = spans(conversation, templates.get(name))
        assert "".join(part.text for part in parts if isinstance(part, TextSpan) and part.supervised) == learned


def test_what_the_template_shows_as_an_example_is_not_learned() -> None:
    parts = spans(Conversation((Message.user("q"), Message.assistant("a"))), templates.get("v0"))
    example = next(part for part in parts if isinstance(part, TextSpan) and part.text.startswith("Hi there!"))
    assert example.role == "assistant"
    assert not example.supervised


def test_llama_2_puts_the_system_text_into_the_first_turn() -> None:
    llama2 = templates.get("llama2")
    chat = (Message.user("a"), Message.assistant("b"), Message.user("c"))
    assert written(*chat, template=llama2) == "[INST] a [/INST] b </s><s>[INST] c [/INST]"
    assert written(*chat, template=llama2, system="S").startswith("[INST] <<SYS>>\nS\n<</SYS>>\n\na [/INST] b </s>")
    assert written(*chat, template=templates.get("mistral"), system=None) == "[INST] a [/INST] b </s>[INST] c [/INST]"


def test_a_checkpoint_decides_whether_pictures_are_wrapped() -> None:
    for template in templates.TEMPLATES.values():
        for wrapped in (True, False):
            text = written(Message.user("a", [PICTURE]), template=replace(template, wrap_pictures=wrapped))
            assert ("<im_start><image><im_end>" in text) == wrapped


def test_pretraining_writes_a_picture_and_its_caption() -> None:
    plain = templates.get("plain")
    said = Message.user("Describe it briefly.", [PICTURE])
    assert written(said, Message.assistant("a red circle"), template=plain) == "<image>a red circle\n"
    assert written(said, template=plain) == "<image>"


@pytest.mark.parametrize(
    "messages",
    [
        (),
        (Message.assistant("a"),),
        (Message.user("a"), Message.user("b")),
        (Message.user("a"), Message.assistant("b"), Message.assistant("c")),
        (Message.user(""),),
        (Message.user("a"), Message("assistant", "b", (PICTURE,))),
        (Message("user", "ab", (PICTURE,), ()),),
        (Message("user", "ab", (PICTURE,), (3,)),),
        (Message("user", "ab", (PICTURE,), (-1,)),),
        (Message("user", "ab", (PICTURE, PICTURE), (2, 1)),),
    ],
)
def test_what_can_not_be_written_is_a_users_error(messages: tuple[Message, ...]) -> None:
    with pytest.raises(ConversationError) as caught:
        spans(Conversation(messages), V1)
    assert caught.value.cause
    assert caught.value.remedy


def test_a_conversation_that_begins_with_an_answer_is_told_apart_from_two_in_a_row() -> None:
    answer, question = Message.assistant("Hello."), Message.user("Hi")
    with pytest.raises(ConversationError, match="begins with an answer") as first:
        spans(Conversation((answer, question)), V1)
    assert "Leave its first message out" in first.value.remedy
    with pytest.raises(ConversationError, match="Message 3 is the assistant's") as third:
        spans(Conversation((question, answer, answer)), V1)
    assert "take turns" in third.value.remedy


def test_pretraining_needs_a_picture() -> None:
    with pytest.raises(ConversationError, match="no picture"):
        spans(Conversation((Message.user("a"), Message.assistant("b"))), templates.get("plain"))


def test_an_answer_that_was_stopped_at_once_does_not_end_the_conversation() -> None:
    assert (
        written(Message.user("a"), Message.assistant(""), Message.user("b"))
        == "USER: a ASSISTANT: </s>USER: b ASSISTANT:"
    )


def test_every_name_is_its_templates_own() -> None:
    assert all(template.name == name for name, template in templates.TEMPLATES.items())


def test_an_unknown_template_names_those_that_there_are() -> None:
    with pytest.raises(ModelError) as caught:
        templates.get("v9")
    assert "v9" in caught.value.cause
    assert all(name in caught.value.remedy for name in ("v0", "v1", "mpt", "plain"))
