"""Grounding of mentions: for each word that names items, where they are, read from the middle of the language model.

Linear heads on the stream at a mention's last token say how many items it means and, if it is one, its column and row,
its size and whether it is hollow. They are thrown away after training; the model stays a plain Llama. This is what
makes relations learnable.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from training.embedded.picture_world.exchanges import MENTION_TARGETS as SIZES


class MentionHeads(nn.Module):
    """The heads, as one product."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, sum(SIZES))

    def forward(self, states: Tensor, targets: Tensor) -> Tensor:
        """The loss: the mean over what is known, of all together.

        Args:
            states: (n, width) at the mentions' last tokens.
            targets: (n, 5) as `mention_targets` gives them; -1 where there is none.
        """
        parts = self.linear(states).float().split(SIZES, dim=-1)
        losses = [
            F.cross_entropy(part, target, ignore_index=-1, reduction="sum") / (target >= 0).sum().clamp(min=1)
            for part, target in zip(parts, targets.unbind(1), strict=True)
        ]
        return torch.stack(losses).sum()
