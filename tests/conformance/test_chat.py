"""Every generation talks through the same `engine.chat()`: turns, pictures, caches and batches."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

import llava_engine
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.engine import Engine
from llava_engine.errors import ConversationError
from llava_engine.many import answer_all
from llava_engine.pictures.opening import Picture
from llava_engine.questions import Question
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import FORWARDS, forward, pictures

pytestmark = needs_fixtures

SAMPLING = Sampling(max_new_tokens=12)


def load(name: str) -> Engine:
    golden = forward(name)
    base = FIXTURES / golden["base"] if golden.get("base") else None
    return llava_engine.load(FIXTURES / golden["checkpoint"], base=base, device="cpu", dtype="float32", slots=1)


@pytest.fixture(scope="module", params=FORWARDS)
def engines(request: pytest.FixtureRequest) -> tuple[Engine, Engine]:
    """The same model twice: one to talk to, one whose cache is spoilt before each question."""
    return load(request.param), load(request.param)


def shown() -> list[Picture]:
    """Different pictures of several sizes."""
    names = sorted({name for golden in FORWARDS for case in forward(golden)["cases"] for name in case["images"]})
    return pictures(names[:4])


def captions_only(engine: Engine) -> bool:
    """A projector's pretraining knows nothing but pictures."""
    try:
        engine.count(Conversation((Message.user("Hello"),)))
    except ConversationError:
        return True
    return False


def cold(engine: Engine, conversation: Conversation) -> Reply:
    """An answer with nothing kept from before but the pictures' features."""
    spoilt = Conversation((Message.user("unlike", shown()[-1:]),), system="something else")
    for _ in engine.stream(spoilt, Sampling(max_new_tokens=1)):
        pass
    *_, reply = engine.stream(conversation, SAMPLING)
    assert isinstance(reply, Reply)
    return reply


def test_turns_with_and_without_pictures_are_cached_and_equal_to_cold(engines: tuple[Engine, Engine]) -> None:
    engine, other = engines
    a, b, c, d = shown()
    chat = engine.chat(max_new_tokens=SAMPLING.max_new_tokens)
    always = captions_only(engine)
    turns: list[tuple[str, Sequence[Picture]]] = [
        ("What is this?", [a]),
        ("And what colour has it?", [c] if always else []),
        ("Compare it with these.", [b, d]),
    ]
    before = 0
    for number, (text, seen) in enumerate(turns):
        asked = chat.conversation.then(Message.user(text, seen))
        said = "".join(chat.send(text, seen))
        assert chat.last is not None
        assert said == chat.last.text
        assert chat.conversation.messages[-1] == Message.assistant(said)
        assert (chat.last.cached_tokens >= before > 0) == (number > 0)  # all of the last prompt is still there
        assert len(chat.last.picture_tokens) == len(asked.pictures)
        reply = cold(other, asked)
        assert reply.cached_tokens < chat.last.prompt_tokens / 4
        assert reply.token_ids == chat.last.token_ids
        before = chat.last.prompt_tokens


def test_text_alone(engines: tuple[Engine, Engine]) -> None:
    engine, _ = engines
    if captions_only(engine):
        with pytest.raises(ConversationError, match="no picture"):
            list(engine.chat().send("Hello there"))
        return
    chat = engine.chat(max_new_tokens=8)
    list(chat.send("Hello there"))
    assert chat.last is not None
    assert chat.last.picture_tokens == ()
    assert chat.last.completion_tokens > 0 or chat.last.finish_reason == "stop"  # a model may have nothing to say


def test_a_batch_answers_as_one_by_one(engines: tuple[Engine, Engine]) -> None:
    engine, other = engines
    a, b, c, d = shown()
    extra = [c] if captions_only(engine) else []
    conversations = [
        Conversation((Message.user("What is this?", [a]),)),
        Conversation((Message.user("Thank you for the help!", extra),)),
        Conversation(
            (Message.user("What colour?", [d]), Message.assistant("Red."), Message.user("And these?", [b, c]))
        ),
        Conversation((Message.user("A longer question than the others are, about this picture.", [b]),)),
    ]
    questions = [Question(at, lambda _, one=one: one) for at, one in enumerate(conversations)]
    together = {one.key: one.outcome for one in answer_all(engine, questions, SAMPLING)}
    for at, conversation in enumerate(conversations):
        reply = together[at]
        assert isinstance(reply, Reply)
        alone = cold(other, conversation)
        assert reply.token_ids == alone.token_ids
        assert (reply.text, reply.prompt, reply.picture_tokens) == (alone.text, alone.prompt, alone.picture_tokens)


def test_each_picture_is_known_by_what_it_shows(engines: tuple[Engine, Engine]) -> None:
    """Another first picture is another prompt: nothing of the old one is reused from there on."""
    engine, other = engines
    a, b, c, _ = shown()
    list(engine.stream(Conversation((Message.user("Two pictures.", [a, b]),)), SAMPLING))
    changed = Conversation((Message.user("Two pictures.", [c, b]),))
    *_, reply = engine.stream(changed, SAMPLING)
    assert isinstance(reply, Reply)
    assert reply.cached_tokens <= reply.prompt_tokens - sum(reply.picture_tokens)
    assert reply.token_ids == cold(other, changed).token_ids
