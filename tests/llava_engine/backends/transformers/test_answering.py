"""What the contract asks of an answer: pieces, stops, seeds, limits, cancelling, taking turns, errors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import pytest
import torch

from llava_engine import (
    ContextOverflowError,
    Conversation,
    ConversationError,
    Message,
    ModelError,
    OutOfMemoryError,
    PictureError,
    Reply,
    Sampling,
)
from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.recognition import as_foreign
from llava_engine.contract import Progress
from llava_engine.opening import Placement, Source
from llava_engine.pictures.opening import Picture, open_picture
from tests.llava_engine.backends.transformers.plain import PlainTransformers, asked, noise, run

FAMILY = "talker"
PICTURE = noise(1, 40, 30)
HELLO = asked("Hello, the thing is")
LONG = asked(("What is the thing?", [PICTURE]))

Engines = Callable[[str], TransformersEngine]
Plains = Callable[[str], PlainTransformers]


@pytest.fixture
def engine(engine_of: Engines) -> TransformersEngine:
    return engine_of(FAMILY)


def test_the_first_news_is_what_the_prompt_costs(engine: TransformersEngine, plain_of: Plains) -> None:
    conversation = asked(("What?", [PICTURE]))
    first, *_, reply = engine.stream(conversation, Sampling(max_new_tokens=2))
    assert isinstance(first, Progress) and isinstance(reply, Reply)
    assert first.stage == "reading" and first.count == engine.count(conversation)
    assert first.total == reply.prompt_tokens == len(plain_of(FAMILY).prompt(conversation))
    assert first.count and first.count.pictures == reply.picture_tokens


def test_pieces_are_the_text_of_the_tokens(engine: TransformersEngine, plain_of: Plains) -> None:
    reply = run(engine, LONG, max_new_tokens=40)
    assert reply.text == plain_of(FAMILY).text(list(reply.token_ids))
    assert reply.finish_reason == "length" and reply.tokens_per_second > 0


def test_whole_characters_only(engine: TransformersEngine) -> None:
    tokenizer = engine._loaded.processor.tokenizer
    from llava_engine.backends.transformers.answer_text import AnswerText

    ids = tokenizer.encode("Grüße 你好 😀!", add_special_tokens=False)
    answer = AnswerText(tokenizer, frozenset(), (), "", 100)
    pieces = [answer.push(one) for one in ids] + [answer.end("stop")]
    assert "".join(pieces) == answer.text == "Grüße 你好 😀!"
    assert not any("\ufffd" in piece for piece in pieces)
    half = AnswerText(tokenizer, frozenset(), (), "", 100)
    for one in tokenizer.encode("😀", add_special_tokens=False)[:-1]:
        assert half.push(one) == ""
    assert set(half.end("cancelled")) == {"\ufffd"}


def test_a_stop_text_ends_an_answer_and_is_no_part_of_it(engine: TransformersEngine) -> None:
    whole = run(engine, LONG, max_new_tokens=40).text
    stop = whole[10:12]
    cut = run(engine, LONG, max_new_tokens=40, stops=(stop,))
    assert cut.text == whole[: whole.index(stop)]
    assert cut.finish_reason == "stop"


def test_a_seed_gives_the_same_and_disturbs_nobody(engine: TransformersEngine) -> None:
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    one, same, other = (
        run(engine, LONG, temperature=1.5, seed=seed, max_new_tokens=20).token_ids for seed in (1, 1, 2)
    )
    assert one == same != other
    assert torch.equal(torch.rand(3), expected)
    assert (
        run(engine, LONG, temperature=1.5, top_k=1, max_new_tokens=5).token_ids
        == run(engine, LONG, max_new_tokens=5).token_ids
    )


def test_a_penalty_is_transformers_own(engine: TransformersEngine, plain_of: Plains) -> None:
    conversation = asked("Hello")  # without pictures, whose tokens theirs counts too
    plain = plain_of(FAMILY)
    inputs = plain.inputs(conversation)
    out = plain.model.generate(**inputs, do_sample=False, max_new_tokens=12, repetition_penalty=1.7)
    ids = out[0, inputs.input_ids.shape[1] :].tolist()
    end = plain.model.generation_config.eos_token_id
    ids = ids[: ids.index(end)] if end in ids else ids
    assert list(run(engine, conversation, max_new_tokens=12, repetition_penalty=1.7).token_ids) == ids


def test_what_a_folder_asks_of_generating_is_not_done(folder_of: Callable[[str], Path], tmp_path: Path) -> None:
    import json
    import shutil

    folder = shutil.copytree(folder_of(FAMILY), tmp_path / "model")
    file = folder / "generation_config.json"
    said = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(said | {"do_sample": True, "temperature": 3.0, "repetition_penalty": 5.0}), "utf-8")
    engine = TransformersEngine.open(as_foreign(folder), Source(), Placement(device="cpu"))
    again = TransformersEngine.open(as_foreign(folder_of(FAMILY)), Source(), Placement(device="cpu"))
    assert run(engine, LONG, max_new_tokens=12).token_ids == run(again, LONG, max_new_tokens=12).token_ids
    engine.close()
    again.close()


def test_cancelling_ends_within_a_token_and_keeps_what_was_said(engine: TransformersEngine) -> None:
    whole = run(engine, LONG, max_new_tokens=40)
    stop = threading.Event()
    said: list[str] = []
    for item in engine.stream(LONG, Sampling(max_new_tokens=40), cancelled=stop.is_set):
        if isinstance(item, str):
            said.append(item)
            if len(said) == 3:
                stop.set()
        elif isinstance(item, Reply):
            reply = item
    assert reply.finish_reason == "cancelled"
    assert reply.text == "".join(said)
    assert len(reply.token_ids) == reply.completion_tokens < 40
    assert whole.token_ids[: reply.completion_tokens] == reply.token_ids
    assert run(engine, LONG, max_new_tokens=40).token_ids == whole.token_ids


def test_cancelled_before_it_begins(engine: TransformersEngine) -> None:
    *_, reply = engine.stream(HELLO, cancelled=lambda: True)
    assert isinstance(reply, Reply) and reply.finish_reason == "cancelled" and not reply.text


def test_one_who_stops_reading_holds_up_nobody(engine: TransformersEngine) -> None:
    left = engine.stream(LONG, Sampling(max_new_tokens=300))
    assert isinstance(next(left), Progress)
    assert isinstance(next(left), str)
    assert run(engine, HELLO, max_new_tokens=4).completion_tokens <= 4  # while the other is suspended
    left.close()
    dropped = engine.stream(LONG, Sampling(max_new_tokens=None))
    next(dropped)
    del dropped
    assert run(engine, HELLO, max_new_tokens=4).completion_tokens <= 4


def test_answers_take_turns(engine: TransformersEngine) -> None:
    conversations = [asked((f"Question {number}", [PICTURE] * (number % 2))) for number in range(6)]
    alone = [run(engine, one, max_new_tokens=10).token_ids for one in conversations]
    together: dict[int, tuple[int, ...]] = {}

    def answer(number: int) -> None:
        together[number] = run(engine, conversations[number], max_new_tokens=10).token_ids

    threads = [threading.Thread(target=answer, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [together[number] for number in range(6)] == alone


def test_who_waits_is_told_and_can_leave(engine: TransformersEngine) -> None:
    first = engine.stream(LONG, Sampling(max_new_tokens=300))
    next(first)
    second = engine.stream(HELLO, cancelled=lambda: True)
    waiting = next(second)
    assert isinstance(waiting, Progress) and (waiting.stage, waiting.done, waiting.total) == ("waiting", 1, 1)
    [reply] = second
    assert isinstance(reply, Reply) and reply.finish_reason == "cancelled"
    first.close()


def test_a_begun_answer_is_read_and_gone_on_with(engine: TransformersEngine, plain_of: Plains) -> None:
    plain, begun = plain_of(FAMILY), "The other is the"
    reply = run(engine, LONG, begun, max_new_tokens=10)
    inputs = plain.inputs(LONG)
    begins = plain.processor.tokenizer(begun, add_special_tokens=False, return_tensors="pt").input_ids
    inputs["input_ids"] = torch.cat([inputs.input_ids, begins], dim=1)
    inputs["attention_mask"] = torch.ones_like(inputs.input_ids)
    out = plain.model.generate(**inputs, do_sample=False, max_new_tokens=10)
    assert list(reply.token_ids) == out[0, inputs.input_ids.shape[1] :].tolist()
    assert reply.prompt.endswith(begun) and reply.prompt_tokens == inputs.input_ids.shape[1]


def test_system_texts(engine_of: Engines, plain_of: Plains) -> None:
    for family in ("qwen2_5_vl", "idefics3"):
        told = asked("Hello", system="Be kind.")
        reply = run(engine_of(family), told, max_new_tokens=3)
        assert "Be kind." in reply.prompt and reply.prompt_tokens == len(plain_of(family).prompt(told))
        assert "system" not in engine_of(family).card.cannot
    own, none = (run(engine_of("qwen2_5_vl"), asked("Hi", system=one), max_new_tokens=1).prompt for one in (None, ""))
    assert "You help." in own and "You help." not in none
    refuses = engine_of("gemma3")
    assert refuses.card.cannot == {"system"}
    with pytest.raises(ConversationError, match="no place for a system text"):
        run(refuses, asked("Hello", system="Be kind."))
    run(refuses, asked("Hello", system=""), max_new_tokens=1)


def test_too_long_a_conversation_is_refused_before_anything_is_said(engine: TransformersEngine) -> None:
    with pytest.raises(ContextOverflowError) as told:
        next(engine.stream(asked("x" * 600)))
    assert told.value.limit == 512 and told.value.tokens > 600
    with pytest.raises(ContextOverflowError):
        next(engine.stream(asked("x" * 10_000_000)))
    assert run(engine, asked("y" * 480), max_new_tokens=None).prompt_tokens < 512


def test_an_answer_ends_where_the_context_does(folder_of: Callable[[str], Path]) -> None:
    short = Placement(device="cpu", context=60)
    engine = TransformersEngine.open(as_foreign(folder_of(FAMILY)), Source(), short)
    assert engine.card.context_length == 60
    reply = run(engine, asked("Hello, the thing"), max_new_tokens=None)
    assert reply.prompt_tokens + reply.completion_tokens <= 60
    with pytest.raises(ContextOverflowError):
        next(engine.stream(asked("x" * 60)))
    engine.close()


def test_what_can_not_be_answered(engine: TransformersEngine, engine_of: Engines) -> None:
    for conversation in (Conversation(), asked("Hi", "Hello")):
        with pytest.raises(ConversationError, match="nothing to answer"):
            next(engine.stream(conversation))
    alternate = Conversation((Message.user("Hi"), Message.user("there")))
    with pytest.raises(ConversationError, match="Roles must alternate"):
        next(engine_of("gemma3").stream(alternate))


def test_a_broken_picture_is_refused_before_any_processor(engine_of: Engines, plain_of: Plains) -> None:
    with pytest.raises(PictureError):
        open_picture(PICTURE.data[: len(PICTURE.data) // 2])
    thin = noise(1, 900, 2)  # which this family refuses in its own words
    with pytest.raises(ConversationError, match="aspect ratio"):
        next(engine_of("qwen2_5_vl").stream(asked(("What?", [thin]))))
    assert run(engine_of("qwen2_5_vl"), asked(("What?", [PICTURE])), max_new_tokens=1).picture_tokens


def test_pictures_stand_where_the_text_says(engine: TransformersEngine) -> None:
    pictures: tuple[Picture, ...] = (PICTURE, noise(2, 20, 20))
    message = Message("user", "one two three", pictures, picture_offsets=(4, 13))
    reply = run(engine, Conversation((message,)), max_new_tokens=1)
    assert "one <image>\ntwo three<image>" in reply.prompt


def test_memory_that_runs_out_is_said_and_the_engine_lives(engine: TransformersEngine) -> None:
    before = run(engine, HELLO, max_new_tokens=4)
    with (
        patch.object(engine._loaded.model, "generate", side_effect=torch.OutOfMemoryError("CUDA out of memory")),
        pytest.raises(OutOfMemoryError) as told,
    ):
        run(engine, HELLO)
    assert told.value.plan.total == engine.card.memory_bytes
    assert run(engine, HELLO, max_new_tokens=4).token_ids == before.token_ids


def test_numbers_that_are_none_are_said(folder_of: Callable[[str], Path]) -> None:
    engine = TransformersEngine.open(as_foreign(folder_of(FAMILY)), Source(), Placement(device="cpu"))
    with torch.no_grad():
        engine._loaded.model.get_output_embeddings().weight.fill_(torch.nan)
    with pytest.raises(ModelError, match="no numbers"):
        run(engine, HELLO)
    engine.close()


def test_closing_ends_what_runs_and_may_be_done_twice(folder_of: Callable[[str], Path]) -> None:
    engine = TransformersEngine.open(as_foreign(folder_of(FAMILY)), Source(), Placement(device="cpu"))
    first, second = engine.stream(HELLO, Sampling(max_new_tokens=None)), engine.stream(HELLO)
    next(first)
    next(second)
    engine.close()
    engine.close()
    for stream in (first, second):
        *_, reply = stream
        assert isinstance(reply, Reply)
