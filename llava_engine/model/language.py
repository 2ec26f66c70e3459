"""The language model: the Llama family (Touvron et al. 2023), pre-norm with RMSNorm, rotary positions and SwiGLU.

Embeddings in, hidden states out; token ids only at both ends (`embed`, `logits`). Queries, keys and values are one
matrix, gate and up another, since fewer and wider products are faster everywhere. The residual stream keeps the dtype
of the embeddings that come in (float32 on a CPU, whatever the weights are). Knows no pictures, no text, no sampling.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.config import LanguageConfig

Rotary = tuple[Tensor, Tensor]


class LayerCache(Protocol):
    """The keys and values of one layer, kept between calls (decoding/cache.py).

    Attributes:
        length: positions it holds.
    """

    length: int

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, kv_heads, T, d) and return all keys as (B, kv_heads, d, S) and all values as (B, kv_heads, S, d)."""
        ...


Cached = LayerCache | Sequence[LayerCache]
"""What a layer is called with: one cache for all rows of a call, or one for each row."""


class LanguageModel(nn.Module):
    """A causal language model."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(LanguageLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    def embed(self, ids: Tensor) -> Tensor:
        """(B, T) ids -> (B, T, hidden_size) in the dtype of the norms, which the residual stream keeps."""
        return self.embed_tokens(ids).to(self.norm.weight.dtype)  # type: ignore[no-any-return]

    def forward(
        self,
        x: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None = None,
        cache: Sequence[Cached] | None = None,
    ) -> Tensor:
        """Run all layers and the final norm.

        Args:
            x: (B, T, hidden_size) embeddings.
            positions: (T,) or (B, T), counted from 0 at the start of the prompt.
            mask: (B or 1, 1, T, S) bool, true where a query may look; None is causal, the T queries being the last.
            cache: one `LayerCache` a layer; S then counts what it holds, these T included. Or, for rows of different
                lengths, a layer's caches, one for each row: each row then looks at its own, without a mask.

        Returns:
            (B, T, hidden_size).
        """
        rotary = self.rotary(positions)
        for index, layer in enumerate(self.layers):
            x = layer(x, rotary, mask=mask, cache=cache[index] if cache else None)
        return self.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, hidden_size) -> (…, vocab_size) in float32."""
        return self.lm_head(hidden).float()  # type: ignore[no-any-return]

    def rotary(self, positions: Tensor) -> Rotary:
        """Cosines and sines (Su et al. 2021), float32, (…, 1, T, head_dim / 2), ready for (B, heads, T, d)."""
        dim = self.config.head_dim
        # Tables in float32 whatever the weights are: at position 2000 half precision is off by a whole turn.
        exponent = torch.arange(0, dim, 2, dtype=torch.float32, device=positions.device) / dim
        angles = positions.float().unsqueeze(-1) * self.config.rope_theta**-exponent  # (…, T, d/2)
        return angles.cos().unsqueeze(-3), angles.sin().unsqueeze(-3)


class LanguageLayer(nn.Module):
    """Attention, then a gated MLP, each on a normed copy and added back."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.attention = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = GatedMLP(config)

    def forward(self, x: Tensor, rotary: Rotary, *, mask: Tensor | None = None, cache: Cached | None = None) -> Tensor:
        """(B, T, hidden_size) -> (B, T, hidden_size)."""
        x = x + self.attention(self.input_layernorm(x), rotary, mask=mask, cache=cache)
        return x + self.mlp(self.post_attention_layernorm(x))  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Causal attention with grouped heads (Ainslie et al. 2023)."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dim = config.num_attention_heads, config.num_key_value_heads, config.head_dim
        self.qkv = nn.Linear(config.hidden_size, (self.heads + 2 * self.kv_heads) * self.dim, bias=False)
        self.out = nn.Linear(self.heads * self.dim, config.hidden_size, bias=False)

    def project(self, x: Tensor, rotary: Rotary) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T, hidden) -> q (B, heads, T, d), k and v (B, kv_heads, T, d); q and k rotated to their positions."""
        qkv = self.qkv(x).unflatten(-1, (-1, self.dim)).transpose(1, 2)  # (B, heads + 2·kv_heads, T, d)
        turned, v = qkv.split([self.heads + self.kv_heads, self.kv_heads], dim=1)
        q, k = torch.split(rotate(turned, rotary), [self.heads, self.kv_heads], dim=1)
        return q, k, v

    def forward(self, x: Tensor, rotary: Rotary, *, mask: Tensor | None = None, cache: Cached | None = None) -> Tensor:
        """(B, T, hidden) -> (B, T, hidden)."""
        q, k, v = self.project(x, rotary)
        if cache is None:
            attended = attend(q, k.transpose(-1, -2), v, mask)
        elif isinstance(cache, Sequence):
            rows = zip(q.split(1), k.split(1), v.split(1), cache, strict=True)  # type: ignore[no-untyped-call]
            attended = torch.cat([attend(one_q, *own.append(one_k, one_v), None) for one_q, one_k, one_v, own in rows])
        else:
            keys, values = cache.append(k, v)
            attended = attend(q, keys, values, mask)
        return self.out(attended.transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class GatedMLP(nn.Module):
    """SwiGLU (Shazeer 2020): down(silu(gate) · up)."""

    def __init__(self, config: LanguageConfig) -> None:
        super().__init__()
        self.gate_up = nn.Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden_size) -> (…, hidden_size)."""
        gate, up = self.gate_up(x).chunk(2, dim=-1)
        return self.down(F.silu(gate) * up)  # type: ignore[no-any-return]


class RMSNorm(nn.Module):
    """Scale to unit root mean square (Zhang and Sennrich 2019), computed in float32."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(…, width) -> the same."""
        wide = x.float()
        wide = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + self.eps)
        normed: Tensor = self.weight * wide.to(x.dtype)
        return normed


def rotate(x: Tensor, rotary: Rotary) -> Tensor:
    """Turn each pair (i, i + d/2) of (B, heads, T, d) by its position's angle."""
    cos, sin = rotary
    first, second = x.float().chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], dim=-1).to(x.dtype)


def attend(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention.

    Args:
        q: (B, heads, T, d).
        keys: (B, kv_heads, d, S): transposed, so that one new token's scores are one fast product.
        values: (B, kv_heads, S, d).
        mask: (B or 1, 1, T, S) bool or None for causal.

    Returns:
        (B, heads, T, d).
    """
    batch, heads, count, dim = q.shape
    kv_heads, size = keys.shape[1], keys.shape[-1]
    keys, values = keys.to(q.dtype), values.to(q.dtype)
    if count == 1:
        grouped = q.reshape(batch, kv_heads, heads // kv_heads, dim)  # the heads of one group share keys and values
        scores = (grouped * dim**-0.5) @ keys  # (B, kv_heads, group, S)
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))  # (B, 1, 1, S) broadcasts over the group
        weights: Tensor = scores.float().softmax(-1).to(q.dtype)
        return (weights @ values).reshape(batch, heads, 1, dim)
    if mask is None and size != count:
        mask = torch.ones(count, size, dtype=torch.bool, device=q.device).tril(size - count)
    # A CPU's fused attention wants each key's numbers side by side: the copy is small beside the scores it saves.
    keys = keys.transpose(-1, -2).contiguous()
    attended: Tensor = F.scaled_dot_product_attention(
        q, keys, values, attn_mask=mask, is_causal=mask is None, enable_gqa=heads != kv_heads
    )
    return attended
