"""The adapters and projectors of the fixtures, found by what they are: folded as the original's merge, over their base.

Logits of those with a golden are test_forward.py's to compare, and once more here after folding and opening again.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.adapters import adapters
from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.layouts.original.config import is_original
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.parity.original import Original
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures
from tests.conformance.originals import final_logits, pictures, tolerance

pytestmark = needs_fixtures

GOLDENS = sorted(path.name for path in (FIXTURES / "goldens").glob("forward_*.json"))
OVER_A_BASE = [name for name in GOLDENS if golden(name).get("base")]
PROJECTORS = (
    sorted(path.name for path in (FIXTURES / "projectors").iterdir()) if (FIXTURES / "projectors").exists() else []
)


@cache
def folders(*, towers: bool = False) -> list[Path]:
    """Bare language models, or towers with weights: by their config.json."""
    found = []
    for config in sorted(FIXTURES.glob("*/*/config.json")):
        raw = json.loads(config.read_text())
        if towers and raw.get("model_type") == "clip_vision_model":
            found.append(config.parent)
        if not towers and not is_original(raw) and "vocab_size" in raw:
            found.append(config.parent)
    return found


def tensors(file: Path) -> dict[str, Tensor]:
    files = TensorFiles(file.parent, [file])
    return {tensor_names.canonical(name.removeprefix("base_model.model.")): files.read(name) for name in files.tensors}


def test_there_are_some() -> None:
    assert OVER_A_BASE and PROJECTORS and folders() and folders(towers=True)
    assert {adapters.form(FIXTURES / golden(name)["checkpoint"]) for name in OVER_A_BASE} <= {"adapter", "projector"}


@pytest.mark.parametrize("name", OVER_A_BASE)
def test_every_tensor_is_folded_as_the_papers_formula_says(name: str) -> None:
    folder, base = FIXTURES / golden(name)["checkpoint"], FIXTURES / golden(name)["base"]
    opened = open_checkpoint(folder, base=base)
    files = TensorFiles(base)
    expected = {tensor_names.canonical(each): files.read(each) for each in files.tensors}
    for file in sorted([*folder.glob("*.bin"), *folder.glob("*.safetensors")]):
        if file.name.startswith("adapter_model"):
            settings = json.loads((folder / "adapter_config.json").read_text())
            pairs = tensors(file)
            for down in (each for each in pairs if ".lora_A." in each):
                target = tensor_names.canonical(down.replace(".lora_A", ""))
                up = pairs[down.replace(".lora_A.", ".lora_B.")]
                expected[target] = expected[target].float() + settings["lora_alpha"] / settings["r"] * (
                    up @ pairs[down]
                )
        else:
            expected |= tensors(file)
    for each in opened.tensors.tensors:
        if not each.startswith("vision_tower."):
            torch.testing.assert_close(opened.tensors.read(each), expected[each], rtol=0, atol=1e-6, msg=each)
    assert expected.keys() <= opened.tensors.tensors.keys()


@pytest.mark.parametrize("name", OVER_A_BASE)
def test_another_base_is_refused(name: str) -> None:
    folder, own = FIXTURES / golden(name)["checkpoint"], FIXTURES / golden(name)["base"]
    for base in folders():
        if base != own:
            with pytest.raises(ModelError, match="--base FOLDER"):
                open_checkpoint(folder, base=base)


@pytest.mark.parametrize("name", OVER_A_BASE)
def test_folded_in_and_opened_again_it_has_the_goldens_logits(name: str, tmp_path: Path) -> None:
    convert(FIXTURES / golden(name)["checkpoint"], "merged", tmp_path / "x", base=FIXTURES / golden(name)["base"])
    original = Original.load(tmp_path / "x")
    for case in (case for case in golden(name)["cases"] if "error" not in case):
        logits = final_logits(name, case["case"])
        language = original.model.language_model
        with torch.inference_mode():
            x = original.embeddings(case["input_ids"], pictures(case["images"]))
            ours = language.logits(language(x, torch.arange(x.shape[1])))[0, -len(logits) :]
        torch.testing.assert_close(ours, logits, rtol=0, atol=tolerance(original))


@pytest.mark.parametrize("name", PROJECTORS)
def test_a_projectors_file_goes_onto_its_base_and_its_tower(name: str) -> None:
    """Of all bases and towers here, it takes those that fit; each of its tensors is there, under its own name."""
    file = FIXTURES / "projectors" / name
    stored = tensors(file)
    width = stored["multi_modal_projector.linear_1.weight"].shape[1]
    opened, refused = [], 0
    for base in folders():
        for tower in folders(towers=True):
            fits = json.loads((tower / "config.json").read_text())["hidden_size"] == width
            try:
                checkpoint = open_checkpoint(file, base=base, towers={"": tower})
            except ModelError as error:
                assert "\n" not in error.cause
                refused += 1
                continue
            assert fits
            opened.append(checkpoint)
    assert opened and refused
    embeddings, head = "language_model.model.embed_tokens.weight", "language_model.lm_head.weight"
    if embeddings in stored:  # they tell their base
        assert len({checkpoint.found.base for checkpoint in opened}) == 1
    for checkpoint in opened:
        for each, tensor in stored.items():
            assert torch.equal(checkpoint.tensors.read(each), tensor)
        assert checkpoint.tensors.tensors[head].shape == checkpoint.tensors.tensors[embeddings].shape
        assert checkpoint.template.wrap_pictures is (
            checkpoint.config.language.vocab_size - _rows(checkpoint.found.base) > 2
        )


def _rows(base: Path | None) -> int:
    assert base is not None
    return int(json.loads((base / "config.json").read_text())["vocab_size"])
