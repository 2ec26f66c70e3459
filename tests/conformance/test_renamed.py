"""Names decide nothing: every fixture folder, and its base and tower, under other names is the same in every way."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint, Found
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.opening import Placement
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import FORWARDS, forward

pytestmark = needs_fixtures

CHECKPOINTS = sorted(path.parent.name for path in (FIXTURES / "checkpoints").glob("*/config.json"))
BASES = {Path(forward(name)["checkpoint"]).name: forward(name).get("base") for name in FORWARDS}


@pytest.fixture(scope="module", params=["letters", "each other's"])
def names(request: pytest.FixtureRequest) -> dict[str, str]:
    """What each checkpoint is called now: x1, x2, …, or as another one, which misleads whoever reads names."""
    if request.param == "letters":
        return {name: f"x{place}" for place, name in enumerate(CHECKPOINTS)}
    return dict(zip(CHECKPOINTS, [*CHECKPOINTS[1:], *CHECKPOINTS[:1]], strict=True))


@pytest.fixture(scope="module")
def room(names: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All checkpoints, bases and towers copied under their new names; no tower stands where configs look for it."""
    room = tmp_path_factory.mktemp("renamed")
    for old, new in names.items():
        shutil.copytree(FIXTURES / "checkpoints" / old, room / new)
    for place, tower in enumerate(_towers()):
        shutil.copytree(FIXTURES / tower, room / "towers" / f"y{place}")
    return room


def _towers() -> list[str]:
    configs = [json.loads((FIXTURES / "checkpoints" / name / "config.json").read_text("utf-8")) for name in CHECKPOINTS]
    return sorted({config["mm_vision_tower"] for config in configs if config.get("mm_vision_tower")})


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_another_name_changes_nothing(name: str, names: dict[str, str], room: Path) -> None:
    towers = {tower: room / "towers" / f"y{place}" for place, tower in enumerate(_towers())}
    base = BASES.get(name)
    renamed_base = room / names[Path(base).name] if base else None
    there = FIXTURES / "checkpoints" / name
    try:
        before = open_checkpoint(there, base=FIXTURES / base if base else None)
    except ModelError as error:  # a base, or a delta
        with pytest.raises(ModelError) as again:
            open_checkpoint(room / names[name], towers=towers)
        assert str(again.value).replace(str(room / names[name]), "") == str(error).replace(str(there), "")
        return
    after = open_checkpoint(room / names[name], base=renamed_base, towers=towers)

    assert _unnamed(after.found) == _unnamed(before.found)
    assert after.template == before.template
    assert after.config == before.config
    assert after.preprocessing == before.preprocessing
    assert after.tokenizer.special_ids == before.tokenizer.special_ids
    assert torch.equal(_logits(after), _logits(before))


def _unnamed(found: Found) -> Found:
    """Without where things are, and the note that a base has another name than the adapter's files say."""
    notes = tuple(note for note in found.notes if "as its base" not in note)
    return replace(found, tower="", base=None, notes=notes)


@torch.inference_mode()
def _logits(checkpoint: Checkpoint) -> Tensor:
    """Of a few ids and a picture of noise."""
    config = checkpoint.config
    model = load_for_inference(config, checkpoint.tensors, Placement(device="cpu", dtype="float32")).model
    generator = torch.Generator().manual_seed(1)
    side = config.vision.image_size
    views = torch.randn(1 if config.tiles is None else 3, 3, side, side, generator=generator)
    features = model.encode_pictures(views).flatten(0, 1)
    ids = [1, 5, *[config.image_token_id] * len(features), 7, 9]
    x = model.embed(torch.tensor([ids]), features)
    return model.language_model.logits(model.language_model(x, torch.arange(len(ids))))
