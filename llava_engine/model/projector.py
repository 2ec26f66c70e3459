"""The projector: what joins the tower's features to the language model's embeddings.

`linear` is LLaVA's first form (Liu et al. 2023, equation 1); `mlp2x_gelu` came with LLaVA-1.5 (Liu et al. 2023b);
`mlp2x_linear` is how the Hugging Face layout, which always has two layers, writes a linear one.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.errors import ModelError

KINDS = ("linear", "mlp2x_gelu", "mlp2x_linear")


class Projector(nn.Module):
    """(…, vision width) -> (…, language width)."""

    def __init__(self, kind: str, vision_width: int, language_width: int) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ModelError(f"There is no projector of kind {kind!r}.", f"Known kinds: {', '.join(KINDS)}.")
        self.kind = kind
        self.linear_1 = nn.Linear(vision_width, language_width)
        if kind != "linear":
            self.linear_2 = nn.Linear(language_width, language_width)

    def forward(self, features: Tensor) -> Tensor:
        """Project each patch's features by itself."""
        x: Tensor = self.linear_1(features)
        if self.kind == "linear":
            return x
        return self.linear_2(F.gelu(x) if self.kind == "mlp2x_gelu" else x)  # type: ignore[no-any-return]
