"""Sessions over a store on disk, closed in the end."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from llava_tui.history.store import Store
from llava_tui.session.session import ChatSession
from tests.fakes.fake_engine import FakeEngine, Step, fake_loader
from tests.llava_tui.session.desk import Desk, Make, open_source


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    desks: list[Desk] = []

    def make(*answers: list[Step] | tuple[Step, ...], engine: FakeEngine | None = None, **more: object) -> Desk:
        engine = engine or FakeEngine(*answers)
        loaders = more.pop("loader", fake_loader(engine))
        session = ChatSession(Store.open(tmp_path), open_source=open_source, **more)  # type: ignore[arg-type]
        desk = Desk(session)
        desks.append(desk)
        session.load(loaders)  # type: ignore[arg-type]
        return desk

    yield make
    for desk in desks:
        desk.session.close()
