"""Whatever goes wrong with a row ends that row, and its reader learns of it; the others and the next go on."""

from __future__ import annotations

from asyncio import CancelledError
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from PIL import Image

from llava_engine import Conversation, Message, ModelError, OutOfMemoryError, PictureError, Reply, open_picture
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.engine import Engine
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.decoding.readers import WORDS, ask, eventually, gathered, idle, load, run, started

RED = open_picture(Image.new("RGB", (70, 50), "red"))


def test_a_row_without_numbers_ends_alone(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    norm, broken = engine._model.language_model.norm, []

    def spoil(module: Any, args: Any, hidden: torch.Tensor) -> torch.Tensor | None:
        if len(hidden) == 3 and not broken:
            broken.append(True)
            return torch.cat([hidden[:1], hidden[1:2] * float("nan"), hidden[2:]])
        return None

    with gathered(engine, 3) as texts, norm.register_forward_hook(spoil):
        results = texts(WORDS[:3])
    assert broken
    failed = [result for result in results if isinstance(result, ModelError)]
    assert len(failed) == 1 and "no numbers" in failed[0].cause
    said = {text: result for text, result in zip(WORDS, results, strict=False) if not isinstance(result, Exception)}
    assert said == {text: alone[text] for text in said} and len(said) == 2
    assert eventually(lambda: idle(engine))


@pytest.mark.parametrize("layer", [0, 2])
def test_when_memory_runs_out_the_newest_row_ends(
    engine: Engine, alone: dict[str, tuple[int, ...]], layer: int
) -> None:
    failed = []

    def no_memory(module: Any, args: Any) -> None:
        if len(args[0]) == 3 and not failed:
            failed.append(list(engine._open_scheduler()._running)[-1])
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")

    with (
        gathered(engine, 3) as texts,
        engine._model.language_model.layers[layer].register_forward_pre_hook(no_memory),
    ):
        results = texts(WORDS[:3])
    assert failed
    errors = [isinstance(result, OutOfMemoryError) for result in results]
    assert sum(errors) == 1
    newest = failed[0].question.prompt.text
    assert WORDS[errors.index(True)] in newest
    for text, result in zip(WORDS, results, strict=False):
        assert isinstance(result, OutOfMemoryError) or result == alone[text]
    assert run(engine, ask(WORDS[3])) == alone[WORDS[3]]
    assert eventually(lambda: idle(engine))


def test_a_defect_reaches_everybody_and_the_next_question_is_answered(
    engine: Engine, alone: dict[str, tuple[int, ...]]
) -> None:
    def fail(module: Any, args: Any) -> None:
        if len(args[0]) == 3:
            raise ZeroDivisionError("a defect")

    with gathered(engine, 3) as texts, engine._model.language_model.layers[1].register_forward_pre_hook(fail):
        assert [type(result) for result in texts(WORDS[:3])] == [ZeroDivisionError] * 3
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]
    assert eventually(lambda: idle(engine))


def test_a_broken_picture_ends_its_own_row(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    (running,) = started(engine, WORDS[1])
    with (
        patch.object(Preprocessing, "views", side_effect=PictureError("It can not be decoded.")),
        pytest.raises(PictureError),
    ):
        run(engine, Conversation((Message.user("What?", [RED]),)))
    assert isinstance(list(running)[-1], Reply)
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]


def test_what_cancelled_raises_is_its_readers(engine: Engine) -> None:
    (running,) = started(engine, WORDS[1])
    with pytest.raises(ZeroDivisionError):
        list(engine.stream(ask(WORDS[0]), cancelled=lambda: 1 // 0 == 1))
    assert isinstance(list(running)[-1], Reply)


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, CancelledError])
@pytest.mark.parametrize("waits", [False, True])
def test_nothing_that_cancelled_raises_is_anothers(
    folder: Path, alone: dict[str, tuple[int, ...]], kind: type[BaseException], waits: bool
) -> None:
    engine = load(folder, 1 if waits else 2)
    (running,) = started(engine, WORDS[1])

    def cancelled() -> bool:
        raise kind

    with pytest.raises(kind):
        list(engine.stream(ask(WORDS[0]), cancelled=cancelled))
    assert isinstance(list(running)[-1], Reply)
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]
    assert eventually(lambda: idle(engine))
    engine.close()


def test_a_prompt_that_gets_no_slot_ends_alone(engine: Engine, alone: dict[str, tuple[int, ...]]) -> None:
    assert len(run(engine, ask("word " * 40))) == 6
    (running,) = started(engine, "word " * 40)
    with (
        patch.object(KeyValueCache, "copy", side_effect=RuntimeError("a defect")),
        pytest.raises(RuntimeError, match="a defect"),
    ):
        run(engine, ask("word " * 39 + "and another end"))
    assert isinstance(list(running)[-1], Reply)
    assert run(engine, ask(WORDS[0])) == alone[WORDS[0]]
    assert eventually(lambda: idle(engine))
