"""Our modules compute what transformers' LLaVA computes from the same files."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llava_engine.checkpoints.load import load_for_inference
from llava_engine.model.config import LlavaConfig
from llava_engine.opening import Placement
from tests.llava_engine.tiny import IMAGE_TOKEN, SHAPES, oracle, parts, saved

NEVER_SAID = [2, IMAGE_TOKEN]  # the end and the picture's placeholder: both would cut the comparison short


@pytest.mark.parametrize("config", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("pictures", [0, 1, 3])
def test_logits_and_greedy_tokens_are_equal(config: LlavaConfig, pictures: int, tmp_path: Path) -> None:
    saved(config, tmp_path / "model")
    theirs = oracle(tmp_path / "model")
    ours = load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu")).model
    generator = torch.Generator().manual_seed(pictures)
    ids = torch.tensor([[1, 5, 9]])
    for _ in range(pictures):
        text = torch.randint(3, 90, (1, 4), generator=generator)
        ids = torch.cat([ids, torch.full((1, config.picture_tokens), IMAGE_TOKEN), text], dim=1)
    side = config.vision.image_size
    pixels = torch.randn(pictures, 3, side, side, generator=generator) if pictures else None
    with torch.no_grad():
        expected = theirs(input_ids=ids, pixel_values=pixels).logits
        torch.testing.assert_close(ours(ids, pixels), expected, atol=1e-4, rtol=0)
        answer = theirs.generate(
            input_ids=ids,
            **({} if pixels is None else {"pixel_values": pixels}),
            do_sample=False,
            max_new_tokens=12,
            suppress_tokens=NEVER_SAID,
        )
        mine = ids
        for _ in range(12):
            scores = ours(mine, pixels)[:, -1:]
            scores[..., NEVER_SAID] = -torch.inf
            mine = torch.cat([mine, scores.argmax(-1)], dim=1)
    assert mine.tolist() == answer.tolist()


def test_a_folder_that_transformers_wrote_is_read(tmp_path: Path) -> None:
    saved(SHAPES["grouped heads"], tmp_path / "ours")
    theirs = oracle(tmp_path / "ours")
    for name, options in (("old names", {}), ("names in memory", {"save_original_format": False})):
        theirs.save_pretrained(tmp_path / name, **options)
        model = load_for_inference(*parts(tmp_path / name), Placement(device="cpu")).model
        ids = torch.tensor([[1, 7, 3, 8]])
        with torch.no_grad():
            torch.testing.assert_close(model(ids), theirs(input_ids=ids).logits, atol=1e-4, rtol=0)
