"""The other language model: MPT (MosaicML 2023), with LayerNorm, ALiBi instead of positions, a GELU MLP and no biases.

The interface is that of `LanguageModel`: embeddings in, hidden states out, the same caches, the same residual stream.
ALiBi (Press et al. 2022) takes from each score the distance between query and key, times a slope of the head's own: it
knows distances only, so a row may begin anywhere. Knows no pictures, no text, no sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.config import MptConfig
from llava_engine.model.language import Cached


class MptModel(nn.Module):
    """A causal language model."""

    def __init__(self, config: MptConfig) -> None:
        super().__init__()
        self.config = config
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.layers = nn.ModuleList(MptLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
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
            positions: not needed; the tokens of a row are taken to follow one another, the T being the last of the S.
            mask: (B or 1, 1, T, S) bool, true where a query may look, never ahead; None is everywhere behind.
            cache: one `LayerCache` a layer, or a layer's caches, one for each row: as for `LanguageModel`.

        Returns:
            (B, T, hidden_size).
        """
        count = x.shape[1]
        bias = self.bias(count, count + (_longest(cache[0]) if cache else 0), x.device)
        if count > 1:
            bias = bias.to(x.dtype)  # which fused attention wants; once for all layers
        for index, layer in enumerate(self.layers):
            x = layer(x, bias, mask=mask, cache=cache[index] if cache else None)
        return self.norm(x)  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, hidden_size) -> (…, vocab_size) in float32."""
        return self.lm_head(hidden).float()  # type: ignore[no-any-return]

    def bias(self, count: int, size: int, device: torch.device) -> Tensor:
        """What the scores of the last `count` of `size` tokens get: (1, heads, count, size), float32, -inf ahead."""
        # From each query, not from the last one as the original: the bias of near keys is small, so half precision
        # rounds it finely. Softmax does not feel the difference, a constant for each query.
        keys = torch.arange(size, dtype=torch.float32, device=device)
        distance = keys - keys[size - count :].unsqueeze(-1)  # (T, S), 0 for itself
        slopes = torch.tensor(alibi_slopes(self.config.num_attention_heads, self.config.alibi_bias_max), device=device)
        return slopes.view(1, -1, 1, 1) * distance.masked_fill(distance > 0, float("-inf"))


class MptLayer(nn.Module):
    """Attention, then an MLP, each on a normed copy and added back."""

    def __init__(self, config: MptConfig) -> None:
        super().__init__()
        self.norm_1 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
        self.attention = MptAttention(config)
        self.norm_2 = nn.LayerNorm(config.hidden_size, config.layer_norm_eps, bias=False)
        self.mlp = MptMLP(config)

    def forward(self, x: Tensor, bias: Tensor, *, mask: Tensor | None = None, cache: Cached | None = None) -> Tensor:
        """(B, T, hidden_size) -> (B, T, hidden_size)."""
        x = x + self.attention(self.norm_1(x), bias, mask=mask, cache=cache)
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class MptAttention(nn.Module):
    """Causal attention, every head with keys and values of its own."""

    def __init__(self, config: MptConfig) -> None:
        super().__init__()
        self.dim = config.head_dim
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=False)
        self.out = nn.Linear(config.hidden_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor, bias: Tensor, *, mask: Tensor | None = None, cache: Cached | None = None) -> Tensor:
        """(B, T, hidden) -> (B, T, hidden)."""
        q, k, v = self.qkv(x).unflatten(-1, (-1, self.dim)).transpose(1, 2).chunk(3, dim=1)  # each (B, heads, T, d)
        if isinstance(cache, Sequence):
            rows = zip(q.split(1), k.split(1), v.split(1), cache, strict=True)
            attended = [attend_last(one_q, *own.append(one_k, one_v), bias) for one_q, one_k, one_v, own in rows]
            return self.out(torch.cat(attended).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]
        keys, values = (k.transpose(-1, -2), v) if cache is None else cache.append(k, v)
        return self.out(attend(q, keys, values, bias, mask).transpose(1, 2).flatten(2))  # type: ignore[no-any-return]


class MptMLP(nn.Module):
    """down(gelu(up)), with the exact GELU (Hendrycks and Gimpel 2016)."""

    def __init__(self, config: MptConfig) -> None:
        super().__init__()
        self.up = nn.Linear(config.hidden_size, config.intermediate_size, bias=False)
        self.down = nn.Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(…, hidden_size) -> (…, hidden_size)."""
        return self.down(F.gelu(self.up(x)))  # type: ignore[no-any-return]


def alibi_slopes(heads: int, bias_max: float) -> list[float]:
    """One slope a head: 2^(-bias_max / n) to the powers 1 … n, n being the next power of two (Press et al. 2022).

    Where heads is no power of two, MPT takes the even powers first, then the odd ones, as many as there are heads.
    """
    powers = 1 << (heads - 1).bit_length()
    slopes: list[float] = [2.0 ** (-bias_max * power / powers) for power in range(1, powers + 1)]
    return slopes if powers == heads else [*slopes[1::2], *slopes[::2]][:heads]


def attend_last(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """`attend` with a longer row's bias: counted from each query backwards, its end is that of a shorter row."""
    return attend(q, keys, values, bias[..., bias.shape[-1] - keys.shape[-1] :], None)


def _longest(caches: Cached) -> int:
    return max(one.length for one in caches) if isinstance(caches, Sequence) else caches.length


def attend(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor, mask: Tensor | None) -> Tensor:
    """Softmax attention with a bias.

    Args:
        q: (B, heads, T, d).
        keys: (B, heads, d, S): transposed, so that one new token's scores are one fast product.
        values: (B, heads, S, d).
        bias: (1, heads, T, S), added to the scores; -inf where no query may look.
        mask: (B or 1, 1, T, S) bool, false where a query may not look either, or None.

    Returns:
        (B, heads, T, d).
    """
    count, dim = q.shape[2:]
    keys, values = keys.to(q.dtype), values.to(q.dtype)
    if count == 1:
        scores = ((q * dim**-0.5) @ keys).float() + bias
        if mask is not None:
            scores = scores.masked_fill(~mask, float("-inf"))
        one: Tensor = scores.softmax(-1).to(q.dtype) @ values
        return one
    if mask is not None and len(mask) > 1:
        # Row by row: a bias of its own for each head of each row at once would be larger than all the rest.
        rows = zip(q.split(1), keys.split(1), values.split(1), mask.split(1), strict=True)  # type: ignore[no-untyped-call]
        return torch.cat([attend(*row[:3], bias, row[3]) for row in rows])
    if mask is not None:
        bias = bias.masked_fill(~mask, float("-inf"))
    # A CPU's fused attention wants each key's numbers side by side: the copy is small beside the scores it saves.
    keys = keys.transpose(-1, -2).contiguous()
    attended: Tensor = F.scaled_dot_product_attention(q, keys, values, attn_mask=bias.to(q.dtype))
    return attended
