"""Which resolution the original fits a picture into, and how many tokens it costs there.

The pixels of tiles are checked in test_pixels.py, the features in test_forward.py.
"""

from __future__ import annotations

import pytest

from llava_engine.checkpoints.layouts.hf.config import vision_config
from llava_engine.checkpoints.layouts.original.config import from_original
from llava_engine.files.json import read_json
from llava_engine.model.tiles import picture_tokens
from llava_engine.pictures.processing import Preprocessing
from llava_engine.pictures.tiling import best_resolution, grid
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures
from tests.conformance.pinpoints import turned

pytestmark = needs_fixtures


def test_every_selection_is_the_originals() -> None:
    selections = golden("anyres_selection.json")
    assert selections
    for entry in selections:
        width, height = entry["size"]
        best = best_resolution((height, width), turned(entry["grid"]))
        assert [best[1], best[0]] == entry["best"], entry


def test_every_grid_is_the_originals() -> None:
    """As recorded beside the pixels."""
    found = 0
    for path in sorted((FIXTURES / "goldens").glob("pixels_*.json")):
        for entry in golden(path.name)["entries"]:
            if "best_resolution" not in entry:
                continue
            (width, height), pinpoints = entry["image_size"], turned(entry["grid_pinpoints"])
            best = best_resolution((height, width), pinpoints)
            tower = Preprocessing.from_file(FIXTURES / entry["preprocessor"] / "preprocessor_config.json")
            rows, columns = grid(best, tower.size[0])
            assert [best[1], best[0]] == entry["best_resolution"]
            assert [columns, rows] == entry["grid_shape"]
            assert entry["shape"][0] == 1 + rows * columns
            found += 1
    assert found


TILED = [
    path.name
    for path in sorted((FIXTURES / "goldens").glob("forward_*.json"))
    if golden(path.name).get("image_aspect_ratio") == "anyres"
]


@pytest.mark.parametrize("name", TILED)
def test_a_picture_costs_what_it_cost_the_original(name: str) -> None:
    """Counted from its size alone."""
    recorded = golden(name)
    raw = read_json(FIXTURES / recorded["checkpoint"] / "config.json")
    config = from_original(raw, vision_config(read_json(FIXTURES / raw["mm_vision_tower"] / "config.json")))
    shown = [case for case in recorded["cases"] if case["images"] and "error" not in case]
    assert shown
    for case in shown:
        cost = sum(picture_tokens(config, (height, width)) for width, height in case["image_sizes"])
        length = len(case["input_ids"]) - len(case["images"]) + cost
        cut = raw.get("tokenizer_model_max_length") or length
        assert min(length, cut) == case["embedded_length"], case["case"]
