"""The one switch: an engine that answers as the original's command line does, defects and all.

Under the contract that every engine has, so that whoever asks need not know which one it is. Slow and plain on purpose:
always the CPU, float32, greedy, and nothing kept between questions.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from torch import Tensor

from llava_engine.contract import GREEDY, FinishReason, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.engine import Engine
from llava_engine.errors import ConversationError
from llava_engine.parity.generation import new_tokens, script_text
from llava_engine.parity.original import Original
from llava_engine.parity.prompts import PICTURE_TAG, Turn, prompt

_REMEDY = "Ask without parity."


class ParityEngine:
    """A checkpoint of the original's, and the original's way to ask it.

    Attributes:
        card: what is true of it.
    """

    def __init__(self, original: Original) -> None:
        """Take an opened checkpoint; `ParityEngine.load` is the usual way."""
        self.card: ModelCard = Engine(original.loaded, original.checkpoint).card
        self._original = original

    @classmethod
    def load(cls, folder: Path, *, base: Path | None = None, towers: Mapping[str, Path] | None = None) -> ParityEngine:
        """Load a checkpoint; see `open_checkpoint`.

        Raises:
            ModelError: it can not be opened, or the original never had such a checkpoint.
        """
        return cls(Original.load(folder, base=base, towers=towers))

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """Answer the last user turn: all text at once, since the original's script cleans it up at the end.

        Raises:
            ConversationError: the original fails on it, or has no such setting.
        """
        if sampling.temperature > 0:
            raise ConversationError("Parity always says the likeliest word.", "Leave the temperature at 0.")
        if begun or sampling.stops:
            raise ConversationError("The original has no begun answers and no stops but its template's.", _REMEDY)
        start = time.perf_counter()
        original = self._original
        text, embeddings = self._read(conversation)
        pictures = self._picture_tokens(conversation)
        yield Progress("reading", 0, embeddings.shape[1], TokenCount(embeddings.shape[1], pictures))
        most = sampling.max_new_tokens or self._room(embeddings)
        stop = original.template.stop or ""
        new: list[int] = []
        finish: FinishReason = "stop"
        first_token = start
        for token in new_tokens(original, embeddings, stop, most):
            first_token = first_token if new else time.perf_counter()
            new.append(token)
            if cancelled():
                finish = "cancelled"
                break
        seconds = time.perf_counter() - first_token
        if finish == "stop" and len(new) == most and new[-1] != original.eos_id:
            finish = "length"
        answer = script_text(original, new, stop)
        if answer:
            yield answer
        yield Reply(
            text=answer,
            token_ids=tuple(new),
            finish_reason=finish,
            prompt=text,
            prompt_tokens=embeddings.shape[1],
            cached_tokens=0,
            completion_tokens=len(new),
            picture_tokens=pictures,
            time_to_first_token_s=first_token - start,
            tokens_per_second=(len(new) - 1) / seconds if len(new) > 1 and seconds > 0 else 0.0,
        )

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount:
        """How many tokens the conversation costs as a prompt; raises `ConversationError` for a begun answer."""
        if begun:
            raise ConversationError("The original has no begun answers.", _REMEDY)
        return TokenCount(self._read(conversation)[1].shape[1], self._picture_tokens(conversation))

    def close(self) -> None:
        """Nothing runs when nobody asks."""

    def _room(self, embeddings: Tensor) -> int:
        return max(1, (self.card.context_length or 0) - embeddings.shape[1])

    def _read(self, conversation: Conversation) -> tuple[str, Tensor]:
        """The prompt, and its embeddings (1, T, hidden_size)."""
        try:
            text = self._prompt(conversation)
            return text, self._original.embeddings(self._original.ids(text), conversation.pictures)
        except (AssertionError, IndexError, KeyError, TypeError, ValueError) as error:
            raise ConversationError(f"The original fails here: {error or type(error).__name__}.", _REMEDY) from error

    def _picture_tokens(self, conversation: Conversation) -> tuple[int, ...]:
        return tuple(len(features) for features in self._original.features(conversation.pictures))

    def _prompt(self, conversation: Conversation) -> str:
        if conversation.system is not None:
            raise ConversationError("The original has no system text but its template's.", _REMEDY)
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConversationError("There is nothing to answer.", "The last message must be the user's.")
        june = self._original.commit == "b4be90b"
        turns: list[Turn] = [(message.role != "user", _tagged(message, june)) for message in conversation.messages]
        return prompt(self._original.template, [*turns, (1, None)], self._original.commit)


def _tagged(message: Message, june: bool) -> str:
    """A message with <image> where pictures stand; by itself June puts them after the question, newest before it."""
    if message.picture_offsets is not None:
        starts = (0, *message.picture_offsets)
        ends = (*message.picture_offsets, len(message.text))
        return PICTURE_TAG.join(message.text[start:end] for start, end in zip(starts, ends, strict=True))
    tags = [PICTURE_TAG] * len(message.pictures)
    return "\n".join([message.text, *tags] if june else [*tags, message.text])
