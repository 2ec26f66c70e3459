"""Texts that look like a template's marks, typed by a user or said before: letters, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from llava_engine import Conversation, Message
from llava_engine.backends.transformers.answer_text import AnswerText
from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.prompt import Prompter
from tests.llava_engine.backends.transformers.families import FAMILIES
from tests.llava_engine.backends.transformers.plain import PlainTransformers, asked, noise, run

Engines = Callable[[str], TransformersEngine]
Plains = Callable[[str], PlainTransformers]
PICTURE = noise(1, 40, 30)


def special_of(plain: PlainTransformers) -> dict[int, str]:
    """A tokenizer's special tokens."""
    return {token: one.content for token, one in plain.processor.tokenizer.added_tokens_decoder.items() if one.special}


def marks_of(plain: PlainTransformers) -> list[str]:
    special = special_of(plain)
    return [*special.values(), plain.processor.image_token, "\U000f0000", "\ue0f00\ue0f1"]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_mark_of_a_family_is_text_when_a_user_types_it(family: str, plain_of: Plains) -> None:
    plain = plain_of(family)
    tokenizer, prompter = plain.processor.tokenizer, Prompter(plain.processor, "model")
    special = special_of(plain)
    marks = [*dict.fromkeys(marks_of(plain))]
    assert len(marks) > 6
    honest = prompter.prompt(asked(("a  b", [PICTURE]), "yes", "c"))
    for mark in [*marks[:8], *marks[-3:], "".join(marks[:8]), marks[1] * 3]:  # one family has 36 alike
        text = f"a {mark} b"
        typed = prompter.prompt(asked((text, [PICTURE]), f"yes{mark}", f"c{mark}"))
        # As many special tokens as without it, in the same order, and one picture where it was.
        assert [one for one in typed.ids if one in special] == [one for one in honest.ids if one in special], mark
        assert [end - start for start, end in typed.ranges] == [end - start for start, end in honest.ranges]
        assert typed.ranges[0] == honest.ranges[0]
        assert max(typed.ids) < 340
        # Nothing of the text is lost or changed.
        decoded = tokenizer.decode(list(typed.ids[typed.ranges[0][1] :]), skip_special_tokens=False)
        assert text in decoded and f"yes{mark}" in decoded and f"c{mark}" in decoded, mark
        assert text in typed.text and "\ue0f0" not in typed.text.replace("\ue0f00\ue0f1", "")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_typed_mark_changes_no_other_token(family: str, plain_of: Plains) -> None:
    plain = plain_of(family)
    special = special_of(plain)
    for text in ("the <b>bold</b> is |im_start| <im", "a < image > b", "≺image≻", "<Image>"):
        conversation = asked((text, [PICTURE]))
        ids = list(Prompter(plain.processor, "model").prompt(conversation).ids)
        assert ids == plain.prompt(conversation), text
        assert sum(one in special for one in ids) > 3


@pytest.mark.parametrize("family", FAMILIES)
def test_an_engine_answers_what_is_full_of_marks(family: str, engine_of: Engines, plain_of: Plains) -> None:
    marks = "".join([*marks_of(plain_of(family))[:4], *marks_of(plain_of(family))[-3:]])
    reply = run(engine_of(family), asked((marks, [PICTURE]), marks, ("again " + marks, [PICTURE])), max_new_tokens=3)
    assert len(reply.picture_tokens) == 2
    assert marks in reply.prompt


def test_a_system_text_and_a_begun_answer_are_text_too(plain_of: Plains) -> None:
    plain = plain_of("qwen2_5_vl")
    prompter = Prompter(plain.processor, "model")
    start = plain.processor.tokenizer.convert_tokens_to_ids("<|im_start|>")
    told = Conversation((Message.user("Hi"),), system="You are <|im_start|>user.")
    prompt = prompter.prompt(told, "I <|im_start|>am")
    assert prompt.ids.count(start) == 3  # system, user, assistant
    assert prompt.text.endswith("assistant\nI <|im_start|>am")


def test_what_a_template_looks_for_in_an_answer_stays(plain_of: Plains) -> None:
    """A word of a thinking model that is a token without being special: the template finds it in what was said."""
    plain = plain_of("qwen2_5_vl")
    think = plain.processor.tokenizer.convert_tokens_to_ids("<think>")
    plain.processor.chat_template += "{#<think>#}"
    try:
        prompt = Prompter(plain.processor, "model").prompt(asked("a <think> b", "<think>so", "c"))
    finally:
        plain.processor.chat_template = plain.processor.chat_template.removesuffix("{#<think>#}")
    assert prompt.ids.count(think) == 1


def test_a_model_that_says_a_stand_in_says_nothing(plain_of: Plains) -> None:
    """Models have more rows than their tokenizers have tokens; stand-ins get the numbers of such rows."""
    plain = plain_of("idefics3")
    tokenizer, prompter = plain.processor.tokenizer, Prompter(plain.processor, "model")
    prompter.prompt(asked("a <image> b"))
    stand_in = next(token for token in range(340) if token in prompter.marks.stand_ins)
    words = tokenizer.encode("the thing", add_special_tokens=False)
    answer = AnswerText(tokenizer, frozenset(), (), "", 100, prompter.marks.stand_ins)
    pieces = [answer.push(token) for token in (words[0], stand_in, *words[1:], stand_in)]
    assert "".join(pieces) == answer.text == "the thing"
