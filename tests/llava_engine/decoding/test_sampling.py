"""Filters and penalty equal transformers' logits processors; draws follow the probabilities and the seed."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from llava_engine.contract import Sampling
from llava_engine.decoding.sampling import filtered, generator_for, penalized, sample
from llava_engine.errors import UsageError


def logits(seed: int, size: int = 50) -> torch.Tensor:
    return torch.randn(size, generator=torch.Generator().manual_seed(seed)) * 3


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top_k", [1, 7, 50, 80])
def test_top_k(seed: int, top_k: int) -> None:
    expected = TopKLogitsWarper(top_k)(torch.zeros(1, 1, dtype=torch.long), logits(seed)[None])[0]
    assert torch.equal(filtered(logits(seed), top_k, 1.0), expected)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("top_p", [1e-300, 0.01, 0.3, 0.9, 0.999])
def test_top_p(seed: int, top_p: float) -> None:
    expected = TopPLogitsWarper(top_p)(torch.zeros(1, 1, dtype=torch.long), logits(seed)[None])[0]
    assert torch.equal(filtered(logits(seed), 0, top_p), expected)


@pytest.mark.parametrize("penalty", [0.7, 1.0, 1.3])
def test_repetition_penalty(penalty: float) -> None:
    seen = [3, 3, 9, 41]
    expected = RepetitionPenaltyLogitsProcessor(penalty)(torch.tensor([seen]), logits(0)[None].clone())[0]
    torch.testing.assert_close(penalized(logits(0), seen, penalty), expected)


def test_greedy_is_the_likeliest_and_needs_no_chance() -> None:
    assert sample(logits(2), Sampling(), [], None) == int(logits(2).argmax())
    assert generator_for(Sampling()) is None


def test_draws_follow_the_probabilities() -> None:
    scores = torch.tensor([0.0, 1.0, 2.0])
    sampling = Sampling(temperature=0.5, seed=7)
    chance = generator_for(sampling)
    counts = torch.zeros(3)
    for _ in range(4000):
        counts[sample(scores, sampling, [], chance)] += 1
    torch.testing.assert_close(counts / 4000, (scores / 0.5).softmax(-1), atol=0.03, rtol=0)


def test_the_same_seed_draws_the_same() -> None:
    def drawn(seed: int) -> list[int]:
        sampling = Sampling(temperature=1.0, seed=seed)
        chance = generator_for(sampling)
        return [sample(logits(step), sampling, [], chance) for step in range(30)]

    assert drawn(5) == drawn(5)
    assert drawn(5) != drawn(6)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1},
        {"top_p": 0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"repetition_penalty": 0},
        {"max_new_tokens": 0},
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sampling(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [5e-324, 1e-320, 1e-40, 1e-8, 9e-4])
def test_a_temperature_of_almost_nothing_is_greedy(temperature: float) -> None:
    for seed in range(5):
        sampling = Sampling(temperature=temperature, seed=seed)
        scores = logits(seed) * 100
        assert sample(scores, sampling, [], generator_for(sampling)) == int(scores.argmax())


def test_the_hottest_is_even() -> None:
    sampling = Sampling(temperature=1.7e308, seed=1)
    chance = generator_for(sampling)
    drawn = torch.tensor([sample(torch.tensor([0.0, 50.0]), sampling, [], chance) for _ in range(2000)])
    assert 0.45 < drawn.float().mean() < 0.55


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": -1e-320},
        {"top_p": float("nan")},
        {"repetition_penalty": float("nan")},
        {"repetition_penalty": 1e-320},
        {"repetition_penalty": 1e300},
        {"seed": 2**64},
        {"seed": -(2**63) - 1},
    ],
    ids=str,
)
def test_what_is_no_number_or_out_of_range_is_a_users_error(wrong: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match=next(iter(wrong))):
        Sampling(**wrong)


@pytest.mark.parametrize("seed", [2**64 - 1, -(2**63), 0])
def test_every_seed_that_is_taken_draws(seed: int) -> None:
    assert generator_for(Sampling(temperature=1, seed=seed)) is not None
