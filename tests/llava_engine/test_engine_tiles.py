"""An engine that sees pictures in tiles: each costs its own number of tokens, over turns, warm and cold."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine import Conversation, Message, Sampling
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.engine import Engine
from llava_engine.errors import ModelError
from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.test_anyres_views import theirs
from tests.llava_engine.pictures.test_processing import CLIP, noise
from tests.llava_engine.test_engine import run
from tests.llava_engine.tiny import IMAGE_TOKEN, TILED, complete, oracle

assert TILED.tiles is not None
NEXT: dict[str, Any] = CLIP | {
    "do_pad": True,
    "image_grid_pinpoints": [list(pinpoint) for pinpoint in TILED.tiles.pinpoints],
}
NOISE = [noise(80, 60), noise(50, 200), noise(300, 60), noise(90, 90)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TILED, tmp_path_factory.mktemp("models") / "tiled")


@pytest.fixture
def engine(folder: Path) -> Engine:
    return llava_engine.load(folder, device="cpu", slots=1)


def conversation_of(*images: Image.Image) -> Conversation:
    return Conversation((Message.user("What?", [open_picture(image) for image in images]),), system="")


@pytest.mark.parametrize("count", [1, 2, 3])
def test_greedy_tokens_are_those_of_transformers(folder: Path, engine: Engine, count: int) -> None:
    reply = run(engine, conversation_of(*NOISE[:count]), max_new_tokens=12)
    ids: list[int] = []
    text = reply.prompt.split("<image>")
    tokenizer = Tokenizer.from_folder(folder)
    for index, piece in enumerate(text):
        ids += [1] * (index == 0) + tokenizer.encode(piece, first=True)
        ids += [IMAGE_TOKEN] * (reply.picture_tokens[index] if index < count else 0)
    assert len(ids) == reply.prompt_tokens
    views = [torch.from_numpy(theirs(NEXT, image)) for image in NOISE[:count]]
    most = max(len(one) for one in views)
    pixels = torch.stack([torch.cat([one, one.new_zeros(most - len(one), 3, 56, 56)]) for one in views])
    with torch.no_grad():
        expected = (
            oracle(folder)
            .generate(
                input_ids=torch.tensor([ids]),
                pixel_values=pixels,
                image_sizes=torch.tensor([[image.height, image.width] for image in NOISE[:count]]),
                do_sample=False,
                max_new_tokens=12,
                eos_token_id=[2],
            )[0, len(ids) :]
            .tolist()
        )
    answer = list(reply.token_ids)
    assert answer == expected[: len(answer)]
    assert len(answer) == 12 or expected[len(answer)] == 2


def test_each_picture_costs_what_its_size_says(engine: Engine) -> None:
    conversation = conversation_of(*NOISE)
    reply = run(engine, conversation, max_new_tokens=1)
    count = engine.count(conversation)
    assert count.pictures == reply.picture_tokens
    assert count.total == reply.prompt_tokens
    assert len(set(count.pictures)) > 2
    assert engine.card.tiles
    assert min(count.pictures) >= engine.card.picture_tokens == 16


def test_a_kept_cache_gives_the_tokens_of_a_cold_start(folder: Path, engine: Engine) -> None:
    conversation = conversation_of(NOISE[0], NOISE[1])
    for turn in range(3):
        warm = run(engine, conversation, max_new_tokens=8)
        cold = run(llava_engine.load(folder, device="cpu"), conversation, max_new_tokens=8)
        assert warm.token_ids == cold.token_ids
        assert cold.cached_tokens == 0
        assert (warm.cached_tokens > 0) == (turn > 0)
        conversation = conversation.then(Message.assistant(warm.text))
        conversation = conversation.then(Message.user(f"And {turn}?", [open_picture(NOISE[2])] * (turn == 0)))


def test_a_cache_that_ends_within_a_picture_goes_on_there(folder: Path, engine: Engine) -> None:
    """Cancelled while it was being read, or cut: the rest of its tokens follow."""
    conversation = conversation_of(NOISE[2])
    whole = run(engine, conversation, max_new_tokens=8)
    (cache,) = engine._open_scheduler()._slots._free
    cache.crop(whole.prompt_tokens - whole.picture_tokens[0] // 2)
    again = run(engine, conversation, max_new_tokens=8)
    assert 0 < again.cached_tokens < whole.prompt_tokens - 1
    assert again.token_ids == whole.token_ids


def test_many_at_once_are_each_answered_as_alone(engine: Engine) -> None:
    questions = [("What?", [NOISE[0]]), ("Is there anything?", [NOISE[1], NOISE[2]]), ("Hello", [])]
    replies = engine.answer(questions, max_new_tokens=8)
    for (text, images), reply in zip(questions, replies, strict=True):
        shown = [open_picture(image) for image in images]
        alone = run(engine, Conversation((Message.user(text, shown),)), max_new_tokens=8)
        assert (reply.token_ids, reply.picture_tokens) == (alone.token_ids, alone.picture_tokens)


def test_the_text_may_be_penalized_for_repeating(engine: Engine) -> None:
    """The placeholders of pictures are no tokens of the vocabulary."""
    *_, reply = engine.stream(conversation_of(NOISE[0]), Sampling(max_new_tokens=4, repetition_penalty=1.3))
    (batched,) = engine.answer([("What?", [NOISE[0]])], max_new_tokens=4, repetition_penalty=1.3)
    assert isinstance(reply, llava_engine.Reply)
    assert reply.token_ids == batched.token_ids


def test_tiles_that_the_two_configs_see_differently_are_refused(tmp_path: Path) -> None:
    folder = complete(TILED, tmp_path / "model")
    path = folder / "preprocessor_config.json"
    settings: dict[str, Any] = json.loads(path.read_text())
    for pinpoints in ([[56, 112]], None):
        path.write_text(json.dumps(settings | {"image_grid_pinpoints": pinpoints}))
        with pytest.raises(ModelError, match="image_grid_pinpoints"):
            llava_engine.load(folder, device="cpu")
