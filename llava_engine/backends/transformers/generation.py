"""Tokens of a model of transformers, one by one: what it has read is kept, what is new is read, the next is drawn.

`generate` does the reading, for only it knows what each family needs; which token is next is chosen as everywhere here
(decoding/sampling.py), so that a seed and a penalty mean the same, and nothing that a folder's generation_config.json
asks for is done behind anybody's back.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from torch import Tensor

from llava_engine.backends.transformers.prompt import ForeignPrompt, Identity, Prompter
from llava_engine.contract import Sampling
from llava_engine.decoding.sampling import generator_for, sample

_MOST_TRIES = 3  # at the inputs of some pictures without those before them


class Generator:
    """A model and the keys and values of the last conversation. One thread uses it.

    Attributes:
        ends: ids that end an answer.
    """

    def __init__(self, model: Any, prompter: Prompter, device: torch.device) -> None:
        self._model = model
        self._prompter = prompter
        self._device = device
        self._cache: Any = None
        self._held: list[Identity] = []
        said = model.generation_config.eos_token_id
        self.ends = frozenset(said if isinstance(said, list) else [] if said is None else [said])
        pad = model.generation_config.pad_token_id
        self._pad = pad if pad is not None else next(iter(self.ends), 0)
        model.generation_config = transformers.GenerationConfig()

    def forget(self) -> None:
        """Let go of what was read."""
        self._cache, self._held = None, []

    def reuse(self, prompt: ForeignPrompt) -> tuple[int, dict[str, Any]]:
        """Keep what the prompt has in common with what was read; its length, and the inputs of pictures after it.

        Never cut inside of a picture. A cache that can not be cut where it must be (sliding windows, states) is begun
        anew, and so is one of a prompt whose pictures can not be taken apart.
        """
        length = self._common(prompt) if prompt.cuttable else 0
        first = sum(start < length for start, _ in prompt.ranges)
        seen = self._seen_from(prompt, first)
        if seen is None:  # with some of those before them they may be as they are in the whole
            earlier = range(first - 1, max(0, first - _MOST_TRIES), -1)
            found = ((at, self._seen_from(prompt, at)) for at in earlier)
            first, seen = next(((at, one) for at, one in found if one is not None), (0, prompt.seen))
            length = min(length, prompt.ranges[first][0])
        length = self._cut(length)
        return length, dict(seen if length else prompt.seen)

    @torch.inference_mode()
    def run(
        self,
        prompt: ForeignPrompt,
        seen: dict[str, Any],
        sampling: Sampling,
        room: int,
        push: Callable[[int], bool],
    ) -> None:
        """Read what `reuse` left of a prompt and answer it.

        Args:
            prompt: whose beginning is in the cache.
            seen: inputs of the pictures that are not.
            sampling: how tokens are chosen.
            room: how many there may be.
            push: takes each token; True ends the answer.
        """
        ids = torch.tensor([prompt.ids], device=self._device)
        inputs = {name: self._here(one) for name, one in prompt.by_token.items()}
        inputs |= {name: self._here(one) for name, one in seen.items()}
        if self._cache is None and self._model._supports_default_dynamic_cache():
            self._cache = transformers.DynamicCache(config=self._model.config.get_text_config(decoder=True))
        kept = self._cache
        if self._held and "position_ids" in inspect.signature(self._model.forward).parameters:
            # Of the whole prompt: a family that counts rows and columns can not see those of pictures it has read.
            whole = {name: self._here(one) for name, one in prompt.seen.items()}
            inputs["position_ids"] = self._model._prepare_position_ids_for_generation(
                ids, {**inputs, **whole, "past_key_values": None}
            )
        chooser = _Chooser(sampling, prompt)
        limits = transformers.GenerationConfig(
            max_new_tokens=room, do_sample=False, use_cache=True, pad_token_id=self._pad
        )
        self.forget()  # what breaks off leaves nothing
        self._model.generate(
            input_ids=ids,
            **inputs,
            past_key_values=kept,
            generation_config=limits,
            logits_processor=transformers.LogitsProcessorList([chooser]),
            stopping_criteria=transformers.StoppingCriteriaList([_Until(push)]),
        )
        read = [*prompt.identities(), *chooser.chosen]
        if kept is not None and _same_length(kept, at_most=len(read)):
            self._cache, self._held = kept, read[: kept.get_seq_length()]

    def _common(self, prompt: ForeignPrompt) -> int:
        """How many positions at the beginning are the same, leaving one to be read."""
        length = 0
        for held, asked in zip(self._held, prompt.identities()[:-1], strict=False):
            if held != asked:
                break
            length += 1
        for start, end in prompt.ranges:
            if start < length < end:
                length = start
        return length

    def _seen_from(self, prompt: ForeignPrompt, first: int) -> Any:
        """The inputs of the pictures from `first` on; None where they are others than in the whole."""
        if first == 0:
            return prompt.seen
        if first == len(prompt.pictures):
            return {}
        return self._prompter.seen_alone(prompt.pictures[first:], prompt.written[first:])

    def _cut(self, length: int) -> int:
        """Keep so many positions; all are gone where that can not be done."""
        excess = len(self._held) - length
        if length == 0 or self._cache is None:
            self.forget()
            return 0
        try:
            if excess:
                self._cache.crop(-excess)
        except (RuntimeError, ValueError):
            self.forget()
            return 0
        del self._held[length:]
        if not _same_length(self._cache, at_most=length) or self._cache.get_seq_length() != length:
            self.forget()
        return len(self._held)

    def _here(self, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return value.to(self._device, self._model.dtype if value.is_floating_point() else value.dtype)


class _Chooser(transformers.LogitsProcessor):
    """Chooses the next token and leaves only that possible."""

    def __init__(self, sampling: Sampling, prompt: ForeignPrompt) -> None:
        self._sampling = sampling
        self._chance = generator_for(sampling)
        inside = {place for start, end in prompt.ranges for place in range(start, end)}
        self._seen = [token for place, token in enumerate(prompt.ids) if place not in inside]
        self.chosen: list[int] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        seen = [*self._seen, *self.chosen] if self._sampling.repetition_penalty != 1 else []
        token = sample(scores[0], self._sampling, seen, self._chance)
        self.chosen.append(token)
        only = torch.full_like(scores, -torch.inf)
        only[0, token] = 0
        return only


class _Until(transformers.StoppingCriteria):
    """Hands each token on, and ends when told to."""

    def __init__(self, push: Callable[[int], bool]) -> None:
        self._push = push

    def __call__(self, input_ids: Tensor, scores: Tensor, **kwargs: Any) -> Tensor:
        over = self._push(int(input_ids[0, -1]))
        return torch.tensor([over], device=input_ids.device)


def _same_length(cache: Any, *, at_most: int) -> bool:
    """Whether every layer holds the same positions, so that cutting them cuts the prompt: no pictures by themselves."""
    layers: Sequence[Any] = getattr(cache, "layers", ())
    lengths = {layer.get_seq_length() for layer in layers if getattr(layer, "is_initialized", False)}
    return len(lengths) == 1 and 0 < lengths.pop() <= at_most
