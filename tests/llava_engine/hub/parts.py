"""One repository on a hub of this machine, and how the tests get it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from llava_engine.contract import LoadProgress
from llava_engine.hub.fetching import Hub

ID = "someone/a-model"
WEIGHTS = bytes(range(256)) * 400
CONFIG = b'{"model_type": "llava"}'


def get(hub: Hub, on_progress: Callable[[LoadProgress], None] | None = None) -> Path:
    return hub.fetch(hub.look_up(ID), on_progress)


def blobs(hub: Hub) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (hub.cache / "models--someone--a-model" / "blobs").iterdir()}
