"""A packed run gives each question the states of a run alone."""

from __future__ import annotations

import pytest
import torch

from llava_engine.model.config import LanguageConfig
from llava_engine.model.language import LanguageModel
from training.embedded.shared_prefix import Segments, run_packed


@pytest.fixture(params=[4, 2], ids=["full heads", "grouped heads"])
def model(request: pytest.FixtureRequest) -> LanguageModel:
    torch.manual_seed(0)
    made = LanguageModel(
        LanguageConfig(
            vocab_size=50,
            hidden_size=32,
            intermediate_size=48,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=request.param,
            head_dim=8,
        )
    )
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    return made


def test_packed_segments_equal_single_runs(model: LanguageModel) -> None:
    prefix = torch.randn(2, 5, 32)
    ids = torch.randint(0, 50, (2, 3, 8))
    on_picture = torch.tensor([[True, False, True], [True, True, False]])
    asked = torch.tensor([flat for flat in range(48) if 4 <= flat % 8 < 7] + [0])  # filled up with a place
    found = run_packed(model, prefix, [Segments(ids, on_picture)], asked).asked
    for flat, state in zip(asked.tolist(), found, strict=True):
        picture, segment, place = flat // 24, flat // 8 % 3, flat % 8
        words = model.embed(ids[picture, segment, : place + 1].unsqueeze(0))
        alone = torch.cat([prefix[picture : picture + 1], words], 1) if on_picture[picture, segment] else words
        expected = model(alone, torch.arange(alone.shape[1]))[0, -1]
        torch.testing.assert_close(state, expected, atol=1e-4, rtol=0)


def test_groups_of_other_lengths_do_not_change_each_other(model: LanguageModel) -> None:
    prefix = torch.randn(2, 5, 32)
    groups = [Segments(torch.randint(0, 50, (2, 2, n)), torch.ones(2, 2, dtype=torch.bool)) for n in (6, 9)]
    together = run_packed(model, prefix, groups, torch.arange(2 * 2 * (6 + 9)))
    start = 0
    for group in groups:
        size = group.ids.numel()
        alone = run_packed(model, prefix, [group], torch.arange(size))
        torch.testing.assert_close(together.asked[start : start + size], alone.asked, atol=1e-5, rtol=0)
        torch.testing.assert_close(together.middle[start : start + size], alone.middle, atol=1e-5, rtol=0)
        start += size
