"""Picture settings, whichever file of which folder states them; what none states is said."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlavaProcessor

from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.pictures.processing import Preprocessing
from tests.llava_engine.tiny import TILED, TINY, complete

OTHERS = {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.4, 0.5, 0.6], "resample": 2}


def into_processor(folder: Path, **changed: Any) -> None:
    """Move the settings to where transformers 5 has them."""
    file = folder / "preprocessor_config.json"
    settings = json.loads(file.read_text()) | changed
    file.unlink()
    processor = {"processor_class": "LlavaProcessor", "patch_size": 14, "image_processor": settings}
    (folder / "processor_config.json").write_text(json.dumps(processor))


def state(file: Path, **changed: Any) -> None:
    """Change keys of a JSON file; `...` takes one out."""
    content = {**json.loads(file.read_text()), **changed}
    file.unlink()  # it may be a link to what other tests read
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not ...}))


@pytest.mark.parametrize("config", [TINY, TILED], ids=["one view", "tiles"])
def test_settings_inside_processor_config(tmp_path: Path, config: Any) -> None:
    folder = complete(config, tmp_path / "x")
    state(folder / "preprocessor_config.json", **OTHERS)
    before = open_checkpoint(folder)
    into_processor(folder)
    after = open_checkpoint(folder)
    assert after.preprocessing == before.preprocessing
    assert after.preprocessing.mean == (0.1, 0.2, 0.3)
    assert after.found.notes == before.found.notes


def test_a_folder_that_transformers_saved_anew_makes_the_same_pixels(tmp_path: Path) -> None:
    folder = complete(TINY, tmp_path / "x")
    state(folder / "preprocessor_config.json", **OTHERS)
    before = open_checkpoint(folder).preprocessing
    processor = LlavaProcessor.from_pretrained(folder)
    (folder / "preprocessor_config.json").unlink()
    processor.save_pretrained(folder)
    assert open_checkpoint(folder).preprocessing == before


def test_where_both_files_state_them_the_processors_count_as_in_transformers(tmp_path: Path) -> None:
    folder = complete(TINY, tmp_path / "x")
    kept = (folder / "preprocessor_config.json").read_text()
    into_processor(folder, **OTHERS)
    (folder / "preprocessor_config.json").write_text(kept)
    assert open_checkpoint(folder).preprocessing.mean == (0.1, 0.2, 0.3)


def test_a_processor_file_without_them_is_passed_over(tmp_path: Path) -> None:
    folder = complete(TINY, tmp_path / "x")
    before = open_checkpoint(folder).preprocessing
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "LlavaProcessor"}))
    assert open_checkpoint(folder).preprocessing == before


@pytest.mark.parametrize("key", ["image_mean", "image_std", "resample", "size"])
@pytest.mark.parametrize("value", [..., None], ids=["left out", "null"])
def test_what_is_not_stated_is_said(tmp_path: Path, key: str, value: Any) -> None:
    folder = complete(TINY, tmp_path / "x")
    state(folder / "preprocessor_config.json", **OTHERS)
    assert not any("does not say" in note for note in open_checkpoint(folder).found.notes)
    state(folder / "preprocessor_config.json", **{key: value})
    opened = open_checkpoint(folder)
    assert any(key in note and "does not say" in note for note in opened.found.notes)
    assert opened.preprocessing.size == (opened.config.vision.image_size,) * 2


def test_a_towers_settings_by_either_name_and_none_is_said(room: Path) -> None:
    state(room / "eyes" / "preprocessor_config.json", **OTHERS)
    before = open_checkpoint(room / "newest")
    into_processor(room / "eyes")
    after = open_checkpoint(room / "newest")
    assert after.preprocessing == before.preprocessing
    assert after.preprocessing.mean == (0.1, 0.2, 0.3)
    (room / "eyes" / "processor_config.json").unlink()
    without = open_checkpoint(room / "newest")
    assert without.preprocessing.mean == Preprocessing("square", (28, 28), 28).mean
    assert any("Nothing says how pictures" in note for note in without.found.notes)


def test_an_adapters_own_settings_go_before_its_bases(tmp_path: Path) -> None:
    base, adapter = complete(TINY, tmp_path / "base"), tmp_path / "adapter"
    adapter.mkdir()
    settings = {"peft_type": "LORA", "r": 1, "lora_alpha": 1, "base_model_name_or_path": "base"}
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    width = TINY.language.hidden_size
    save_file({"multi_modal_projector.linear_2.bias": torch.ones(width)}, adapter / "adapter_model.safetensors")
    assert open_checkpoint(adapter).preprocessing == open_checkpoint(base).preprocessing
    shutil.copy(base / "preprocessor_config.json", adapter)
    state(adapter / "preprocessor_config.json", **OTHERS)
    assert open_checkpoint(adapter).preprocessing.mean == (0.1, 0.2, 0.3)


def test_no_settings_at_all_are_refused_where_nothing_else_can_have_them(tmp_path: Path) -> None:
    folder = complete(TINY, tmp_path / "x")
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ModelError, match=r"preprocessor_config\.json nor processor_config\.json"):
        open_checkpoint(folder)


@pytest.mark.parametrize("inside", [3, [], "text", {"size": "large"}])
def test_nonsense_inside_names_the_file(tmp_path: Path, inside: Any) -> None:
    folder = complete(TINY, tmp_path / "x")
    (folder / "processor_config.json").write_text(json.dumps({"image_processor": inside}))
    with pytest.raises(ModelError, match=r"processor_config\.json"):
        open_checkpoint(folder)
