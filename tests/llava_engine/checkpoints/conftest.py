"""Checkpoints of every form, once for all tests that break them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.llava_engine.checkpoints import rooms


@pytest.fixture(scope="session")
def whole_room(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A room that nobody changes; `rooms.copy` it."""
    room = tmp_path_factory.mktemp("whole")
    rooms.write_all(room)
    return room


@pytest.fixture
def room(whole_room: Path, tmp_path: Path) -> Path:
    """Checkpoints of every form, to be broken: files are replaced, never written into."""
    return rooms.copy(whole_room, tmp_path / "room")
