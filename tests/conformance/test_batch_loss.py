"""The loss of June's checkpoints on batches of the data files, text rows between rows with pictures among them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_engine.model.config import MptConfig
from llava_engine.parity.batch_loss import Sample, batch_loss, trainer_of
from llava_engine.parity.embedding import june
from llava_engine.parity.labels import Said
from tests.conformance.fixtures import FIXTURES, golden, needs_fixtures
from tests.conformance.originals import opened, pictures

pytestmark = needs_fixtures

GOLDENS = sorted(path.name for path in (FIXTURES / "goldens").glob("batch_loss_*.json"))
ENTRIES = [
    (name, checkpoint, data)
    for name in GOLDENS
    for checkpoint, losses in golden(name)["losses"].items()
    for data in losses
]
JUNE = sorted({checkpoint for _, checkpoint, _ in ENTRIES})


def samples_of(data: str) -> list[Sample]:
    rows = json.loads((FIXTURES / data).read_text("utf-8"))
    return [
        Sample(
            tuple(Said(turn["from"], turn["value"]) for turn in row["conversations"]),
            pictures([row["image"]])[0] if "image" in row else None,
        )
        for row in rows
    ]


def longest(checkpoint: str) -> int:
    """Where the trainer cut texts: the checkpoint's tokenizer remembers it."""
    settings: Any = json.loads(Path(FIXTURES, "checkpoints", checkpoint, "tokenizer_config.json").read_text("utf-8"))
    return int(settings.get("model_max_length", 1e30))  # what transformers says where nothing is said


@pytest.mark.parametrize(("name", "checkpoint", "data"), ENTRIES)
def test_a_batch_has_the_originals_loss(name: str, checkpoint: str, data: str) -> None:
    expected = golden(name)["losses"][checkpoint][data]
    original, samples = opened(f"checkpoints/{checkpoint}"), samples_of(data)
    trainer = trainer_of(original, expected["version"], expected["pad_token_id"], longest(checkpoint))
    for batch in expected["batches"]:
        made = batch_loss(original, [samples[row] for row in batch["rows"]], trainer)
        assert list(made.shape) == batch["padded_shape"]
        assert made.supervised == batch["supervised_tokens"]
        assert made.loss == pytest.approx(batch["loss"], abs=1e-4)


@pytest.mark.parametrize("checkpoint", JUNE)
def test_a_row_of_text_counts_as_one_with_a_picture_for_llama_and_not_for_mpt(checkpoint: str) -> None:
    """The second row's picture is the batch's second with Llama, and the first one's with MPT: the wrong one."""
    original = opened(f"checkpoints/{checkpoint}")
    shown = [torch.full((original.model.config.picture_tokens, original.model.config.language.hidden_size), value)
             for value in (1.0, 2.0)]  # fmt: skip
    marks = original.marks
    patches = [marks.patch] * len(shown[0])
    row = [5, *([marks.around[0], *patches, marks.around[1]] if marks.around else patches), 6]
    text = [7] * len(row)
    made = june(original.model, torch.tensor([text, row]), shown, marks)
    mpt = isinstance(original.model.config.language, MptConfig)
    assert set(made[1, row.index(marks.patch)].tolist()) == ({1.0} if mpt else {2.0})


@pytest.mark.parametrize("checkpoint", JUNE)
def test_june_refuses_pictures_that_do_not_fit(checkpoint: str) -> None:
    original = opened(f"checkpoints/{checkpoint}")
    marks = original.marks
    hidden = original.model.config.language.hidden_size
    shown = [torch.zeros(original.model.config.picture_tokens, hidden)]
    patches = [marks.patch] * (len(shown[0]) + 1)
    row = [5, *([marks.around[0], *patches, marks.around[1]] if marks.around else patches), 6]
    with pytest.raises(ValueError, match=r"no mark|patch tokens"):
        june(original.model, torch.tensor([row]), shown, marks)
    if marks.around is None:  # two pictures, each whole: more patches than one picture has
        with pytest.raises(ValueError, match="patch tokens"):
            june(original.model, torch.tensor([[5, *patches[1:], *patches[1:], 6]]), shown * 2, marks)
    else:
        with pytest.raises(ValueError, match="marks"):
            june(original.model, torch.tensor([[marks.around[0], *row]]), shown, marks)
