"""How a prompt is read: in one go where nobody waits, else in chunks that take as long as one may wait."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import llava_engine
from llava_engine import Conversation, Message, Progress, Reply, Sampling, open_picture
from llava_engine.decoding import reading
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.engine import Engine
from tests.llava_engine.tiny import TILED, TINY, complete


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TINY, tmp_path_factory.mktemp("models") / "tiny")


class Clock:
    """Time that passes as a model of a known speed reads: so many seconds a chunk, and so many a position.

    Attributes:
        chunks: the positions of each chunk.
    """

    def __init__(self, chunk_s: float, position_s: float) -> None:
        self.chunk_s, self.position_s = chunk_s, position_s
        self.now = 0.0
        self.chunks: list[int] = []

    def perf_counter(self) -> float:
        return self.now

    def hook(self, module: Any, args: Any) -> None:
        count = args[0].shape[1]
        self.chunks.append(count)
        self.now += self.chunk_s + count * self.position_s


def read(engine: Engine, clock: Clock, monkeypatch: pytest.MonkeyPatch, *, hurry: bool) -> torch.Tensor:
    """Read a prompt of nearly the whole context; the logits after it."""
    reader = engine._open_scheduler().reader
    monkeypatch.setattr(reading, "time", clock)
    conversation = Conversation((Message.user("w" * 440),))
    row = engine._row(conversation, Sampling())
    cache = KeyValueCache(TINY.language, device=torch.device("cpu"), dtype=torch.float32)
    with torch.inference_mode(), engine._model.language_model.layers[0].register_forward_pre_hook(clock.hook):
        *_, logits = reader.read(row, cache, lambda: hurry)
    assert isinstance(logits, torch.Tensor)
    assert cache.length == len(cache.held) == sum(clock.chunks)
    return logits


def test_a_chunk_takes_as_long_as_one_may_wait(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = llava_engine.load(folder, device="cpu")
    clock = Clock(chunk_s=0.05, position_s=0.002)  # so 100 positions take a quarter of a second
    logits = read(engine, clock, monkeypatch, hurry=True)
    assert clock.chunks[0] == reading.LEAST_CHUNK
    assert clock.chunks[:-1] == sorted(clock.chunks[:-1])
    assert 90 <= max(clock.chunks) <= 100
    calm = Clock(0.05, 0.0025)
    torch.testing.assert_close(read(engine, calm, monkeypatch, hurry=False), logits, rtol=1e-4, atol=1e-4)
    assert len(calm.chunks) == 1


def test_a_slow_model_reads_little_at_once_and_a_fast_one_much(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, fast = Clock(1.0, 0.1), Clock(0.0, 1e-5)
    read(llava_engine.load(folder, device="cpu"), slow, monkeypatch, hurry=True)
    assert set(slow.chunks[:-1]) == {reading.LEAST_CHUNK}
    read(llava_engine.load(folder, device="cpu"), fast, monkeypatch, hurry=True)
    assert len(fast.chunks) == 2


def test_what_goes_on_before_the_first_word_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "PREFILL_CHUNK", 50)
    engine = llava_engine.load(complete(TILED, tmp_path / "tiled"), device="cpu")
    shown = [open_picture(Image.new("RGB", size, "red")) for size in ((80, 60), (50, 200))]
    conversation = Conversation((Message.user("What?", shown),), system="")
    items = list(engine.stream(conversation, Sampling(max_new_tokens=2)))
    progress = [item for item in items if isinstance(item, Progress)]
    reply = items[-1]
    assert isinstance(reply, Reply)
    assert items[: len(progress)] == progress  # all of it comes first
    assert progress[0].count == engine.count(conversation)
    assert all(one.count is None for one in progress[1:])
    told = [(one.stage, one.done, one.total) for one in progress]
    total = reply.prompt_tokens
    assert told == [
        ("seeing", 0, 2),
        ("seeing", 1, 2),
        *(("reading", done, total) for done in range(0, total, 50)),
    ]
    again = [item for item in engine.stream(conversation, Sampling(max_new_tokens=2)) if isinstance(item, Progress)]
    assert [(one.stage, one.done, one.total) for one in again] == [("reading", total - 1, total)]


def test_others_go_on_between_two_views_of_a_picture(tmp_path: Path) -> None:
    """A picture in tiles is seen view by view, and a running row gets a token after each."""
    engine = llava_engine.load(complete(TILED, tmp_path / "tiled"), device="cpu", slots=2)
    events: list[str] = []
    tower = engine._model.vision_tower.register_forward_hook(lambda *_: events.append("view"))
    language = engine._model.language_model.register_forward_pre_hook(lambda module, args: events.append("token"))
    running = engine.stream(Conversation((Message.user("a"),)), Sampling(max_new_tokens=400, temperature=1.5, seed=4))
    next(item for item in running if isinstance(item, str))
    tiled = Conversation((Message.user("What?", [open_picture(Image.new("RGB", (90, 90), "red"))]),), system="")
    assert isinstance(list(engine.stream(tiled, Sampling(max_new_tokens=1)))[-1], Reply)
    close(running)
    tower.remove()
    language.remove()
    seen = [at for at, event in enumerate(events) if event == "view"]
    assert len(seen) == 5
    assert all("token" in events[first:second] for first, second in itertools.pairwise(seen))


def close(stream: Iterator[Any]) -> None:
    stream.close()  # type: ignore[attr-defined]
