"""An engine with four slots on a tiny random model, and what that says to each question alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from llava_engine.engine import Engine
from tests.llava_engine.decoding.readers import WORDS, ask, load, run
from tests.llava_engine.tiny import TINY, complete


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that share a tiny product wait for each other most of the time, on a busy machine ten times as long."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return complete(TINY, tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture
def engine(folder: Path) -> Iterator[Engine]:
    made = load(folder, 4)
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(folder: Path) -> dict[str, tuple[int, ...]]:
    """What the model says to each of these words, asked by themselves."""
    engine = load(folder, 1)
    return {text: run(engine, ask(text)) for text in WORDS}
