"""Many independent questions about one picture in one pass: its prefix is run once, each question on top of it.

A question sees the prefix and its own past, at the positions that it would have alone, so the answers' logits are those
of single runs. In: embeddings of prefixes, token ids of segments. Out: hidden states at the positions that are asked
for. Knows the language model's layers, nothing of data or losses.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from llava_engine.model.language import LanguageLayer, LanguageModel, Rotary


@dataclass(frozen=True)
class Segments:
    """Segments of like length: S for each of the B pictures, L tokens each, right-padded.

    Attributes:
        ids: (B, S, L) token ids.
        on_picture: (B, S) bool: whether the segment follows its picture's prefix; else it stands alone, from position
            0 on.
        targets: (B, S, L) the next token where it is supervised, else -1.
    """

    ids: Tensor
    on_picture: Tensor
    targets: Tensor

    def to(self, device: torch.device) -> Segments:
        """The same on a device."""
        return Segments(self.ids.to(device), self.on_picture.to(device), self.targets.to(device))


@dataclass(frozen=True)
class PackedStates:
    """What a packed run gives, for one `Segments`.

    Attributes:
        middle: (B, S·L, width), the stream after `middle_layer` layers.
        asked: (n,) flat indices into B·S·L of the positions that predict a supervised token, padded with -1.
        final: (n, width), their normed last states.
    """

    middle: Tensor
    asked: Tensor
    final: Tensor


def run_packed(
    model: LanguageModel, prefix: Tensor, groups: list[Segments], *, middle_layer: int = 2
) -> list[PackedStates]:
    """Run prefixes and segments through all layers.

    Args:
        model: the language model.
        prefix: (B, P, width) embeddings of what comes before every segment, the picture included.
        groups: segments, in groups of like length.
        middle_layer: after how many layers the stream is kept for `PackedStates.middle`; at most all but the last.
    """
    length = prefix.shape[1]
    rotary = model.rotary(torch.arange(length, device=prefix.device))
    runs = [_GroupRun(model, group, length) for group in groups]
    last = len(model.layers) - 1
    middle = min(middle_layer, last)
    for index, layer in enumerate(model.layers):
        assert isinstance(layer, LanguageLayer)
        q, k, v = layer.attention.project(layer.input_layernorm(prefix), rotary)
        for run in runs:
            run.step(layer, k, v, last=index == last)
            if index + 1 == middle:
                run.middle = run.x
        if index < last:  # nothing looks at the prefix's own last state
            attended = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
            prefix = prefix + layer.attention.out(attended.transpose(1, 2).flatten(2))
            prefix = prefix + layer.mlp(layer.post_attention_layernorm(prefix))
    return [PackedStates(run.middle, run.asked, model.norm(run.x)) for run in runs]


class _GroupRun:
    """One group on its way through the layers."""

    def __init__(self, model: LanguageModel, group: Segments, prefix_length: int) -> None:
        self.batch, self.count, self.length = group.ids.shape
        self.x = model.embed(group.ids.flatten(1))  # (B, S·L, width)
        self.middle = self.x
        starts = torch.where(group.on_picture, prefix_length, 0).unsqueeze(-1)  # (B, S, 1)
        steps = torch.arange(self.length, device=group.ids.device)
        self.rotary: Rotary = model.rotary((starts + steps).flatten(1))
        causal = steps.unsqueeze(1) >= steps  # (L, L)
        off = torch.tensor(float("-inf"), device=group.ids.device)
        self.own_mask = torch.where(causal, 0.0, off)
        all_on = bool(group.on_picture.all())
        self.prefix_mask = None if all_on else torch.where(group.on_picture, 0.0, off).view(self.batch, 1, -1, 1, 1)
        asked = torch.nonzero(group.targets.flatten() >= 0).squeeze(1)
        # Each new shape of a product costs a CPU library a new kernel.
        self.asked = F.pad(asked, (0, -len(asked) % 128), value=-1)

    def step(self, layer: LanguageLayer, prefix_k: Tensor, prefix_v: Tensor, *, last: bool) -> None:
        """One layer; in the last one only asked positions go on after attention, and `x` becomes (n, width)."""
        q, k, v = layer.attention.project(layer.input_layernorm(self.x), self.rotary)
        attended = self._attend(q, k, v, prefix_k, prefix_v).transpose(1, 2).flatten(2)  # (B, S·L, heads·d)
        if last:
            rows = self.asked.clamp(min=0)
            self.x, attended = self.x.flatten(0, 1)[rows], attended.flatten(0, 1)[rows]
        self.x = self.x + layer.attention.out(attended)
        self.x = self.x + layer.mlp(layer.post_attention_layernorm(self.x))

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, prefix_k: Tensor, prefix_v: Tensor) -> Tensor:
        """(B, heads, S·L, d) queries over the prefix and their own segment's past -> the same shape."""
        repeats = q.shape[1] // k.shape[1]
        if repeats > 1:
            k, v, prefix_k, prefix_v = (t.repeat_interleave(repeats, dim=1) for t in (k, v, prefix_k, prefix_v))
        batch, heads, _, dim = q.shape
        apart = (batch, heads, self.count, self.length, -1)  # (B, heads, S, L, …)
        q = q * dim**-0.5
        to_prefix = (q @ prefix_k.transpose(-1, -2)).reshape(apart)  # (…, P)
        to_own = q.reshape(apart) @ k.reshape(apart).transpose(-1, -2) + self.own_mask.to(q.dtype)  # (…, L)
        if self.prefix_mask is not None:
            to_prefix = to_prefix + self.prefix_mask.to(q.dtype)
        sizes = [to_prefix.shape[-1], self.length]
        weights = torch.cat([to_prefix, to_own], dim=-1).softmax(-1, dtype=torch.float32).to(v.dtype)
        on_prefix, on_own = torch.split(weights, sizes, dim=-1)
        attended: Tensor = on_prefix.flatten(2, 3) @ prefix_v + (on_own @ v.reshape(apart)).flatten(2, 3)
        return attended
