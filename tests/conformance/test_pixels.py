"""Pixels as the original made them, June 2023 and newest: square and pad, for towers of four sizes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from llava_engine.pictures.opening import open_picture
from llava_engine.pictures.processing import Mode, Preprocessing
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures

pytestmark = needs_fixtures


@pytest.mark.parametrize("commit", ["b4be90b", "head"])
@pytest.mark.parametrize("mode", ["square", "pad"])
def test_pixels_are_the_originals(commit: str, mode: Mode) -> None:
    entries = [entry for entry in golden(f"pixels_{commit}.json")["entries"] if entry["mode"] == mode]
    assert entries
    with np.load(FIXTURES / "goldens" / f"pixels_{commit}.npz") as arrays:
        for entry in entries:
            preprocessing = Preprocessing.from_file(FIXTURES / entry["preprocessor"] / "preprocessor_config.json")
            pixels = replace(preprocessing, mode=mode).pixels(open_picture(FIXTURES / "images" / entry["image"]))
            np.testing.assert_allclose(pixels, arrays[entry["key"]], rtol=0, atol=1e-5, err_msg=entry["key"])
