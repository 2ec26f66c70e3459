"""Engine: a loaded model that answers conversations. The only class that scripts, screens and evaluations need.

Conversation -> spans -> ids and slots -> embeddings -> tokens -> text. Keys and values of the last conversation and
features of recent pictures are kept, so that a next turn reads only what is new. One job at a time.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llava_engine.chat import Chat, PictureSource, opened
from llava_engine.checkpoints.catalog import EMBEDDED, name_of
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import LoadedModel, OnProgress, load_for_inference
from llava_engine.checkpoints.open import open_source
from llava_engine.contract import GREEDY, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.tokenizer import Prompt
from llava_engine.decoding.batch import generate_batch
from llava_engine.decoding.cache import FeatureCache, Identity, KeyValueCache
from llava_engine.decoding.stream import AnswerText, CancelledError, generate
from llava_engine.errors import ContextOverflowError, ConversationError, OutOfMemoryError
from llava_engine.model.out_of_memory import clear_out_of_memory
from llava_engine.model.placement import layer_devices, side_dtype
from llava_engine.opening import AUTO, Placement, Source
from llava_engine.pictures.opening import Picture

BATCH_SIZE = 16
LONGEST_TOKEN = 128
"""Letters. The longest pieces of the vocabularies of language models are runs of blanks, up to so many."""
"""Prompts that `Engine.answer` reads at once. The plan of memory does not count on it: see docs/memory.md."""


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
        self._plan = loaded.plan
        self._model = loaded.model
        self._config = config
        self._encoder = checkpoint.encoder
        self._preprocessing = checkpoint.preprocessing
        self._device = loaded.device
        self._layer_devices = layer_devices(loaded.model.language_model.layers)
        self._cache_dtype = side_dtype(self._layer_devices, loaded.dtype)
        self._cache = self._empty_cache()
        self._features = FeatureCache()
        self._lock = threading.Lock()
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

        Args:
            conversation: it must end with the user.
            sampling: how tokens are chosen.
            begun: how the answer begins: it is read, and the answer goes on after it.
            cancelled: asked before each token; what was said until then stays in the reply.

        Raises:
            ContextOverflowError: the prompt does not fit, before anything is generated.
            ConversationError: the template can not write this conversation.
            OutOfMemoryError: memory ran out; the engine goes on living, with nothing kept of the conversation.
        """
        start = time.perf_counter()
        with self._lock, self._clear_out_of_memory():
            prompt = self._prompt(conversation, begun)
            identities = self._identities(prompt, conversation.pictures)
            cached = self._cache.reuse(identities)
            yield Progress("reading", cached, len(prompt.ids), _count(prompt))
            answer = self._answer_text(prompt, sampling, begun)
            first_token = time.perf_counter()
            try:
                embeddings = self._embed(prompt, conversation.pictures, cached)
                tokens = generate(self._model, identities, embeddings, self._cache, sampling, cancelled=cancelled)
                while answer.finish is None:
                    if cancelled():
                        raise CancelledError
                    piece = answer.push(next(tokens))
                    if len(answer.ids) <= 1:
                        first_token = time.perf_counter()
                    if piece:
                        yield piece
            except CancelledError:
                if rest := answer.end("cancelled"):
                    yield rest
            yield self._reply(answer, prompt, cached, start, first_token)

    def answer(self, questions: Sequence[tuple[str, Sequence[PictureSource]]], **sampling: Any) -> list[Reply]:
        """Answer many independent questions at once.

        Args:
            questions: each a text and its pictures (path, URL, bytes, PIL image or `Picture`).
            **sampling: the fields of `Sampling`.

        Returns:
            The replies, in the order of the questions.

        Raises:
            PictureError, ContextOverflowError: as for one question; nothing is answered then.
        """
        conversations = [
            Conversation((Message.user(text, [opened(source) for source in pictures]),)) for text, pictures in questions
        ]
        return self.answer_conversations(conversations, Sampling(**sampling))

    def answer_conversations(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply]:
        """`answer` for whole conversations, each ending with the user."""
        with self._lock, self._clear_out_of_memory():
            prompts = [self._prompt(conversation) for conversation in conversations]
            # Prompts of like length are read together, so that little is padding.
            order = sorted(range(len(prompts)), key=lambda index: len(prompts[index].ids))
            replies: dict[int, Reply] = {}
            for begin in range(0, len(order), BATCH_SIZE):
                chosen = order[begin : begin + BATCH_SIZE]
                part = [(conversations[index], prompts[index]) for index in chosen]
                replies.update(zip(chosen, self._answer_batch(part, sampling), strict=True))
        return [replies[index] for index in range(len(prompts))]

    def count(self, conversation: Conversation) -> TokenCount:
        """How many tokens the conversation costs as a prompt; raises `ConversationError` for one that has none."""
        return _count(self._encoder.encode(conversation))

    def close(self) -> None:
        """Nothing runs when nobody asks, so there is nothing to end."""

    def _answer_batch(self, part: Sequence[tuple[Conversation, Prompt]], sampling: Sampling) -> list[Reply]:
        start = time.perf_counter()
        answers = [self._answer_text(prompt, sampling) for _, prompt in part]
        rows = [(prompt.ids, self._embed(prompt, conversation.pictures, 0)[0]) for conversation, prompt in part]
        first_token = 0.0
        for tokens in generate_batch(
            self._model, rows, sampling, self._cache_dtype, lambda row: answers[row].finish is None
        ):
            first_token = first_token or time.perf_counter()
            for answer, token in zip(answers, tokens, strict=True):
                if token is not None:
                    answer.push(token)
        return [
            self._reply(answer, prompt, 0, start, first_token)
            for answer, (_, prompt) in zip(answers, part, strict=True)
        ]

    def _prompt(self, conversation: Conversation, begun: str = "") -> Prompt:
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConversationError("There is nothing to answer.", "The last message must be the user's.")
        limit = self._config.language.max_position_embeddings
        letters = sum(len(message.text) for message in conversation.messages)
        letters += len(conversation.system or "") + len(begun)
        if letters > limit * LONGEST_TOKEN:  # cutting it into tokens would take minutes, only to refuse it
            raise ContextOverflowError(letters // LONGEST_TOKEN, limit, at_least=True)
        prompt = self._encoder.encode(conversation, begun)
        if len(prompt.ids) >= limit:
            raise ContextOverflowError(len(prompt.ids), limit)
        return prompt

    def _answer_text(self, prompt: Prompt, sampling: Sampling, begun: str = "") -> AnswerText:
        """An answer that may have as many tokens as were asked for, or as the context leaves."""
        left = self._config.language.max_position_embeddings - len(prompt.ids)
        room = left if sampling.max_new_tokens is None else min(sampling.max_new_tokens, left)
        template = self._encoder.template
        lead = None if begun else template.answer_lead
        return AnswerText(self._encoder.tokenizer, (*template.stops, *sampling.stops), lead, room)

    @staticmethod
    def _identities(prompt: Prompt, pictures: Sequence[Picture]) -> list[Identity]:
        identities: list[Identity] = list(prompt.ids)
        for slot in prompt.slots:
            sha256 = pictures[slot.picture].sha256
            for place in range(slot.length):
                identities[slot.start + place] = (sha256, place)
        return identities

    @torch.inference_mode()
    def _embed(self, prompt: Prompt, pictures: Sequence[Picture], start: int) -> Tensor:
        """(1, T - start, hidden_size): the embeddings of a prompt from position `start` on."""
        ids = torch.tensor([prompt.ids[start:]], device=self._device)
        x = self._model.embed(ids, None)
        slots = [slot for slot in prompt.slots if slot.start + slot.length > start]
        self._features.make_room(sum(slot.length for slot in slots))
        self._see([pictures[slot.picture] for slot in slots])
        for slot in slots:
            features = self._features.get(pictures[slot.picture].sha256)
            assert features is not None
            skipped = max(0, start - slot.start)
            begin = slot.start + skipped - start
            x[0, begin : begin + slot.length - skipped] = features[skipped:].to(x.dtype)
        return x

    def _see(self, pictures: Sequence[Picture]) -> None:
        """Run the tower on those pictures that it has not seen lately."""
        new = {picture.sha256: picture for picture in pictures if self._features.get(picture.sha256) is None}
        for sha256, picture in new.items():
            views = torch.from_numpy(self._preprocessing.views(picture)).to(self._device)
            self._features.put(sha256, self._model.picture_features(views, _height_width(picture)))

    def _reply(self, answer: AnswerText, prompt: Prompt, cached: int, start: float, first_token: float) -> Reply:
        assert answer.finish is not None
        after_first = time.perf_counter() - first_token
        count = len(answer.ids)
        return Reply(
            text=answer.text,
            token_ids=tuple(answer.ids),
            finish_reason=answer.finish,
            prompt=prompt.text,
            prompt_tokens=len(prompt.ids),
            cached_tokens=cached,
            completion_tokens=count,
            picture_tokens=tuple(slot.length for slot in prompt.slots),
            time_to_first_token_s=first_token - start,
            tokens_per_second=(count - 1) / after_first if count > 1 and after_first > 0 else 0.0,
        )

    def _empty_cache(self) -> KeyValueCache:
        return KeyValueCache(self._config.language, device=self._layer_devices, dtype=self._cache_dtype)

    @contextmanager
    def _clear_out_of_memory(self) -> Iterator[None]:
        """When memory runs out, give back what is kept of conversations and pictures, and say it clearly."""
        try:
            with clear_out_of_memory("answering", self._plan):
                yield
        except OutOfMemoryError:
            self._cache, self._features = self._empty_cache(), FeatureCache()
            raise


def _count(prompt: Prompt) -> TokenCount:
    return TokenCount(len(prompt.ids), tuple(slot.length for slot in prompt.slots))


def _height_width(picture: Picture) -> tuple[int, int]:
    return picture.size[1], picture.size[0]
