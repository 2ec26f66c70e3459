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
    """Keys and values of one row, a layer each, in memory that grows by blocks.

    Keys are stored transposed, (1, kv_heads, d, capacity), values as (1, kv_heads, capacity, d): then the scores of one
    new token are one product over memory that is read in order.

    Attributes:
        held: the identity of each position that is in the cache, in order; whoever reads positions adds them.
    """

    def __init__(
        self,
        config: LanguageConfig | MptConfig,
        *,
        device: torch.device | Sequence[torch.device],
        dtype: torch.dtype,
    ) -> None:
        """Make it empty, on one device or with a device for each layer."""
        count = config.num_hidden_layers
        self.held: list[Identity] = []
        self.layers = [
            _LayerCache(config.num_key_value_heads, config.head_dim, config.max_position_embeddings, one, dtype)
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

    def mend(self) -> None:
        """After a step that broke off half-way: forget what only some layers hold."""
        self.crop(len(self.held))

    def shared(self, prompt: Sequence[Identity]) -> int:
        """How many positions it shares with the beginning of a prompt.

        At least one position of the prompt is always left to be read, since the last one's logits are needed.
        """
        return min(common_prefix(self.held, prompt), len(prompt) - 1)

    def copy(self, other: KeyValueCache, length: int) -> None:
        """Hold the first `length` positions of another cache, and nothing else."""
        self.crop(0)
        for mine, theirs in zip(self.layers, other.layers, strict=True):
            mine.append(theirs.keys[..., :length].transpose(-1, -2), theirs.values[:, :, :length])
        self.held[:] = other.held[:length]


class _LayerCache:
    def __init__(self, heads: int, dim: int, usual_limit: int, device: torch.device, dtype: torch.dtype) -> None:
        self.usual_limit = usual_limit
        self.keys = torch.empty(1, heads, dim, 0, device=device, dtype=dtype)
        self.values = torch.empty(1, heads, 0, dim, device=device, dtype=dtype)
        self.length = 0

    def append(self, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Add (1, kv_heads, T, d); return all keys (1, kv_heads, d, S) and values (1, kv_heads, S, d)."""
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
        _, heads, dim, _ = self.keys.shape
        keys = self.keys.new_empty(1, heads, dim, capacity)
        values = self.values.new_empty(1, heads, capacity, dim)
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

    def clear(self) -> None:
        """Forget all pictures."""
        self._features.clear()

    def put(self, sha256: str, features: Tensor) -> None:
        """Keep a picture's features."""
        self._features[sha256] = features
        self._features.move_to_end(sha256)
        while sum(map(len, self._features.values())) > self._capacity:
            self._features.popitem(last=False)
