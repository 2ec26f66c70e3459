"""Answers by the original's own generation call, its keyword stopping, and its script's clean-up."""

from __future__ import annotations

import pytest

from llava_engine.parity.generation import Keyword, generated, script_text
from tests.conformance.fixtures import needs_fixtures
from tests.conformance.originals import (
    FORWARDS,
    allowed,
    case_of,
    forward,
    forward_cases,
    is_sure,
    original_of,
    pictures,
    sure,
)

pytestmark = needs_fixtures

CASES = forward_cases()


@pytest.mark.parametrize(("name", "case_name"), CASES)
def test_the_call_returns_what_the_originals_did(name: str, case_name: str) -> None:
    case, original = case_of(name, case_name), original_of(name)
    embeddings = original.embeddings(case["input_ids"], pictures(case["images"]))
    ids = generated(original, embeddings, case["stop"], allowed(name))
    # The newest call returns <s> and the new tokens, June's prompt and new tokens, of which the golden has the new.
    certain = sure(case) + (forward(name)["commit"] == "c121f04")
    assert ids[:certain] == case["generate_ids"][:certain]
    if is_sure(name, case):
        assert ids == case["generate_ids"]
        assert script_text(original, ids, case["stop"]) == case["generate_text"]


@pytest.mark.parametrize(("name", "case_name"), CASES)
def test_ids_read_as_the_originals_text(name: str, case_name: str) -> None:
    case, tokenizer = case_of(name, case_name), original_of(name).tokenizer
    assert tokenizer.text(case["greedy_ids"], skip_special=True).strip() == case["greedy_text"].strip()
    if "greedy_text_with_special" in case:
        assert tokenizer.text(case["greedy_ids"]).strip() == case["greedy_text_with_special"].strip()


@pytest.mark.parametrize("name", [name for name in FORWARDS if forward(name)["commit"] == "b4be90b"])
def test_junes_keyword_is_not_looked_for_in_the_first_token(name: str) -> None:
    tokenizer = original_of(name).tokenizer
    for stop in sorted({case["stop"] for case in forward(name)["cases"]}):
        keyword = Keyword(stop, tokenizer)
        begin = tokenizer.ids("")
        said = tokenizer.ids(stop)[len(begin) :]
        word = tokenizer.ids("word")[-1]
        assert (keyword.id is None) == (len(begin) + len(said) > 1)
        assert not keyword.ends(said[:1])
        special = stop in tokenizer.special_ids
        # With a begin token the keyword is never one id, so a special token is not seen at all; letters are.
        assert keyword.ends([word, *said]) == (keyword.id is not None or not special)
        assert not keyword.ends([word, word])
