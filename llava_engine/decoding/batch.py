"""Many prompts at once: padded on the left, read together, decoded in step. Gives the tokens that single runs give."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from llava_engine.contract import Sampling
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.sampling import generator_for, sample
from llava_engine.model.llava import LlavaModel
from llava_engine.model.placement import layer_devices


@torch.inference_mode()
def generate_batch(
    model: LlavaModel,
    prompts: Sequence[tuple[Sequence[int], Tensor]],
    sampling: Sampling,
    cache_dtype: torch.dtype,
    wants_more: Callable[[int], bool],
) -> Iterator[list[int | None]]:
    """Answer several prompts.

    Args:
        model: the model.
        prompts: ids and (T, hidden_size) embeddings of each.
        sampling: the same for all; each row draws from its own seed.
        cache_dtype: of keys and values.
        wants_more: asked with a row's number whether its answer goes on.

    Yields:
        For each step one token a row, None for rows that have ended; ends when all have.
    """
    device = prompts[0][1].device
    batch, longest = len(prompts), max(len(ids) for ids, _ in prompts)
    embeddings = prompts[0][1].new_zeros(batch, longest, prompts[0][1].shape[-1])
    valid = torch.zeros(batch, longest, dtype=torch.bool, device=device)
    for row, (ids, embedded) in enumerate(prompts):
        embeddings[row, longest - len(ids) :] = embedded
        valid[row, longest - len(ids) :] = True
    positions = (valid.long().cumsum(1) - 1).clamp_min(0)  # (B, T)
    mask = valid[:, None, None, :] & torch.ones(longest, longest, dtype=torch.bool, device=device).tril()
    # Padding looks at itself: a row that may look at nothing would be all NaN, and NaN spreads through zero weights.
    mask = mask | torch.eye(longest, dtype=torch.bool, device=device)

    devices = layer_devices(model.language_model.layers)
    cache = KeyValueCache(model.config.language, batch=batch, device=devices, dtype=cache_dtype)
    hidden = model.language_model(embeddings, positions, mask=mask, cache=cache.layers)
    logits = model.language_model.logits(hidden[:, -1])  # (B, vocab)
    chances = [generator_for(sampling) for _ in prompts]
    seen = [[token for token in ids if token != model.config.image_token_id] for ids, _ in prompts]
    last = positions[:, -1]
    while True:
        tokens = [
            sample(logits[row], sampling, seen[row], chances[row]) if wants_more(row) else None for row in range(batch)
        ]
        if all(token is None for token in tokens):
            return
        yield tokens
        fed = [0 if token is None else token for token in tokens]
        for row, token in enumerate(fed):
            seen[row].append(token)
        last = last + 1
        valid = torch.cat([valid, valid.new_ones(batch, 1)], dim=1)
        x = model.language_model.embed(torch.tensor(fed, device=device)[:, None])
        hidden = model.language_model(x, last[:, None], mask=valid[:, None, None, :], cache=cache.layers)
        logits = model.language_model.logits(hidden[:, -1])
