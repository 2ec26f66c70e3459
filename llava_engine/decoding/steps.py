"""The two steps of decoding: a piece of a prompt is read (`prefill`), and one token of each of several rows (`decode`).

Both put keys and values into the rows' caches and give logits. Rows share the linear layers only: each attends to its
own cache, so that they may join, leave and be of any length. Knows no sampling, no text.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from llava_engine.decoding.cache import KeyValueCache
from llava_engine.model.budget import PREFILL_CHUNK
from llava_engine.model.language import LayerCache
from llava_engine.model.llava import LlavaModel


class CancelledError(Exception):
    """Nobody wants the answer any more, found out while its prompt was being read."""


@torch.inference_mode()
def prefill(model: LlavaModel, embeddings: Tensor, cache: KeyValueCache) -> Tensor:
    """Read all that a cache does not hold of a prompt yet, in chunks that keep the scores small.

    Args:
        model: the model.
        embeddings: (1, T, hidden_size) of the new positions, which follow those in the cache.
        cache: gets their keys and values; `held` is left to the caller.

    Returns:
        (vocab_size,) logits after the last position.
    """
    hidden = embeddings
    for chunk in embeddings.split(PREFILL_CHUNK, dim=1):  # type: ignore[no-untyped-call]
        hidden = prefill_chunk(model, chunk, cache)
    return model.language_model.logits(hidden[0, -1])


@torch.inference_mode()
def prefill_chunk(
    model: LlavaModel, embeddings: Tensor, cache: KeyValueCache, cancelled: Callable[[], bool] | None = None
) -> Tensor:
    """Read one piece of a prompt: (1, T, hidden_size) embeddings -> hidden states of the same shape.

    Raises:
        CancelledError: `cancelled`, which is asked before each layer, said so; see `KeyValueCache.mend`.
    """
    start = cache.length
    positions = torch.arange(start, start + embeddings.shape[1], device=embeddings.device)
    layers = cache.layers if cancelled is None else _Watched(cache.layers, cancelled)
    return model.language_model(embeddings, positions, cache=layers)  # type: ignore[no-any-return]


@torch.inference_mode()
def decode(model: LlavaModel, tokens: Sequence[int], caches: Sequence[KeyValueCache]) -> Tensor:
    """Read one more token of each row.

    Args:
        model: the model.
        tokens: one a row.
        caches: the rows', one each; `held` is left to the caller.

    Returns:
        (rows, vocab_size) logits after them.
    """
    device = model.language_model.embed_tokens.weight.device  # the others move what they get
    positions = torch.tensor([[cache.length] for cache in caches], device=device)
    x = model.language_model.embed(torch.tensor([[token] for token in tokens], device=device))
    # One row needs no taking apart and putting together.
    layers: Any = caches[0].layers if len(caches) == 1 else list(zip(*(one.layers for one in caches), strict=True))
    hidden = model.language_model(x, positions, cache=layers)
    return model.language_model.logits(hidden[:, -1])


class _Watched(Sequence[LayerCache]):
    """The caches of a row, one a layer. Who asks for one learns first whether anybody still wants the row.

    A chunk of a large model takes many seconds on a CPU; one layer of it does not.
    """

    def __init__(self, layers: Sequence[LayerCache], cancelled: Callable[[], bool]) -> None:
        self._layers, self._cancelled = layers, cancelled

    def __len__(self) -> int:
        return len(self._layers)

    def __getitem__(self, index: Any) -> Any:
        if self._cancelled():
            raise CancelledError
        return self._layers[index]
