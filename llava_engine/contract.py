"""What a screen, a script, a server or an evaluation may ask of an engine, and what it gets back: plain data, no torch.

`Engine` (engine.py) is ours; others are far away or of other libraries; tests/fakes has a scripted one. An answer
is a plain iterator: `Progress` until it begins (the first one carries what the prompt costs, where that is known), then
`str` pieces, and as its last item one `Reply`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import UsageError
from llava_engine.plan import Plan

LEAST_PENALTY = 0.001
"""Of repetition: a factor beyond it (or beyond its inverse) carries logits out of what float32 tells apart."""

FinishReason = Literal["stop", "length", "cancelled"]

Stage = Literal["waiting", "seeing", "reading"]
"""In a queue · the tower looks at pictures · the prompt is read."""

Ability = Literal["pictures", "system", "begun", "count", "ids", "seed", "stops", "top_k", "repetition_penalty"]
"""What an engine may lack: seeing · a system text · going on with a begun answer · `count` · `Reply.prompt` and
`Reply.token_ids` · fields of `Sampling`."""


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: 0 is greedy; above, logits are divided by it.
        top_p: keep the smallest set of tokens whose probability reaches this.
        top_k: keep this many of the likeliest tokens; 0 keeps all.
        repetition_penalty: 1 is none (Keskar et al. 2019, section 4.1).
        seed: the same seed gives the same text; None draws one.
        max_new_tokens: the answer ends here at the latest; None for the room that the context leaves.
        stops: texts that end an answer, besides the template's own; none of them is part of it.

    Raises:
        UsageError: a value that is none of these, or no number.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    repetition_penalty: float = 1.0
    seed: int | None = None
    max_new_tokens: int | None = 256
    stops: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:  # so that what is no number is refused, too
            raise UsageError(f"temperature must be 0 or more, not {self.temperature}.")
        if not 0 < self.top_p <= 1:
            raise UsageError(f"top_p must be above 0 and at most 1, not {self.top_p}.")
        if self.top_k < 0:
            raise UsageError(f"top_k must be 0 or more, not {self.top_k}.")
        if not LEAST_PENALTY <= self.repetition_penalty <= 1 / LEAST_PENALTY:
            raise UsageError(
                f"repetition_penalty must be {LEAST_PENALTY} to {1 / LEAST_PENALTY:.0f}, not {self.repetition_penalty}."
            )
        if self.seed is not None and not -(2**63) <= self.seed < 2**64:  # what torch's generators take
            raise UsageError(f"seed must be a number of 64 bits, not {self.seed:.6g}.")
        if self.max_new_tokens is not None and self.max_new_tokens < 1:
            raise UsageError(f"max_new_tokens must be 1 or more, not {self.max_new_tokens}.")
        if not all(self.stops):
            raise UsageError("A stop text must have letters: an empty one would end every answer.")


GREEDY = Sampling()


@dataclass(frozen=True)
class ModelCard:
    """What is true of a model that answers. What an engine can not know, as one that is far away, is None or "".

    Attributes:
        name: what to call it on a screen.
        folder: where it was read from; None where that is not here.
        template: the name of its conversation template.
        device: "cpu", "cuda:0", …
        dtype: "float32", "bfloat16", …
        kernel: which linear kernel its layers got ("packed-bf16", "int8", "int4", "plain", …).
        context_length: how many tokens it can hold.
        picture_tokens: what one picture costs; with `tiles` the least.
        parameters: how many numbers it has.
        memory_bytes: what its weights take in memory.
        embedded: whether it is the tiny model that comes with the package.
        plan: what is on which device; None where nobody planned.
        about: what its folder turned out to be, one sentence a line: generation, layout, template and why, oddities.
        notes: of that only what is odd but works, for whoever asks without looking at the model first.
        tiles: whether it sees large pictures in tiles, so that what one costs depends on its size.
        where: "host:port" of an engine that is elsewhere; "" here.
        slots: how many answers it gives at once; more wait.
        cannot: what it lacks.
    """

    name: str
    folder: Path | None
    template: str
    device: str
    dtype: str
    kernel: str
    context_length: int | None
    picture_tokens: int | None
    parameters: int | None
    memory_bytes: int | None
    embedded: bool = False
    plan: Plan | None = None
    about: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    tiles: bool = False
    where: str = ""
    slots: int = 1
    cannot: frozenset[Ability] = frozenset()


@dataclass(frozen=True)
class Reply:
    """An answer, and what it took.

    Attributes:
        text: the whole answer, stripped of the stop string; of a begun one what is new.
        token_ids: the ids that were generated, without the stop; () where the card says that it can not be known.
        finish_reason: "stop" (the model ended it), "length" (max_new_tokens or the context), "cancelled".
        prompt: the prompt as text, each picture written as <image>; "" where it can not be known.
        prompt_tokens: tokens of the prompt, pictures included; 0 where it can not be known.
        cached_tokens: how many of them were still in the key/value cache.
        completion_tokens: tokens generated.
        picture_tokens: what each picture of the prompt cost, in order; () where it can not be known.
        time_to_first_token_s: from the call to the first token, in seconds.
        tokens_per_second: of the tokens after the first; 0 when there was only one.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt: str
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    picture_tokens: tuple[int, ...]
    time_to_first_token_s: float
    tokens_per_second: float


@dataclass(frozen=True)
class LoadProgress:
    """How far loading is: `done` of `total` bytes, and what is going on ("importing torch", "reading weights", …)."""

    stage: str
    done: int
    total: int


@dataclass(frozen=True)
class TokenCount:
    """What a conversation costs: tokens in all, and for each picture in order."""

    total: int
    pictures: tuple[int, ...]


@dataclass(frozen=True)
class Progress:
    """How far an answer is before its first word.

    Attributes:
        stage: what is going on.
        done: of `total`: places in the queue, pictures, or tokens of the prompt.
        count: what the prompt costs; with the first one of an answer, where the engine knows it.
    """

    stage: Stage
    done: int
    total: int
    count: TokenCount | None = None


@dataclass(frozen=True)
class Activity:
    """What an engine of this process does now, and what it did since it was loaded; see `Engine.activity`.

    Attributes:
        running: answers that are being given, or read for.
        waiting: questions that wait for a slot.
        answers: those that have ended, in whatever way.
        prompt_tokens: of all prompts.
        cached_tokens: how many of them did not have to be read.
        generated_tokens: of all answers.
        steps: how often the model decoded; a step gives a token to each answer.
    """

    running: int
    waiting: int
    answers: int
    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    steps: int


def never() -> bool:
    """The `cancelled` of a caller who never cancels."""
    return False


class EngineLike(Protocol):
    """An engine, as everything above it sees it.

    Any thread may ask. `card.slots` answers are given at once, and more wait; one that its reader stops reading, or
    drops, holds up no other.
    """

    @property
    def card(self) -> ModelCard: ...

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """Answer the last user turn: `Progress`, text pieces as they come, then one `Reply`.

        Args:
            conversation: it ends with the user.
            sampling: how tokens are chosen.
            begun: how the answer begins: it is read, not said, and the answer goes on after it.
            cancelled: asked between tokens; what was said until then is kept in the reply.

        Raises:
            ContextOverflowError: the conversation is too long; before anything is generated.
            ConversationError: it can not be written, or asks for what `card.cannot` names.
            OutOfMemoryError: memory ran out; the engine goes on living.
            BusyError: too many wait already.
            EngineAwayError: an engine that is elsewhere can not be reached, refuses, or broke off.
        """
        ...

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount | None:
        """How many tokens a conversation costs as a prompt, with how its answer begins; None where nobody knows."""
        ...

    def close(self) -> None:
        """Free what it holds; answers that are running end. It may be called twice, and nothing is asked after it."""
        ...
