"""Checkpoints with something broken in them, by the hundred: each works whole, or ends with one of our own errors.

The slow profile takes thousands; each test is the same from run to run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.delta import delta
from llava_engine.errors import LlavaError
from tests.llava_engine.checkpoints.mutants import broken
from tests.llava_engine.checkpoints.rooms import little_memory, try_out

# Which checkpoints feel it when something breaks in a folder that they lean on.
OVER = {"base": ("adapter", "projector"), "eyes": ("newest", "tiles", "june", "bins")}


def numbers(some: int, many: int) -> list[Any]:
    """How many examples in the fast tests, and in the slow ones."""
    return [pytest.param(some, id="some"), pytest.param(many, id="many", marks=pytest.mark.slow)]


def breaking(examples: int, test: Callable[[st.DataObject], None]) -> None:
    """Run a test on so many examples, the same ones each time."""
    settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )(given(st.data())(test))()


@contextmanager
def mutant(data: st.DataObject, room: Path, *folders: str) -> Iterator[Path]:
    """One file of one of these folders broken for a while; gives the folder of a checkpoint that leans on it."""
    file = data.draw(st.sampled_from([file for folder in folders for file in sorted((room / folder).iterdir())]))
    sound = file.rename(room / "sound")
    try:
        file.write_bytes(data.draw(broken(file.name, sound.read_bytes())))
        yield room / data.draw(st.sampled_from(OVER.get(file.parent.name, (file.parent.name,))))
    finally:
        sound.replace(file)


def works(action: Callable[..., Any], *arguments: Any) -> bool:
    """Whether something worked, in little memory; if not, it ended with our own error, short and with a remedy."""
    try:
        with little_memory():
            action(*arguments)
    except LlavaError as error:
        assert error.remedy, error.cause
        assert len(error.cause) < 700
        return False
    return True


@pytest.fixture(scope="module")
def forms(whole_room: Path) -> tuple[str, ...]:
    """All folders of the room."""
    return tuple(sorted(folder.name for folder in whole_room.iterdir()))


def test_every_form_works_as_long_as_it_is_whole(whole_room: Path, forms: tuple[str, ...]) -> None:
    for form in forms:
        for folder in OVER.get(form, (form,)):
            try_out(whole_room / folder)


@pytest.mark.parametrize("examples", numbers(400, 10_000))
def test_a_broken_checkpoint_works_or_is_refused(room: Path, forms: tuple[str, ...], examples: int) -> None:
    def test(data: st.DataObject) -> None:
        with mutant(data, room, *forms) as folder:
            works(try_out, folder)

    breaking(examples, test)


@pytest.mark.parametrize("examples", numbers(100, 3000))
def test_what_a_broken_checkpoint_converts_to_works(room: Path, forms: tuple[str, ...], examples: int) -> None:
    target = room / "target"

    def test(data: st.DataObject) -> None:
        with mutant(data, room, *forms) as folder:
            if works(convert, folder, data.draw(st.sampled_from(["hf", "original", "merged"])), target):
                try_out(target)
                shutil.rmtree(target)
            assert not [path for path in room.iterdir() if "target" in path.name]

    breaking(examples, test)


@pytest.mark.parametrize("examples", numbers(100, 3000))
def test_a_broken_delta_is_applied_whole_or_not_at_all(room: Path, examples: int) -> None:
    delta.make(room / "base", room / "newest", room / "delta")
    target = room / "sum"

    def test(data: st.DataObject) -> None:
        with mutant(data, room, "base", "delta"):
            if works(delta.apply, room / "base", room / "delta", target):
                shutil.rmtree(target)
            assert not [path for path in room.iterdir() if "sum" in path.name]

    breaking(examples, test)
