"""Logits -> the next token: repetition penalty, temperature, top-k, top-p, a seeded draw. Greedy at temperature 0."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from llava_engine.contract import Sampling
from llava_engine.errors import ModelError

_COLD = 1e-3  # here all but the likeliest are as good as impossible, and a logit of 1e35 is still in range


def sample(logits: Tensor, sampling: Sampling, seen: Sequence[int], generator: torch.Generator | None) -> int:
    """Choose a token.

    Args:
        logits: (vocab_size,) float32.
        sampling: how.
        seen: ids of the prompt and the answer so far, which the repetition penalty weakens.
        generator: the source of chance (on the CPU), needed when temperature is above 0.

    Returns:
        A token id.

    Raises:
        ModelError: the logits are not numbers.
    """
    logits = penalized(logits, seen, sampling.repetition_penalty)
    likeliest = logits.argmax()  # a NaN counts as the largest
    if not logits[likeliest].isfinite():
        raise ModelError(
            "The model computes no numbers (NaN or infinity): its weights are broken, or too large for its dtype.",
            "Try --dtype float32; if that does not help, copy or download the weights again.",
        )
    if sampling.temperature == 0:
        return int(likeliest)
    # Drawn on the CPU, where a seed means the same on every machine.
    probabilities = filtered(_heated(logits.cpu(), sampling.temperature), sampling.top_k, sampling.top_p).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def _heated(logits: Tensor, temperature: float) -> Tensor:
    """Logits over temperature; below a thousandth, where that could leave float32, the largest is moved to 0 before."""
    if temperature >= _COLD:
        return logits / temperature
    return (logits - logits.max()) / max(temperature, torch.finfo(torch.float32).tiny)


def penalized(logits: Tensor, seen: Sequence[int], penalty: float) -> Tensor:
    """Divide positive and multiply negative logits of tokens already seen (Keskar et al. 2019, section 4.1)."""
    if penalty == 1 or not seen:
        return logits
    ids = torch.tensor(sorted(set(seen)), device=logits.device)
    chosen = logits[ids]
    return logits.index_copy(0, ids, torch.where(chosen > 0, chosen / penalty, chosen * penalty))


def filtered(logits: Tensor, top_k: int, top_p: float) -> Tensor:
    """Set all logits to -inf but top_k at most, and the fewest that reach top_p (Holtzman et al. 2020)."""
    if top_k and top_k < len(logits):
        logits = logits.masked_fill(logits < logits.topk(top_k).values[-1], -torch.inf)
    if top_p < 1:
        ordered, order = logits.sort(descending=True)
        before = ordered.softmax(-1).cumsum(-1) - ordered.softmax(-1)
        logits = logits.index_fill(0, order[before >= top_p], -torch.inf)
    return logits


def generator_for(sampling: Sampling) -> torch.Generator | None:
    """The source of chance for one answer: from the seed, or a fresh one; None for greedy."""
    if sampling.temperature == 0:
        return None
    generator = torch.Generator()
    if sampling.seed is None:
        generator.seed()
    else:
        generator.manual_seed(sampling.seed)
    return generator
