"""Many independent questions about one picture in one pass: its prefix is run once, each question on top of it.

A question sees the prefix and its own past, at the positions that it would have alone, so the answers' logits are those
of single runs. In: embeddings of prefixes, token ids of segments. Out: hidden states at the positions that are asked
for. Prefixes and segments are one stream of tokens but for attention, so that a layer is few and wide products. Knows
the language model's layers, nothing of data or losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from llava_engine.model.language import Attention, LanguageLayer, LanguageModel, RMSNorm
from training.movable import Movable


@dataclass(frozen=True)
class Segments(Movable):
    """Segments of like length: S for each of the B pictures, L tokens each, right-padded.

    Attributes:
        ids: (B, S, L) token ids.
        on_picture: (B, S) bool: whether the segment follows its picture's prefix; else it stands alone, from position
            0 on.
    """

    ids: Tensor
    on_picture: Tensor


@dataclass(frozen=True)
class PackedStates:
    """What a packed run gives; N counts the tokens of all groups, group by group.

    Attributes:
        middle: (N, width), the stream after `middle_layer` layers.
        asked: (n, width), the normed last states where they were asked for.
    """

    middle: Tensor
    asked: Tensor


def run_packed(
    model: LanguageModel, prefix: Tensor, groups: list[Segments], asked: Tensor, *, middle_layer: int = 2
) -> PackedStates:
    """Run prefixes and segments through all layers.

    Args:
        model: the language model.
        prefix: (B, P, width) embeddings of what comes before every segment, the picture included.
        groups: segments, in groups of like length.
        asked: (n,) which of the N tokens' last states are wanted; the last layer ends with these alone.
        middle_layer: after how many layers the stream is kept for `PackedStates.middle`; at most all but the last.
    """
    batch, length, _ = prefix.shape
    packed = [_Packed(group, length) for group in groups]
    steps = torch.arange(length, device=prefix.device)
    positions = torch.cat([steps.repeat(batch), *(group.positions for group in packed)])
    rotary = model.rotary(positions)
    start = batch * length  # where the segments begin in the stream
    x = torch.cat([prefix.flatten(0, 1), *(model.embed(group.ids.flatten()) for group in groups)])  # (B·P + N, width)
    last = len(model.layers) - 1
    kept = min(middle_layer, last)
    middle = x[start:]
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, LanguageLayer)
        q, k, v = (t.squeeze(0) for t in layer.attention.project(_normed(layer.input_layernorm, x)[None], rotary))
        if index < last:
            x = x + layer.attention.out(_attend(layer.attention, q, k, v, packed, batch, length))
        else:  # nothing looks at the prefix's own last state
            attended = _attend(layer.attention, q, k, v, packed, batch, length)[start:]
            x = x[start:][asked] + layer.attention.out(attended[asked])
        x = x + layer.mlp(_normed(layer.post_attention_layernorm, x))
        if index + 1 == kept:
            middle = x[start:]
    return PackedStates(middle, _normed(model.norm, x))


class _Packed:
    """One group's positions and masks."""

    def __init__(self, group: Segments, prefix_length: int) -> None:
        self.batch, self.count, self.length = group.ids.shape
        starts = torch.where(group.on_picture, prefix_length, 0).unsqueeze(-1)  # (B, S, 1)
        steps = torch.arange(self.length, device=group.ids.device)
        self.positions = (starts + steps).flatten()
        self.own_mask = torch.where(steps.unsqueeze(1) >= steps, 0.0, float("-inf"))  # (L, L)
        self.prefix_mask = torch.where(group.on_picture, 0.0, float("-inf")).view(self.batch, -1, 1, 1)

    def attend(self, q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor) -> Tensor:
        """Queries over the prefix and their own segment's past.

        Args:
            q, k, v: (heads, B·S·L, d).
            prefix_k, prefix_v: (heads, B, P, d).

        Returns:
            (heads, B·S·L, d).
        """
        heads, _, dim = q.shape
        by_picture = (heads, self.batch, self.count * self.length, dim)
        apart = (heads, self.batch, self.count, self.length, -1)  # (heads, B, S, L, …)
        q = q * dim**-0.5
        to_prefix = (q.reshape(by_picture) @ prefix_k.transpose(-1, -2)).reshape(apart)  # (…, P)
        to_prefix = to_prefix + self.prefix_mask.to(q.dtype)
        to_own = q.reshape(apart) @ k.reshape(apart).transpose(-1, -2) + self.own_mask.to(q.dtype)  # (…, L)
        sizes = [to_prefix.shape[-1], self.length]
        weights = torch.cat([to_prefix, to_own], dim=-1).softmax(-1, dtype=torch.float32).to(v.dtype)
        on_prefix, on_own = torch.split(weights, sizes, dim=-1)
        seen: Tensor = on_prefix.reshape(*by_picture[:3], -1) @ prefix_v + (on_own @ v.reshape(apart)).reshape(
            by_picture
        )
        return seen.flatten(1, 2)


def _attend(
    attention: Attention, q: Tensor, k: Tensor, v: Tensor, packed: list[_Packed], batch: int, length: int
) -> Tensor:
    """q (heads, T, d), k and v (kv_heads, T, d) of the whole stream -> (T, heads·d)."""
    repeats = attention.heads // attention.kv_heads
    if repeats > 1:
        k, v = k.repeat_interleave(repeats, dim=0), v.repeat_interleave(repeats, dim=0)
    sizes = [batch * length, *(group.positions.numel() for group in packed)]
    (q0, *qs), (k0, *ks), (v0, *vs) = (torch.split(t, sizes, dim=1) for t in (q, k, v))
    q0, k0, v0 = (t.view(len(t), batch, length, -1) for t in (q0, k0, v0))  # (heads, B, P, d)
    on_prefix = F.scaled_dot_product_attention(
        q0.transpose(0, 1), k0.transpose(0, 1), v0.transpose(0, 1), is_causal=True
    ).transpose(0, 1)
    seen = [on_prefix.flatten(1, 2)]
    seen += [group.attend(q1, k1, v1, k0, v0) for group, q1, k1, v1 in zip(packed, qs, ks, vs, strict=True)]
    return torch.cat(seen, dim=1).transpose(0, 1).flatten(1)


def _normed(norm: RMSNorm, x: Tensor) -> Tensor:
    """`norm(x)` in float32, as one kernel where there is one."""
    return F.rms_norm(x.float(), (x.shape[-1],), norm.weight, norm.eps)
