"""Pixels as the original made them, June 2023 and newest: each entry of every pixels_*.json.

The parity module makes them all, errors too. By default the engine makes the same where the original is right, and what
is right where it is not.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from llava_engine.model.config import VisionConfig
from llava_engine.parity import pixels as parity
from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Preprocessing
from tests.conformance.fixtures import FIXTURES, error_of, golden, needs_fixtures
from tests.conformance.odd_pictures import IN_FULL, as_a_person_sees_it, original_errs
from tests.conformance.pinpoints import turned

pytestmark = needs_fixtures

Pixels = NDArray[np.float32]


@dataclass(frozen=True)
class Entry:
    """One line of a golden file; a "…_noconvert" mode is a picture that the original did not turn into RGB first."""

    file: str
    values: dict[str, Any]
    pinpoints: tuple[tuple[int, int], ...]

    @property
    def mode(self) -> Any:
        return self.values["mode"].removesuffix("_noconvert")

    @property
    def converted(self) -> bool:
        return not self.values["mode"].endswith("_noconvert")

    @property
    def path(self) -> Path:
        return FIXTURES.joinpath("images", self.values["image"])

    @property
    def tower(self) -> Preprocessing:
        return Preprocessing.from_file(FIXTURES / self.values["preprocessor"] / "preprocessor_config.json")

    def golden(self, key: str) -> Any:
        return arrays(self.file).get(key)


@functools.cache
def arrays(file: str) -> Any:
    return np.load(FIXTURES / "goldens" / f"{file}.npz")


def entries() -> list[Entry]:
    found = []
    for path in sorted((FIXTURES / "goldens").glob("pixels_*.json")):
        lines = golden(path.name)["entries"]
        grids = {line["key"]: turned(line["grid_pinpoints"]) for line in lines if "grid_pinpoints" in line}
        # An unconverted picture's line has none: they are those of the same picture, converted, or of its tower.
        of_towers = {line["preprocessor"]: turned(line["grid_pinpoints"]) for line in lines if "grid_pinpoints" in line}
        for line in lines:
            known = grids.get(line["key"].replace("_noconvert|", "|"))
            found.append(Entry(path.stem, line, known or of_towers.get(line["preprocessor"], ())))
    return found


each_entry = pytest.mark.parametrize("entry", entries(), ids=lambda entry: f"{entry.file}-{entry.values['key']}")


def theirs(entry: Entry, *, convert: bool) -> Pixels:
    return parity.pixels(parity.opened(entry.path, convert=convert), entry.tower, entry.mode, entry.pinpoints)


def ours(entry: Entry, picture: Any) -> Pixels:
    views = entry.tower.as_original(entry.mode, entry.pinpoints).views(picture)
    return views if entry.mode == "anyres" else views[0]


def close(made: Pixels, expected: Pixels) -> None:
    assert made.shape == expected.shape
    np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)


@each_entry
def test_parity_makes_what_the_original_made(entry: Entry) -> None:
    line = entry.values
    if "error" in line:
        assert error_of(partial(theirs, entry, convert=entry.converted)) == line["error"]
        return
    made = theirs(entry, convert=entry.converted)
    assert list(made.shape) == line["shape"]
    stored = entry.golden(line["key"])
    close(made, entry.golden(line["identical_to"]) if stored is None else stored)
    if "token_len_14" in line:
        assert parity.patch_count(made) == line["token_len_14"]


@each_entry
def test_default_is_what_the_original_made_or_what_is_right(entry: Entry) -> None:
    if entry.mode == "keep":
        # A shape for June's data code only. The engine shows such a picture whole by "pad", in a size the tower takes.
        made = entry.tower.as_original("pad").pixels(open_picture(entry.path))
        assert made.shape == (3, *entry.tower.size)
        return
    # A large JPEG in full, which the engine may decode at half its size.
    made = ours(entry, open_picture(entry.path, draft_to=IN_FULL))
    if original_errs(entry.path):
        close(made, ours(entry, as_a_person_sees_it(entry.path)))
    else:  # converted or not: the engine always does
        expected = entry.golden(entry.values["key"].replace("_noconvert|", "|"))
        close(made, theirs(entry, convert=True) if expected is None else expected)
    if "token_len_14" in entry.values:
        assert VisionConfig(image_size=made.shape[-1], patch_size=14).grid ** 2 == entry.values["token_len_14"]
