"""The CLIP vision tower (Radford et al. 2021, ViT): pixels in, one hidden state for the class token and each patch out.

Knows nothing of language or of how its features are used. It is the pre-norm transformer of CLIP, up to the layer that
is asked for; LLaVA takes the state before CLIP's last norm, which is kept here only so that checkpoints stay whole.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.config import VisionConfig


class VisionTower(nn.Module):
    """CLIP's image encoder without its final norm and projection."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.class_embedding = nn.Parameter(torch.zeros(width))
        self.patch_embedding = nn.Parameter(torch.zeros(width, 3, config.patch_size, config.patch_size))
        self.position_embedding = nn.Parameter(torch.zeros(config.grid**2 + 1, width))
        self.pre_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))
        self.post_layernorm = nn.LayerNorm(width, eps=config.layer_norm_eps)

    def forward(self, pixels: Tensor, layer: int = -1) -> Tensor:
        """Encode pictures.

        Args:
            pixels: (B, 3, image_size, image_size), normalized.
            layer: which hidden state: 0 is the embeddings, n after layer n, negative counts from the end.

        Returns:
            (B, 1 + grid², hidden_size), the class token first.
        """
        patch, width = self.config.patch_size, self.config.hidden_size
        grid = self.config.grid
        pixels = pixels[..., : grid * patch, : grid * patch].to(self.patch_embedding.dtype)
        # A convolution whose stride is its kernel is one product over flattened patches.
        x: Tensor = pixels.reshape(-1, 3, grid, patch, grid, patch)
        x = x.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)  # (B, g², 3·p·p)
        x = F.linear(x, self.patch_embedding.view(width, -1))  # (B, g², width)
        x = torch.cat([self.class_embedding.expand(len(x), 1, -1).to(x.dtype), x], dim=1)  # (B, 1 + g², width)
        x = self.pre_layernorm(x + self.position_embedding)
        count = layer if layer >= 0 else len(self.layers) + 1 + layer
        for block in list(self.layers)[:count]:
            x = block(x)
        return x


class VisionLayer(nn.Module):
    """One pre-norm transformer layer: attention over all positions, then an MLP."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.num_attention_heads
        self.quick = config.hidden_act == "quick_gelu"
        self.layer_norm1 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.layer_norm2 = nn.LayerNorm(width, eps=config.layer_norm_eps)
        self.fc1 = nn.Linear(width, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        batch, count, _ = x.shape
        q, k, v = self.qkv(self.layer_norm1(x)).view(batch, count, 3, self.heads, -1).unbind(2)  # (B, N, heads, d)
        attended = F.scaled_dot_product_attention(q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2))
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        h = self.fc1(self.layer_norm2(x))
        # CLIP's own weights were trained with the sigmoid approximation of GELU.
        h = h * torch.sigmoid(1.702 * h) if self.quick else F.gelu(h)
        return x + self.fc2(h)  # type: ignore[no-any-return]
