"""Conversations that go on, are changed, and get pictures later: the tokens of a whole read with nothing kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llava_engine import Conversation, Message
from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.recognition import as_foreign
from llava_engine.opening import Placement, Source
from tests.llava_engine.backends.transformers.families import FAMILIES, build
from tests.llava_engine.backends.transformers.plain import PlainTransformers, asked, noise, run

TOKENS = 8
PICTURES = [noise(1, 40, 30), noise(2, 20, 50), noise(3, 33, 33), noise(4, 90, 20)]

Engines = Callable[[str], TransformersEngine]
Plains = Callable[[str], PlainTransformers]


def check(engine: TransformersEngine, plain: PlainTransformers, conversation: Conversation) -> int:
    """Hold an answer to plain transformers; how many tokens of the prompt were kept."""
    reply = run(engine, conversation, max_new_tokens=TOKENS)
    prompt = plain.prompt(conversation)
    assert reply.prompt_tokens == len(prompt)
    assert list(reply.token_ids) == plain.answer(conversation, TOKENS)
    return reply.cached_tokens


@pytest.mark.parametrize("family", FAMILIES)
def test_turns_with_pictures_now_and_later(family: str, engine_of: Engines, plain_of: Plains) -> None:
    engine, plain = engine_of(family), plain_of(family)
    conversation = asked(("What is the thing?", PICTURES[:1]))
    questions = [
        ("And the other?", []),
        ("\nthis", PICTURES[1:2]),
        ("one more", PICTURES[2:3]),  # alone it would be seen in another way than as one of three
        ("", [PICTURES[3], PICTURES[0]]),  # side by side, where words may melt together
        ("What is there?", []),
    ]
    kept = [check(engine, plain, conversation)]
    for text, pictures in questions:
        answer = run(engine, conversation, max_new_tokens=TOKENS).text or "Yes"
        conversation = conversation.then(Message.assistant(answer)).then(Message.user(text, pictures))
        kept.append(check(engine, plain, conversation))
    if family != "gemma3":  # whose sliding layers can not be cut back
        assert kept[1] > kept[0] and kept[5] > kept[4] > kept[3] > 60
    # The last turns are taken back and the second question is asked in another way: no picture but the first is left,
    # which one family sees otherwise when it is alone.
    edited = Conversation((*conversation.messages[:2], Message.user("Or the other?")))
    assert (check(engine, plain, edited) > 20) == (family not in ("gemma3", "llava_onevision"))
    # Another first picture: nothing after it may be taken for what was there.
    changed = asked(("What is the thing?", PICTURES[1:2]))
    check(engine, plain, changed)


@pytest.mark.parametrize("family", ["gemma3"])
def test_a_window_that_is_not_full_is_cut(family: str, tmp_path: Path) -> None:
    folder = build(family, tmp_path / family, sliding_window=400)
    engine = TransformersEngine.open(as_foreign(folder), Source(), Placement(device="cpu"))
    plain = PlainTransformers(folder, family)
    first = asked(("What is it?", PICTURES[:1]), "A", "And now the other?")
    check(engine, plain, first)
    assert check(engine, plain, Conversation((*first.messages[:2], Message.user("Who?", PICTURES[1:2])))) > 20
    engine.close()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_same_question_again_keeps_all_but_a_token(family: str, engine_of: Engines) -> None:
    engine = engine_of(family)
    conversation = asked(("What?", PICTURES[:1]))
    first = run(engine, conversation, max_new_tokens=4)
    again = run(engine, conversation, max_new_tokens=4)
    assert again.token_ids == first.token_ids
    assert again.cached_tokens == again.prompt_tokens - 1


SAID = st.lists(
    st.tuples(st.text("the is?\n", max_size=12), st.lists(st.integers(0, 3), max_size=2)), min_size=1, max_size=3
)


@pytest.mark.slow
@pytest.mark.parametrize("family", FAMILIES)
def test_any_sequence_of_conversations(family: str, engine_of: Engines, plain_of: Plains) -> None:
    engine, plain = engine_of(family), plain_of(family)

    @settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.lists(SAID, min_size=1, max_size=4))
    def held(conversations: list[list[tuple[str, list[int]]]]) -> None:
        for turns in conversations:
            messages = []
            for text, shown in turns:
                messages += [Message.user(text + "?", [PICTURES[one] for one in shown]), Message.assistant("the is")]
            check(engine, plain, Conversation(tuple(messages[:-1])))

    held()
