"""What is kept between calls: keys and values of the tokens already read, and features of the pictures already seen.

A prompt is known by its ids *and* the identity of each picture, so that two pictures never pass for one another. Knows
tensors and identities only: no text, no model code.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor

from llava_engine.model.budget import KEPT_PICTURE_TOKENS
from llava_engine.model.config import LanguageConfig, MptConfig

# One position of a prompt: a token's id, or for an image token the picture it belongs to and its place in it.
Identity = int | tuple[str, int]

_BLOCK = 256  # positions by which a cache grows at least: copying it is seldom, and little of it lies idle


class KeyValueCache:
    """Keys and values of a batch of prompts, a layer each, in memory that grows by blocks.

    Keys are stored transposed, (B, kv_heads, d, capacity), values as (B, kv_heads, capacity, d): then the scores of one
    new token are one product over memory that is read in order.

    Attributes:
        held: the identity of each position that is in the cache (for a batch of one), in order.
    """

    def __init__(
        self,
        config: LanguageConfig | MptConfig,
        *,
        batch: int = 1,
        device: torch.device | Sequence[torch.device],
        dtype: torch.dtype,
    ) -> None:
        """Make it empty, on one device or with a device for each layer."""
        count = config.num_hidden_layers
        self.held: list[Identity] = []
        self.layers = [
            _LayerCache(batch, config.num_key_value_heads, config.head_dim, config.max_position_embeddings, one, dtype)
            for one in ([device] * count if isinstance(device, torch.device) else device)
        ]

    @property
    def length(self) -> int:
        """Positions held by every layer: the last one is written last, also when a run breaks off half-way."""
        return self.layers[-1].length

    def crop(self, length: int) -> None:
        """Forget everything from position `length` on."""
        for layer in self.layers:
            layer.length = min(layer.length, length)
        del self.held[length:]

    def reuse(self, prompt: Sequence[Identity]) -> int:
        """Keep what the cache shares with a new prompt, forget the rest, and say how many positions that is.

        At least one position of the prompt is always left to be read, since the last one's logits are needed.
        """
        shared = common_prefix(self.held, prompt)
        shared = min(shared, len(prompt) - 1)
        self.crop(shared)
        return shared


class _LayerCache:
    def __init__(
        self, batch: int, heads: int, dim: int, usual_limit: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        self.usual_limit = usual_limit
        self.keys = torch.empty(batch, heads, dim, 0, device=device, dtype=dtype)
        self.values = torch.empty(batch, heads, 0, dim, device=device, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add (B, kv_heads, T, d); return all keys (B, kv_heads, d, S) and values (B, kv_heads, S, d)."""
        end = self.length + k.shape[2]
        if end > self.keys.shape[3]:
            self._grow(end)
        self.keys[:, :, :, self.length : end] = k.transpose(-1, -2)
        self.values[:, :, self.length : end] = v
        self.length = end
        return self.keys[:, :, :, :end], self.values[:, :, :end]

    def _grow(self, needed: int) -> None:
        # By half again and whole blocks: few copies on the way to a long context, little left unused in a short one.
        capacity = -(-max(needed, min(self.keys.shape[3] * 3 // 2, self.usual_limit)) // _BLOCK) * _BLOCK
        batch, heads, dim, _ = self.keys.shape
        keys = self.keys.new_empty(batch, heads, dim, capacity)
        values = self.values.new_empty(batch, heads, capacity, dim)
        keys[:, :, :, : self.length] = self.keys[:, :, :, : self.length]
        values[:, :, : self.length] = self.values[:, :, : self.length]
        self.keys, self.values = keys, values


def common_prefix(first: Sequence[Identity], second: Sequence[Identity]) -> int:
    """How many positions two prompts share from the start."""
    for index, (a, b) in enumerate(zip(first, second, strict=False)):
        if a != b:
            return index
    return min(len(first), len(second))


class FeatureCache:
    """Projected features of pictures by their content hash, the least recently used forgotten first.

    It is full by tokens, for a picture in tiles has several times those of another.
    """

    def __init__(self, capacity: int = KEPT_PICTURE_TOKENS) -> None:
        self._features: OrderedDict[str, Tensor] = OrderedDict()
        self._capacity = capacity

    def get(self, sha256: str) -> Tensor | None:
        """(picture_tokens, hidden_size) of a picture seen before, or None."""
        features = self._features.get(sha256)
        if features is not None:
            self._features.move_to_end(sha256)
        return features

    def make_room(self, tokens: int) -> None:
        """Hold at least so many from now on, so that all pictures of one prompt stay while it is read."""
        self._capacity = max(self._capacity, tokens)

    def put(self, sha256: str, features: Tensor) -> None:
        """Keep a picture's features."""
        self._features[sha256] = features
        self._features.move_to_end(sha256)
        while sum(map(len, self._features.values())) > self._capacity:
            self._features.popitem(last=False)
