"""Features, embeddings, logits and greedy tokens as the original computed them, for every checkpoint and case.

The ids are the golden's; the model is the one that chats. Where the original loses pictures (June, with marks: all but
the last), its loss is met in parity, and in default each picture counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any

import pytest
import torch
from torch import Tensor

from llava_engine.parity.embedding import PICTURE
from llava_engine.parity.generation import greedy
from llava_engine.parity.original import Original
from tests.conformance.fixtures import FIXTURES, error_of, needs_fixtures
from tests.conformance.odd_pictures import original_errs, plain_pictures
from tests.conformance.originals import (
    FORWARDS,
    as_the_original_saw,
    case_of,
    final_logits,
    forward,
    forward_cases,
    original_of,
    pictures,
    sure,
    tensors_of,
    tolerance,
)

pytestmark = needs_fixtures

CASES = forward_cases()
PLAIN = [each.name for each in plain_pictures()] if FORWARDS else []


def june_shows_several(golden: Any, case: Any) -> bool:
    return golden["commit"] == "b4be90b" and len(case["images"]) > 1


@torch.inference_mode()
def default_embeddings(original: Original, ids: Sequence[int], shown: Sequence[str]) -> Tensor:
    """Through the model alone, as the engine does it: all pictures, in order, where their places are.

    Where the original reads a picture wrongly, ours is given what it saw.
    """
    seen = as_the_original_saw(shown)
    views = [(torch.from_numpy(original.checkpoint.preprocessing.views(each)), each) for each in seen]
    features = [original.model.picture_features(view, (each.size[1], each.size[0])) for view, each in views]
    if original.commit == "c121f04":  # one placeholder for a picture, where ours has one for each of its tokens
        lengths = iter(len(each) for each in features)
        ids = [token for each in ids for token in [each] * (next(lengths) if each == PICTURE else 1)]
    return original.model.embed(torch.tensor([ids]), torch.cat(features) if features else None)


@torch.inference_mode()
def logits_of(original: Original, embeddings: Tensor) -> Tensor:
    language = original.model.language_model
    return language.logits(language(embeddings, torch.arange(embeddings.shape[1])))[0]


def check(name: str, case: Any, original: Original, embeddings: Tensor) -> None:
    """Everything that the golden says of a case, once its embeddings are there."""
    expected = tensors_of(name, case["case"])
    atol = tolerance(original)
    assert embeddings.shape[1] == (case.get("embedded_length") or len(case["input_ids"]))
    if "inputs_embeds" in expected:
        torch.testing.assert_close(embeddings[0], expected["inputs_embeds"], rtol=0, atol=atol)
    if "inputs_embeds_sum_per_position" in expected:
        torch.testing.assert_close(embeddings[0].sum(-1), expected["inputs_embeds_sum_per_position"], rtol=0, atol=atol)
    logits, final = logits_of(original, embeddings), final_logits(name, case["case"])
    if "logits" in expected:
        assert logits.shape == expected["logits"].shape
    torch.testing.assert_close(logits[-len(final) :], final, rtol=0, atol=atol)
    certain = sure(case)
    assert list(islice(greedy(original.model, embeddings), certain)) == case["greedy_ids"][:certain]


@pytest.mark.parametrize(("name", "case_name"), CASES)
def test_default_computes_what_the_original_does(name: str, case_name: str) -> None:
    case, original = case_of(name, case_name), original_of(name)
    embeddings = default_embeddings(original, case["input_ids"], case["images"])
    if not june_shows_several(forward(name), case):
        # Newest cuts what is longer than training's longest; ours would read on.
        check(name, case, original, embeddings[:, : original.longest if case["images"] else None])
        return
    # The golden pins a loss: ours differs, and feels every picture.
    logits, final = logits_of(original, embeddings), final_logits(name, case_name)
    assert (logits[-len(final) :] - final).abs().max() > tolerance(original)
    shown = case["images"]
    for place, here in enumerate(shown):
        other = next((each for each in PLAIN if each != here), here)
        others = [*shown[:place], other, *shown[place + 1 :]]
        changed = logits_of(original, default_embeddings(original, case["input_ids"], others))
        assert (logits - changed).abs().max() > tolerance(original), f"picture {place} is not seen"


@pytest.mark.parametrize(("name", "case_name"), CASES)
def test_parity_computes_what_the_original_does(name: str, case_name: str) -> None:
    case, original = case_of(name, case_name), original_of(name)
    check(name, case, original, original.embeddings(case["input_ids"], pictures(case["images"])))


@pytest.mark.parametrize("name", FORWARDS)
@torch.inference_mode()
def test_features_are_the_originals(name: str) -> None:
    original, checked = original_of(name), 0
    model = original.model
    for case in forward(name)["cases"]:
        expected = tensors_of(name, case["case"])
        if "tower_features" not in expected:
            continue
        seen = as_the_original_saw(case["images"])
        views = torch.cat([torch.from_numpy(original.checkpoint.preprocessing.views(each)) for each in seen])
        tower = model.vision_tower(views, model.config.vision_feature_layer)[:, 1:]
        torch.testing.assert_close(tower, expected["tower_features"], rtol=0, atol=1e-4)
        projected = model.encode_pictures(views)
        torch.testing.assert_close(projected, expected["projected_features"], rtol=0, atol=1e-4)
        checked += 1
    assert checked or original.commit == "c121f04"  # the newest goldens have embeddings in their place


@pytest.mark.parametrize(
    ("name", "case_name"),
    [(name, case) for name, case in CASES if june_shows_several(forward(name), case_of(name, case))],
)
def test_with_marks_june_sees_the_last_picture_only(name: str, case_name: str) -> None:
    """Earlier places keep the embedding of the patch token: another picture there changes nothing."""
    case, original = case_of(name, case_name), original_of(name)
    seen = original.embeddings(case["input_ids"], pictures(case["images"]))
    last = case["images"][-1]
    others = [next((each for each in PLAIN if each != here), here) for here in case["images"][:-1]] + [last]
    torch.testing.assert_close(original.embeddings(case["input_ids"], pictures(others)), seen, rtol=0, atol=0)
    patches = [place for place, token in enumerate(case["input_ids"]) if token == original.marks.patch]
    untouched = original.model.embed(torch.tensor([[original.marks.patch]]), None)[0, 0]
    assert torch.equal(seen[0, patches[0]], untouched)
    assert not torch.equal(seen[0, patches[-1]], untouched)


def test_what_the_original_failed_at_parity_fails_at() -> None:
    for name in FORWARDS:
        for case in forward(name)["cases"]:
            if "error" in case:
                ask = partial(original_of(name).embeddings, case["input_ids"], pictures(case["images"]))
                assert error_of(ask) == case["error"], case["case"]


NEWEST = [pair for pair in CASES if forward(pair[0])["commit"] == "c121f04" and case_of(*pair)["images"]]


@pytest.mark.parametrize(("name", "case_name"), NEWEST)
def test_newest_cuts_what_is_longer_than_in_training(name: str, case_name: str) -> None:
    """Off the end, where the question stands; in default a prompt may be as long as the model's context."""
    case, original = case_of(name, case_name), original_of(name)
    shown = pictures(case["images"])
    if any(original_errs(FIXTURES / "images" / each) for each in case["images"]):
        return  # default reads these as they are
    whole = replace(original, longest=None).embeddings(case["input_ids"], shown)
    half = whole.shape[1] // 2
    assert torch.equal(replace(original, longest=half).embeddings(case["input_ids"], shown), whole[:, :half])
    assert torch.equal(default_embeddings(original, case["input_ids"], case["images"]), whole)
