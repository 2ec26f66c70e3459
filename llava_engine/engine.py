"""Engine: a loaded model that answers conversations. The only class that scripts, screens and evaluations need.

Conversation -> spans -> ids and slots -> a row of the scheduler -> tokens -> text. Prompts are written on the thread
that asks, the model runs on one of its own. Keys and values of the last conversations, one a slot, and features of
recent pictures are kept, so that a next turn reads only what is new.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from weakref import finalize

from llava_engine.chat import Chat, PictureSource
from llava_engine.checkpoints.catalog import EMBEDDED, name_of
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import LoadedModel, OnProgress, load_for_inference
from llava_engine.checkpoints.open import open_source
from llava_engine.contract import GREEDY, Activity, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.decoding.cache import KeyValueCache
from llava_engine.decoding.reading import PromptReader
from llava_engine.decoding.rows import Question, Row
from llava_engine.decoding.scheduler import Scheduler
from llava_engine.decoding.slots import Slots
from llava_engine.decoding.text import AnswerText
from llava_engine.errors import ContextOverflowError, ConversationError, EngineAwayError
from llava_engine.many import answers_in_order
from llava_engine.model.llava import LlavaModel
from llava_engine.model.placement import layer_devices, side_dtype
from llava_engine.opening import AUTO, Placement, Source

LONGEST_TOKEN = 128
"""Letters. The longest pieces of the vocabularies of language models are runs of blanks, up to so many."""


class Engine:
    """A model, loaded.

    Attributes:
        card: what is true of it.
    """

    def __init__(self, loaded: LoadedModel, checkpoint: Checkpoint) -> None:
        """Join the parts; `Engine.load` is the usual way."""
        config, folder = checkpoint.config, checkpoint.folder
        # The context that was planned for is the context of this engine.
        config = replace(config, language=replace(config.language, max_position_embeddings=loaded.plan.context))
        self._config = config
        self._encoder = checkpoint.encoder
        devices = layer_devices(loaded.model.language_model.layers)
        dtype = side_dtype(devices, loaded.dtype)
        slots = Slots(lambda: KeyValueCache(config.language, device=devices, dtype=dtype), loaded.plan.slots)
        reader = PromptReader(loaded.model, checkpoint.preprocessing)
        self._scheduler: Scheduler | None = Scheduler(reader, slots, loaded.plan)
        # Also when it is collected, or the process ends: its thread holds the model, but not the engine.
        self._close = finalize(self, self._scheduler.close)
        embedded = folder == EMBEDDED
        self.card = ModelCard(
            name=name_of(folder),
            folder=folder,
            template=self._encoder.template.name,
            device=" + ".join(dict.fromkeys(place.device for place in loaded.plan.places)),
            dtype=str(loaded.dtype).removeprefix("torch."),
            kernel=loaded.kernel.label,
            context_length=config.language.max_position_embeddings,
            picture_tokens=config.picture_tokens,
            tiles=config.tiles is not None,
            parameters=loaded.parameters,
            memory_bytes=loaded.memory_bytes,
            embedded=embedded,
            plan=loaded.plan,
            slots=loaded.plan.slots,
            about=checkpoint.about,
            notes=checkpoint.found.notes,
        )

    @classmethod
    def load(
        cls,
        source: Source,
        placement: Placement = AUTO,
        *,
        on_progress: OnProgress | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> Engine:
        """Load any LLaVA; `llava_engine.open_model` says what is raised."""
        checkpoint = open_source(source)
        loaded = load_for_inference(
            checkpoint.config, checkpoint.tensors, placement, on_progress=on_progress, cancelled=cancelled
        )
        return cls(loaded, checkpoint)

    def chat(self, *, system: str | None = None, **sampling: Any) -> Chat:
        """A conversation that goes on.

        Args:
            system: the system text; None for the one the model was trained with.
            **sampling: the fields of `Sampling`: temperature, max_new_tokens, seed, …
        """
        return Chat(self, Conversation(system=system), Sampling(**sampling))

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """Answer the last user turn: `Progress`, text pieces as they come, then one `Reply`.

        The answer is made whether it is read or not; it is given up when the iterator is closed or dropped.

        Args:
            conversation: it must end with the user.
            sampling: how tokens are chosen.
            begun: how the answer begins: it is read, not said, and the answer goes on after it.
            cancelled: asked before each token, on the engine's thread; what was said until then stays in the reply.

        Raises:
            ContextOverflowError: the prompt does not fit, before anything is generated.
            ConversationError: the template can not write this conversation.
            OutOfMemoryError: memory ran out; the engine goes on living, with nothing kept of the conversation.
            BusyError: `most_waiting` wait already.
            EngineAwayError: it was closed.
        """
        row = self._row(conversation, sampling, begun, cancelled)
        self._open_scheduler().submit(row)
        yield from row.read()

    def answer(self, questions: Sequence[tuple[str, Sequence[PictureSource]]], **sampling: Any) -> list[Reply]:
        """Answer many independent questions, `card.slots` at once.

        Args:
            questions: each a text and its pictures (path, URL, bytes, PIL image or `Picture`).
            **sampling: the fields of `Sampling`.

        Returns:
            The replies, in the order of the questions.

        Raises:
            LlavaError: one can not be answered; see `answer_all` (many.py) for what goes on with the others.
        """
        return answers_in_order(self, questions, Sampling(**sampling))

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount:
        """How many tokens the conversation costs as a prompt, with how its answer begins.

        Raises:
            ConversationError: it has none.
            ContextOverflowError: its text is so long that it can not fit, and is not counted.
        """
        self._check_letters(conversation, begun)
        return Question(self._encoder.encode(conversation, begun), conversation.pictures).count

    def activity(self) -> Activity:
        """What it does now, and did since it was loaded."""
        return self._open_scheduler().activity()

    @property
    def most_waiting(self) -> int | None:
        """How many questions may wait for a slot before more are refused; None, at first, for any number."""
        return self._open_scheduler().most_waiting

    @most_waiting.setter
    def most_waiting(self, most: int | None) -> None:
        self._open_scheduler().most_waiting = most

    def close(self) -> None:
        """End all answers, as if they were cancelled, and free the model. It may be called twice."""
        self._scheduler = None
        self._close()

    def _open_scheduler(self) -> Scheduler:
        if self._scheduler is None:
            raise EngineAwayError("This engine was closed.", "Load the model again.")
        return self._scheduler

    @property
    def _model(self) -> LlavaModel:
        return self._open_scheduler().reader.model

    def _row(
        self, conversation: Conversation, sampling: Sampling, begun: str = "", cancelled: Callable[[], bool] = never
    ) -> Row:
        question = self._checked(conversation, begun)
        # An answer may have as many tokens as were asked for, or as the context leaves.
        left = self._config.language.max_position_embeddings - question.count.total
        room = left if sampling.max_new_tokens is None else min(sampling.max_new_tokens, left)
        template = self._encoder.template
        stops = (*template.stops, *sampling.stops)
        answer = AnswerText(self._encoder.tokenizer, stops, template.answer_lead, room, begun)
        return Row(question, answer, sampling, cancelled)

    def _checked(self, conversation: Conversation, begun: str = "") -> Question:
        """A question that there is something to answer to, within the context."""
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConversationError("There is nothing to answer.", "The last message must be the user's.")
        self._check_letters(conversation, begun)
        limit = self._config.language.max_position_embeddings
        question = Question(self._encoder.encode(conversation, begun), conversation.pictures)
        if question.count.total >= limit:
            raise ContextOverflowError(question.count.total, limit)
        return question

    def _check_letters(self, conversation: Conversation, begun: str = "") -> None:
        """Refuse what can not fit by its letters alone: cutting it into tokens would take minutes."""
        limit = self._config.language.max_position_embeddings
        letters = sum(len(message.text) for message in conversation.messages)
        letters += len(conversation.system or "") + len(begun)
        if letters > limit * LONGEST_TOKEN:
            raise ContextOverflowError(letters // LONGEST_TOKEN, limit, at_least=True)
