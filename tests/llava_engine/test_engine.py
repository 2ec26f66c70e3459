"""An engine on a tiny random model: the tokens that transformers generates, kept over turns, stopped at will."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine import Conversation, Message, Progress, Reply, Sampling
from llava_engine.engine import Engine
from llava_engine.model.vision import VisionTower
from llava_engine.pictures.opening import Picture, open_picture
from tests.llava_engine.tiny import IMAGE_TOKEN, TINY, complete, oracle


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TINY, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def engine(folder: Path) -> Engine:
    return llava_engine.load(folder, device="cpu")


@pytest.fixture(scope="module")
def reference(folder: Path) -> Any:
    return oracle(folder)


def picture(colour: str, size: tuple[int, int] = (70, 50)) -> Picture:
    return open_picture(Image.new("RGB", size, colour))


def run(engine: Engine, conversation: Conversation, **sampling: Any) -> Reply:
    *pieces, reply = engine.stream(conversation, Sampling(**sampling))
    assert isinstance(reply, Reply)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == reply.text
    return reply


def conversation_of(turns: int) -> Conversation:
    """Turns with zero, one or two pictures, so that pictures stand in several places."""
    colours = ["red", "green", "blue", "white"]
    conversation = Conversation()
    for turn in range(turns):
        shown = [picture(colours[(turn + extra) % 4], (60 + 20 * turn, 50)) for extra in range((1, 0, 2)[turn % 3])]
        conversation = conversation.then(Message.user(f"Question {turn}?", shown))
        if turn < turns - 1:
            conversation = conversation.then(Message.assistant(f"Answer {turn}."))
    return conversation


@pytest.mark.parametrize("turns", [1, 2, 3])
def test_greedy_tokens_are_those_of_transformers(engine: Engine, reference: Any, turns: int) -> None:
    from llava_engine.conversation import templates
    from llava_engine.conversation.spans import spans
    from llava_engine.conversation.tokenizer import Tokenizer, assemble
    from llava_engine.pictures.processing import Preprocessing

    conversation = conversation_of(turns)
    reply = run(engine, conversation, max_new_tokens=16)
    tokenizer = Tokenizer.from_folder(engine.card.folder)
    shown = conversation.pictures
    template = templates.get("v1")
    conversation = Conversation(conversation.messages, system="")
    prompt = assemble(spans(conversation, template), tokenizer, [TINY.picture_tokens] * len(shown), IMAGE_TOKEN)
    preprocessing = Preprocessing.from_file(engine.card.folder / "preprocessor_config.json")
    pixels = torch.stack([torch.from_numpy(preprocessing.pixels(each)) for each in shown])
    ids = torch.tensor([prompt.ids])
    with torch.no_grad():
        expected = reference.generate(
            input_ids=ids, pixel_values=pixels, do_sample=False, max_new_tokens=16, eos_token_id=[2]
        )[0, ids.shape[1] :].tolist()
    if 2 in expected:
        expected = expected[: expected.index(2)]
    assert list(reply.token_ids) == expected
    assert reply.prompt_tokens == ids.shape[1]


def test_a_kept_cache_gives_the_tokens_of_a_cold_start(folder: Path, engine: Engine) -> None:
    conversation = Conversation((Message.user("What is this?", [picture("red")]),))
    for turn in range(3):
        cold = run(llava_engine.load(folder, device="cpu"), conversation, max_new_tokens=12)
        warm = run(engine, conversation, max_new_tokens=12)
        assert warm.token_ids == cold.token_ids
        assert cold.cached_tokens == 0
        assert (warm.cached_tokens > 0) == (turn > 0)
        conversation = conversation.then(Message.assistant(warm.text)).then(Message.user(f"And {turn}?"))


def test_an_edited_turn_reuses_what_stands_before_it(engine: Engine) -> None:
    start = Conversation((Message.user("What?", [picture("red")]), Message.assistant("A square.")))
    first = run(engine, start.then(Message.user("Where is it?")), max_new_tokens=4)
    edited = run(engine, start.then(Message.user("Whose is it?")), max_new_tokens=4)
    assert first.prompt_tokens > edited.cached_tokens > TINY.picture_tokens


def test_another_picture_is_not_taken_for_the_first(folder: Path, engine: Engine) -> None:
    red, blue = (Conversation((Message.user("What is this?", [picture(c)]),)) for c in ("red", "blue"))
    run(engine, red, max_new_tokens=4)
    warm = run(engine, blue, max_new_tokens=8)
    assert warm.cached_tokens < TINY.picture_tokens
    assert warm.token_ids == run(llava_engine.load(folder, device="cpu"), blue, max_new_tokens=8).token_ids


def test_the_tower_sees_a_picture_once(engine: Engine) -> None:
    conversation = Conversation((Message.user("What?", [picture("red"), picture("red")]),))
    with patch.object(VisionTower, "forward", autospec=True, side_effect=VisionTower.forward) as tower:
        run(engine, conversation, max_new_tokens=2)
        run(engine, conversation, max_new_tokens=2)
        run(engine, Conversation((Message.user("Hm?"), Message.assistant("Yes."), *conversation.messages)))
    assert tower.call_count == 1


def test_many_at_once_are_each_answered_as_alone(folder: Path, engine: Engine) -> None:
    questions = [
        ("What?", [picture("red")]),
        ("Is there anything at all in this picture?", [picture("blue"), picture("green")]),
        ("Hello", []),
        ("Where?", [picture("white", (20, 90))]),
    ] * 5
    replies = engine.answer(questions, max_new_tokens=10)
    for (text, shown), reply in zip(questions[:4], replies[:4], strict=True):
        alone = run(engine, Conversation((Message.user(text, shown),)), max_new_tokens=10)
        assert (reply.text, reply.token_ids, reply.finish_reason) == (alone.text, alone.token_ids, alone.finish_reason)
    assert [reply.text for reply in replies[:4]] * 5 == [reply.text for reply in replies]


def test_cancel_ends_within_one_token_and_keeps_what_was_said(engine: Engine) -> None:
    conversation = Conversation((Message.user("Hi"),))
    cancelled = engine.stream(conversation, Sampling(max_new_tokens=50), cancelled=lambda: engine.activity().steps >= 3)
    *said, reply = (item for item in cancelled if not isinstance(item, Progress))
    assert isinstance(reply, Reply) and reply.finish_reason == "cancelled"
    assert len(reply.token_ids) == 4  # one of the prompt, and one a step
    assert reply.text == "".join(map(str, said))
    at_once = engine.stream(conversation, Sampling(), cancelled=lambda: engine.activity().generated_tokens >= 5)
    assert [item.token_ids for item in at_once if isinstance(item, Reply)] == [reply.token_ids[:1]]
    full = run(engine, conversation, max_new_tokens=50)
    assert full.token_ids[: len(reply.token_ids)] == reply.token_ids
    assert full.text.startswith(reply.text.removesuffix("\ufffd"))


def test_a_reader_who_stops_reading_frees_the_engine(engine: Engine) -> None:
    conversation = Conversation((Message.user("Hi"),))
    whole = run(engine, conversation, max_new_tokens=20)
    pieces = engine.stream(conversation, Sampling(max_new_tokens=20))
    assert [isinstance(next(pieces), str) for _ in range(2)] == [False, True]  # progress, then its first words
    pieces.close()  # type: ignore[attr-defined]
    assert run(engine, conversation, max_new_tokens=20).token_ids == whole.token_ids


def test_a_full_context_is_refused_before_anything_is_said(engine: Engine) -> None:
    conversation = Conversation((Message.user("word " * 300),))
    with pytest.raises(llava_engine.ContextOverflowError, match=r"holds? 512|hold 512") as caught:
        next(iter(engine.stream(conversation)))
    assert caught.value.tokens > caught.value.limit == 512
    near = Conversation((Message.user("w" * (500 - engine.count(Conversation((Message.user("w"),))).total)),))
    reply = run(engine, near, max_new_tokens=200)
    assert reply.finish_reason in ("length", "stop")
    assert reply.prompt_tokens + reply.completion_tokens <= 512


def test_length_and_seed(engine: Engine) -> None:
    conversation = Conversation((Message.user("Tell me."),))
    assert run(engine, conversation, max_new_tokens=3).completion_tokens <= 3
    drawn = [
        run(engine, conversation, max_new_tokens=20, temperature=1.5, top_p=0.9, seed=seed).token_ids
        for seed in (1, 1, 2, 3)
    ]
    assert drawn[0] == drawn[1]
    assert len(set(drawn)) > 1


def test_count_is_the_prompt_of_a_reply(engine: Engine) -> None:
    conversation = conversation_of(3)
    count = engine.count(conversation)
    reply = run(engine, conversation, max_new_tokens=1)
    assert count.total == reply.prompt_tokens
    assert count.pictures == reply.picture_tokens == (TINY.picture_tokens,) * 3


def test_chat_goes_on_and_keeps_a_partial_answer(engine: Engine) -> None:
    chat = engine.chat(max_new_tokens=6)
    first = "".join(chat.send("What is this?", pictures=[Image.new("RGB", (40, 40), "red")]))
    assert chat.last is not None and chat.last.text == first
    "".join(chat.send("And now?"))
    assert chat.last.cached_tokens > TINY.picture_tokens
    reading = chat.send("More?")
    piece = next(reading)
    reading.close()  # type: ignore[attr-defined]
    assert [message.role for message in chat.conversation.messages] == ["user", "assistant"] * 3
    assert chat.conversation.messages[-1].text == piece


def test_an_error_leaves_the_chat_as_it_was(engine: Engine) -> None:
    chat = engine.chat(max_new_tokens=4)
    with pytest.raises(llava_engine.PictureError):
        list(chat.send("What?", pictures=["no-such-picture.png"]))
    with pytest.raises(llava_engine.ContextOverflowError):
        list(chat.send("word " * 300))
    assert chat.conversation.messages == ()
    assert "".join(chat.send("Hi")) is not None


def test_a_text_that_can_not_fit_is_refused_before_it_is_cut_into_tokens(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_engine.conversation.encoder.assemble", None)
    with pytest.raises(llava_engine.ContextOverflowError, match="at least"):
        next(engine.stream(Conversation((Message.user("a " * 2**20),))))
