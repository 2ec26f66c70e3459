"""Each family's folder, its engine, and transformers' own model of it, made once for all tests of this room."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest

from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.recognition import as_foreign
from llava_engine.opening import Placement, Source
from tests.llava_engine.backends.transformers.families import build
from tests.llava_engine.backends.transformers.plain import PlainTransformers

CPU = Placement(device="cpu")


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a family; of "talker" that of one that never ends an answer by itself."""
    folder = tmp_path_factory.mktemp("families")
    return cache(
        lambda family: build("internvl" if family == "talker" else family, folder / family, ends=family != "talker")
    )


@pytest.fixture(scope="session")
def plain_of(folder_of: Callable[[str], Path]) -> Callable[[str], PlainTransformers]:
    return cache(lambda family: PlainTransformers(folder_of(family), as_foreign(folder_of(family)).kind))


@pytest.fixture(scope="session")
def engine_of(folder_of: Callable[[str], Path]) -> Iterator[Callable[[str], TransformersEngine]]:
    """An engine that other tests have talked with before: what they left in it must not matter."""
    opened: list[TransformersEngine] = []

    @cache
    def engine(family: str) -> TransformersEngine:
        opened.append(TransformersEngine.open(as_foreign(folder_of(family)), Source(), CPU))
        return opened[-1]

    yield engine
    for one in opened:
        one.close()
