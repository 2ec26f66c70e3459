"""What quantization costs the embedded model, in right answers about drawn pictures."""

from __future__ import annotations

from functools import cache

import pytest

import llava_engine
from training.evaluation.pictures import COLUMNS, WRONG, evaluate

PICTURES = 100


@cache
def right(quantize: str) -> dict[str, float]:
    """Right answers in per cent, by column; the control is none."""
    engine = llava_engine.load(device="cpu", dtype="float32", quantize=quantize)
    columns = [column for column in COLUMNS if column.name != WRONG]
    table = evaluate(engine, PICTURES, columns=columns)
    return {column.name: table.total(column.name).percent for column in columns}


@pytest.mark.slow
@pytest.mark.parametrize(("quantize", "points"), [("int8", 1.0), ("int4", 2.0), ("nf4", 2.0)])
def test_accuracy_does_not_fall_by_more(quantize: str, points: float) -> None:
    exact, quantized = right("none"), right(quantize)
    assert all(quantized[column] >= exact[column] - points for column in exact), (exact, quantized)
