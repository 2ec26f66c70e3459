"""One prompt -> tokens, one by one: prefill, decode step, sample, until a stop, a limit or a cancel.

`generate` knows ids only; `AnswerText` turns the ids into text that is safe to show (whole characters, no half of a
stop string). Neither knows conversations, templates or files.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from llava_engine.contract import FinishReason, Sampling
from llava_engine.conversation.stopping import StopMatcher
from llava_engine.conversation.tokenizer import Detokenizer, Tokenizer
from llava_engine.decoding.cache import Identity, KeyValueCache
from llava_engine.decoding.sampling import generator_for, sample
from llava_engine.model.budget import PREFILL_CHUNK
from llava_engine.model.llava import LlavaModel


class CancelledError(Exception):
    """The caller cancelled while the prompt was still being read."""


@torch.inference_mode()
def prefill(
    model: LlavaModel, embeddings: Tensor, cache: KeyValueCache, cancelled: Callable[[], bool] = lambda: False
) -> Tensor:
    """Read the part of a prompt that the cache does not hold yet.

    Args:
        model: the model.
        embeddings: (1, T, hidden_size) of the new positions, which follow those in the cache.
        cache: gets their keys and values.
        cancelled: asked between chunks.

    Returns:
        (vocab_size,) logits after the last position.

    Raises:
        CancelledError: between two chunks; the cache holds what was read.
    """
    hidden = embeddings
    for chunk in embeddings.split(PREFILL_CHUNK, dim=1):  # type: ignore[no-untyped-call]
        if cancelled():
            raise CancelledError
        start = cache.length
        positions = torch.arange(start, start + chunk.shape[1], device=chunk.device)
        hidden = model.language_model(chunk, positions, cache=cache.layers)
    return model.language_model.logits(hidden[0, -1])


@torch.inference_mode()
def decode_step(model: LlavaModel, token: int, cache: KeyValueCache) -> Tensor:
    """Read one more token; (vocab_size,) logits after it."""
    device = model.language_model.embed_tokens.weight.device  # the others move what they get
    position = torch.tensor([cache.length], device=device)
    x = model.language_model.embed(torch.tensor([[token]], device=device))
    hidden = model.language_model(x, position, cache=cache.layers)
    return model.language_model.logits(hidden[0, -1])


def generate(
    model: LlavaModel,
    prompt: Sequence[Identity],
    embeddings: Tensor,
    cache: KeyValueCache,
    sampling: Sampling,
    *,
    cancelled: Callable[[], bool] = lambda: False,
) -> Iterator[int]:
    """Answer a prompt, token by token, without an end of its own: the caller stops asking.

    Args:
        model: the model.
        prompt: the identity of every position of the prompt.
        embeddings: (1, T, hidden_size) of its last T positions: those that `cache.reuse(prompt)` left to be read.
        cache: holds the positions before them, and afterwards everything that was read.
        sampling: how tokens are chosen.
        cancelled: asked between chunks of the prompt.

    Raises:
        CancelledError: while the prompt was being read.
    """
    chance = generator_for(sampling)
    penalizes = sampling.repetition_penalty != 1
    seen = [identity for identity in prompt if isinstance(identity, int)] if penalizes else []
    start = cache.length
    try:
        logits = prefill(model, embeddings, cache, cancelled)
    finally:
        cache.held.extend(prompt[start : cache.length])
    while True:
        token = sample(logits, sampling, seen, chance)
        if penalizes:
            seen.append(token)
        yield token
        logits = decode_step(model, token, cache)
        cache.held.append(token)


class AnswerText:
    """Generated ids -> text to show, and the reason why it ended.

    Attributes:
        ids: what was generated, without the stop.
        finish: set as soon as the answer is over.
    """

    def __init__(self, tokenizer: Tokenizer, stops: Sequence[str], lead: str | None, max_new_tokens: int) -> None:
        """Begin a text; `lead` as for `Detokenizer`: None where the answer was begun before."""
        self.ids: list[int] = []
        self.finish: FinishReason | None = None
        self._max_new_tokens = max_new_tokens
        self._stop_ids = tokenizer.stop_ids(stops)
        self._stop_texts = {tokenizer.special_ids[stop]: stop for stop in stops if stop in tokenizer.special_ids}
        self._detokenizer = Detokenizer(tokenizer, lead=lead)
        self._matcher = StopMatcher(stops)
        self._shown: list[str] = []

    @property
    def text(self) -> str:
        """All that was shown."""
        return "".join(self._shown)

    def push(self, token: int) -> str:
        """Take a token; the text that may be shown now."""
        if token in self._stop_ids:
            self.finish = "stop"
            # Its text too, for a stop that begins before it: Llama 2's " </s>".
            last = self._detokenizer.flush() + self._stop_texts.get(token, "")
            return self._show(self._matcher.push(last) + self._matcher.flush())
        self.ids.append(token)
        piece = self._matcher.push(self._detokenizer.push(token))
        if self._matcher.matched is not None:
            self.finish = "stop"
        elif len(self.ids) >= self._max_new_tokens:
            return self._show(piece) + self.end("length")
        return self._show(piece)

    def end(self, reason: FinishReason) -> str:
        """End from outside (cancelled, or no more room); what was held back until now."""
        self.finish = reason
        return self._show(self._matcher.push(self._detokenizer.flush()) + self._matcher.flush())

    def _show(self, piece: str) -> str:
        if piece:
            self._shown.append(piece)
        return piece
