"""Nothing is keyed to the first set: one of other names, ids, formats, sizes, weights and pictures passes unseen.

And what that one's numbers come from is right: on the first set it gives what the original's code gave.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from tests.conformance.fixtures import FIXTURES, error_of, golden, needs_fixtures
from tests.conformance.originals import FORWARDS, final_logits, forward, sure
from tests.conformance.pinpoints import turned
from tests.conformance.remake import seen, speech, vocabulary, written
from tests.conformance.remake.answers import TOKENS, Asked, cleaned, generated
from tests.conformance.remake.files import read_json, read_tensors, read_weights
from tests.conformance.remake.further import Further
from tests.conformance.remake.moved import Moved
from tests.conformance.remake.names import Names
from tests.conformance.remake.reference import Reference, folded
from tests.conformance.remake.streams import chunks, with_tags
from tests.conformance.remake.vocabulary import Vocabulary
from tests.conformance.second_set import build

README = FIXTURES / "README.md"
pytestmark = [
    needs_fixtures,
    pytest.mark.skipif(
        not README.exists() or not README.read_text("utf-8").startswith("# Conformance fixtures, set A"),
        reason="the second set is made of the first, and what makes it is proven on that",
    ),
]

HERE = Path(__file__).parent
STREAMS = sorted(path.name for path in (FIXTURES / "goldens").glob("worker_stream_*.json"))


@pytest.mark.slow
@pytest.mark.parametrize("seed", [7])
def test_all_of_conformance_passes_on_a_second_set(seed: int, tmp_path: Path) -> None:
    build(tmp_path, seed)
    command = [sys.executable, "-m", "pytest", str(HERE), f"--ignore={__file__}", "-p", "no:cacheprovider"]
    environment = os.environ | {"LLAVA_CONFORMANCE": str(tmp_path)}
    run = subprocess.run(command, cwd=HERE.parents[1], env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout[-8000:]
    assert "skipped" not in run.stdout.splitlines()[-1]


def test_nothing_keeps_its_name_or_its_ids(tmp_path: Path) -> None:
    moved = Moved(FIXTURES, tmp_path, Names(FIXTURES, 1), 1)
    moved.all()
    old = [Path(path).name for path in moved.names.paths if not path.startswith("tokenizers/")]
    old += list(moved.names.pictures)
    for file in tmp_path.rglob("*"):
        assert file.name not in old
        if file.suffix == ".json":
            text = file.read_text("utf-8")
            assert not [name for name in old if f'"{name}"' in text or f"/{name}" in text], file
    kept = [place for words in moved.vocabularies() for place, new in enumerate(words.order) if place == new]
    assert len(kept) < 0.5 * sum(len(words.order) for words in moved.vocabularies())


@dataclass(frozen=True)
class Unmoved:
    """A checkpoint of the first set, asked as those of the second are."""

    golden: Any
    asked: Asked

    @classmethod
    def of(cls, name: str) -> Unmoved:
        said = forward(name)
        folder, base = FIXTURES / said["checkpoint"], said.get("base")
        config = read_json(folder / "config.json")
        tower = FIXTURES / config["mm_vision_tower"]
        stored = _stored(folder, FIXTURES / base if base else None)
        inside = {key: tensor for key, tensor in stored.items() if "vision_model." in key}
        own = bool(config.get("unfreeze_mm_vision_tower"))
        settings = read_json(tower / "config.json")
        reference = Reference(config, stored, settings, inside if own else read_weights(tower))
        words = _unmoved(FIXTURES / base if base else folder)
        patches = (settings["image_size"] // settings["patch_size"]) ** 2
        preprocessing = read_json(tower / "preprocessor_config.json")
        asked = Asked(said, said["checkpoint"], FIXTURES, config, preprocessing, patches, reference, words, (), str, 0)
        return cls(said, asked)


def _stored(folder: Path, base: Path | None) -> dict[str, Tensor]:
    if base is None:
        return read_weights(folder)
    if (folder / "adapter_config.json").exists():
        settings = read_json(folder / "adapter_config.json")
        pairs, others = (read_tensors(next(folder.glob(name))) for name in ("adapter_model.*", "non_lora*.bin"))
        return folded(read_weights(base), pairs, others, settings["lora_alpha"] / settings["r"])
    return read_weights(base) | read_tensors(folder / "mm_projector.bin")


def _unmoved(folder: Path) -> Vocabulary:
    _, words = vocabulary.of_folder(folder, 0, 0)
    pieces = tuple(words.pieces[new] for new in words.order) if words.pieces else ()
    return Vocabulary(tuple(range(len(words.order))), 0, pieces, words.spoken, words.content)


@pytest.mark.parametrize("name", FORWARDS)
@torch.inference_mode()
def test_the_references_compute_what_the_original_did(name: str) -> None:
    model = Unmoved.of(name)
    cases = model.golden["cases"]
    for place in sorted({0, len(cases) // 3, len(cases) - 1}):
        case = cases[place]
        embeddings, _ = model.asked.embedded(case)
        answer = model.asked.reference.answer(embeddings, TOKENS)
        expected = final_logits(name, case["case"])
        torch.testing.assert_close(answer.logits[-len(expected) :], expected, rtol=0, atol=2e-4)
        if sure(case) == TOKENS:
            assert answer.ids == case["greedy_ids"]
            new = generated(model.asked, answer.ids, case["stop"])
            assert new == case["generate_ids"][0 if model.asked.june else 1 :]
            assert cleaned(model.asked, new, case["stop"]) == case["generate_text"]


@torch.inference_mode()
def test_answers_are_streamed_as_the_originals_worker_did() -> None:
    """Where its prompt is that of a case, and so its ids are known, whatever the pictures."""
    models = {Path(forward(name)["checkpoint"]).name: name for name in FORWARDS}
    entries = [entry for file in STREAMS for entry in golden(file)["entries"]]
    checked = 0
    for checkpoint in {entry["checkpoint"] for entry in entries}:
        model = Unmoved.of(models[checkpoint])
        cases = {with_tags(model.asked, case["prompt"]): case for case in model.golden["cases"]}
        for entry in entries:
            request = entry["request"]
            if entry["checkpoint"] != checkpoint or request["prompt"] not in cases:
                continue
            case = cases[request["prompt"]] | {"images": request["images"]}
            case["greedy_ids"] = model.asked.reference.answer(model.asked.embedded(case)[0], TOKENS).ids
            sent = list(chunks(model.asked, case, entry["stream_interval"], request["max_new_tokens"]))
            assert sent == [chunk["text"] for chunk in entry["chunks"]]
            checked += 1
    assert checked


def test_texts_are_cut_and_said_as_the_original_did() -> None:
    checked = 0
    for commit, entries in golden("tokenization.json").items():
        for entry in entries:
            is_fast_llama = entry["use_fast"] and (FIXTURES / entry["tokenizer"] / "tokenizer.model").exists()
            if is_fast_llama:
                continue
            spoken = speech.of_folder(FIXTURES / entry["tokenizer"], june=commit == "b4be90b")
            assert spoken.length == entry["length"]
            for case in entry["cases"]:
                assert spoken.ids(case["text"]) == case["input_ids"]
                if isinstance(spoken, speech.Slow):
                    assert spoken.text(case["input_ids"]) == case["decoded"]
                    assert spoken.text(case["input_ids"], skip_special=True) == case["decoded_skip_special"]
                checked += 1
    for case in golden("tokenizer_image_token.json"):
        spoken = speech.of_folder(FIXTURES / case["tokenizer"], june=False)
        assert speech.with_pictures(case["prompt"], spoken) == case["input_ids"]
    assert checked


def test_prompts_and_labels_are_made_as_the_original_made_them() -> None:
    further = Further(FIXTURES, Names(FIXTURES, 1), 1)
    prompts, labels = golden("prompts.json"), golden("labels.json")
    for commit in (key for key in prompts if "cases" in prompts[key]):
        for case in prompts[commit]["cases"]:
            fields, turns = (
                prompts[commit]["templates"][case["template"]],
                prompts["conversations"][case["conversation"]],
            )
            assert written.outcome(fields, turns, june=commit == "b4be90b").items() <= case.items()
    samples = {sample["id"]: sample for sample in read_json(FIXTURES / labels["samples"])}
    for group in labels["groups"]:
        of = further.group(group, prompts)
        for name, expected in group["results"].items():
            assert written.labelled(samples[name], of) == expected, name


def test_pixels_are_made_as_the_original_made_them() -> None:
    checked = 0
    for file in sorted((FIXTURES / "goldens").glob("pixels_*.json")):
        stored, lines = np.load(file.with_suffix(".npz")), golden(file.name)["entries"]
        grids = {line["preprocessor"]: line["grid_pinpoints"] for line in lines if "grid_pinpoints" in line}
        for line in lines:
            settings = read_json(FIXTURES / line["preprocessor"] / "preprocessor_config.json")
            mode = line["mode"].removesuffix("_noconvert")
            opened = Image.open(FIXTURES / "images" / line["image"])
            image = opened.convert("RGB") if mode == line["mode"] else opened
            grid = [(width, height) for height, width in turned(grids.get(line["preprocessor"], "()"))]
            if "error" in line:
                assert error_of(partial(seen.pixels, image, mode, settings, grid)) == line["error"]
                continue
            made = seen.pixels(image, mode, settings, grid)
            expected = stored[line["key"] if line["key"] in stored else line["identical_to"]]
            np.testing.assert_allclose(made, expected, rtol=0, atol=1e-5)
            checked += 1
    assert checked


def test_frames_are_chosen_as_the_original_chose_them() -> None:
    for entry in golden("anyres_selection.json"):
        grid = [(width, height) for height, width in turned(entry["grid"])]
        assert list(seen.best_of(tuple(entry["size"]), grid)) == entry["best"]
