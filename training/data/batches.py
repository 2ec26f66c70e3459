"""The batch of each step: rows in the order of `order.py`, made into samples, put together by `collate.py`."""

from __future__ import annotations

from dataclasses import dataclass

from training.data.collate import Batch, collate
from training.data.order import rows_of_step
from training.data.samples import Samples


@dataclass(frozen=True)
class BatchSource:
    """The batch of each step."""

    samples: Samples
    size: int
    seed: int

    def __getitem__(self, step: int) -> Batch:
        numbers = rows_of_step(step, self.size, len(self.samples.rows), self.seed)
        return collate([self.samples[number] for number in numbers], self.samples.encoder.tokenizer.pad_id or 0)
