"""Logits -> the next token: repetition penalty, temperature, top-k, top-p, a seeded draw. Greedy at temperature 0."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from llava_engine.contract import Sampling
from llava_engine.errors import ModelError

_COLD = 1e-3  # here all but the likeliest are as good as impossible, and a logit of 1e35 is still in range


class Sampler:
    """How the tokens of one answer are chosen: its settings, its own source of chance, and what it has seen.

    Attributes:
        sampling: the settings.
    """

    def __init__(self, sampling: Sampling, prompt: Iterable[int | object]) -> None:
        """Begin an answer.

        Args:
            sampling: how.
            prompt: its positions; those that are ids of tokens are what a penalty weakens.
        """
        self.sampling = sampling
        self._generator = generator_for(sampling)
        self._penalizes = sampling.repetition_penalty != 1
        self._seen = [one for one in prompt if isinstance(one, int)] if self._penalizes else []

    @property
    def is_plain(self) -> bool:
        """Whether the likeliest token is always the one."""
        return self.sampling.temperature == 0 and not self._penalizes

    def choose(self, logits: Tensor) -> int:
        """A token for (vocab_size,) logits; raises as `sample` does."""
        token = sample(logits, self.sampling, self._seen, self._generator)
        if self._penalizes:
            self._seen.append(token)
        return token


def choose(logits: Tensor, samplers: Sequence[Sampler]) -> list[int | ModelError]:
    """A token for each row of (rows, vocab_size) logits; for a row whose logits are no numbers, the error in place."""
    tokens: list[int | ModelError] = []
    likeliest = logits.max(-1)  # for all rows at once: each number that is fetched makes a GPU wait
    ids, tops = likeliest.indices.tolist(), likeliest.values.tolist()
    for row, sampler in enumerate(samplers):
        if sampler.is_plain:
            tokens.append(ids[row] if math.isfinite(tops[row]) else no_numbers())
            continue
        try:
            tokens.append(sampler.choose(logits[row]))
        except ModelError as error:
            tokens.append(error)
    return tokens


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
        raise no_numbers()
    if sampling.temperature == 0:
        return int(likeliest)
    # Drawn on the CPU, where a seed means the same on every machine.
    probabilities = filtered(_heated(logits.cpu(), sampling.temperature), sampling.top_k, sampling.top_p).softmax(-1)
    return int(torch.multinomial(probabilities, 1, generator=generator))


def no_numbers() -> ModelError:
    """Logits are NaN or infinite."""
    return ModelError(
        "The model computes no numbers (NaN or infinity): its weights are broken, or too large for its dtype.",
        "Try --dtype float32; if that does not help, copy or download the weights again.",
    )


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
        # The likeliest always stays: in float32 a top_p of almost nothing is 0.
        logits = logits.index_fill(0, order[1:][before[1:] >= top_p], -torch.inf)
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
