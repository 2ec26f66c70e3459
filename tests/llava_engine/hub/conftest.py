"""A hub on this machine, and a client with a cache of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_engine.hub.cache import (
    cache_folder,
)
from llava_engine.hub.fetching import Hub
from llava_engine.hub.server import HubServer
from tests.fakes.fake_hub import FakeHub
from tests.llava_engine.hub.parts import CONFIG, ID, WEIGHTS


@pytest.fixture
def server() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.add(ID, config__json=CONFIG, model__safetensors=WEIGHTS, README__md=b"hello", modeling__py=b"print()")
    yield hub
    hub.close()


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
def hub(server: FakeHub, waited: list[float], env: dict[str, str]) -> Hub:
    return Hub(
        HubServer(server.url, "secret", timeout_s=5, waits_s=(1.0, 2.0, 4.0), sleep=waited.append), cache_folder(env)
    )
