"""Any vision-language model that transformers has, behind the contract. One answer at a time; more wait their turn.

Answers are made on one kept thread and handed over piece by piece, so that nobody who stops reading holds up another.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch

from llava_engine.backends.transformers.answer_text import AnswerText
from llava_engine.backends.transformers.asked import check_asked
from llava_engine.backends.transformers.generation import Generator
from llava_engine.backends.transformers.job import Job
from llava_engine.backends.transformers.loading import Loaded, load
from llava_engine.backends.transformers.prompt import ForeignPrompt, Prompter
from llava_engine.backends.transformers.recognition import ForeignFolder
from llava_engine.chat import Chat
from llava_engine.checkpoints.catalog import name_of
from llava_engine.contract import GREEDY, Ability, LoadProgress, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import ContextOverflowError, ConversationError, LlavaError, ModelError, OutOfMemoryError
from llava_engine.model.out_of_memory import clear_out_of_memory
from llava_engine.opening import AUTO, Placement, Source

_LONGEST_TOKEN = 128  # letters, of any vocabulary


class TransformersEngine:
    """A model of another family, loaded.

    Attributes:
        card: what is true of it.
    """

    def __init__(self, found: ForeignFolder, loaded: Loaded) -> None:
        """Join the parts; `open` is the usual way. Raises `ModelError` where its chat template can not be used."""
        self._loaded = loaded
        self._prompter = Prompter(loaded.processor, found.folder.name)
        self._generator = Generator(loaded.model, self._prompter, torch.device(loaded.device))
        self._worker = ThreadPoolExecutor(1, thread_name_prefix="transformers")
        self._line: list[Job] = []
        self._line_lock = threading.Lock()
        takes_system = self._prompter.writer.takes_system
        cannot: set[Ability] = set() if takes_system else {"system"}
        oddities = () if takes_system else ("Its chat template has no place for a system text.",)
        called = found.architecture or found.kind
        self.card = ModelCard(
            name=name_of(found.folder),
            folder=found.folder,
            template="its own",
            device=loaded.device,
            dtype=loaded.dtype,
            kernel="transformers",
            context_length=loaded.context,
            picture_tokens=None,
            parameters=loaded.parameters,
            memory_bytes=loaded.plan.total,
            plan=loaded.plan,
            about=(
                f"A {called}, run by transformers {loaded.version}.",
                "Its template is its own chat template.",
                *oddities,
            ),
            tiles=True,
            cannot=frozenset(cannot),
        )

    @classmethod
    def open(
        cls,
        found: ForeignFolder,
        source: Source,
        placement: Placement = AUTO,
        *,
        on_progress: Callable[[LoadProgress], None] | None = None,
        cancelled: Callable[[], bool] = never,
    ) -> TransformersEngine:
        """Load a folder; raises what `check_asked` and `load` raise."""
        check_asked(found, source, placement)
        return cls(found, load(found, placement, on_progress=on_progress, cancelled=cancelled))

    def chat(self, *, system: str | None = None, **sampling: Any) -> Chat:
        """A conversation that goes on; the arguments as `Engine.chat`'s."""
        return Chat(self, Conversation(system=system), Sampling(**sampling))

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """Answer the last user turn, as `EngineLike` says.

        Reading the prompt is one step, which can not be cancelled; after that an answer ends within a token.
        """
        job = Job(conversation, sampling, begun, cancelled)
        with self._line_lock:
            before = len(self._line)
            self._line.append(job)
            done = self._worker.submit(self._answer, job)
        try:
            if before:
                yield Progress("waiting", before, before)
            yield from job.read(done)
        finally:
            job.stop.set()
            if done.cancel():
                self._leave(job)

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount:
        """How many tokens the conversation costs as a prompt, with how its answer begins.

        Raises `ConversationError` for one that has none.
        """
        return _count(self._prompter.prompt(conversation, begun))

    def close(self) -> None:
        """Let running answers end, and the model go."""
        with self._line_lock:
            for job in self._line:
                job.stop.set()
        self._worker.shutdown(cancel_futures=True)
        self._prompter.forget()
        self._generator = self._loaded = None  # type: ignore[assignment]

    def _answer(self, job: Job) -> None:
        """On the kept thread: one answer into its queue, and whatever went wrong."""
        try:
            if job.over():
                job.put(job.reply("", "cancelled"))
                return
            with clear_out_of_memory("answering", self._loaded.plan):
                self._say(job)
        except LlavaError as error:
            if isinstance(error, OutOfMemoryError):
                self._generator.forget()
                self._prompter.forget()
            job.put(error)
        except Exception as error:  # of a library that refuses its own inputs, in every way
            why = str(error).strip().splitlines() or [type(error).__name__]
            told = ModelError(f"transformers could not answer with this {self.card.name}: {why[0]}")
            told.__cause__ = error
            job.put(told)
        finally:
            self._leave(job)

    def _leave(self, job: Job) -> None:
        with self._line_lock:
            if job in self._line:
                self._line.remove(job)

    def _say(self, job: Job) -> None:
        prompt = self._prompt(job.conversation, job.begun)
        cached, seen = self._generator.reuse(prompt)
        job.put(Progress("reading", cached, len(prompt.ids), _count(prompt)))
        room = job.sampling.max_new_tokens
        if self.card.context_length is not None:
            left = self.card.context_length - len(prompt.ids)
            room = left if room is None else min(room, left)
        tokenizer = self._loaded.processor.tokenizer
        lead = "" if job.begun else prompt.lead
        unsaid = self._prompter.marks.stand_ins
        answer = AnswerText(tokenizer, self._generator.ends, job.sampling.stops, lead, room or _NO_END, unsaid)
        job.begin(prompt, cached)

        def push(token: int) -> bool:
            job.say(answer.push(token), answer.ids)
            if answer.finish is None and job.over():
                job.say(answer.end("cancelled"), answer.ids)
            return answer.finish is not None

        self._generator.run(prompt, seen, job.sampling, room or _NO_END, push)
        job.put(job.reply(answer.text, answer.finish or "length"))

    def _prompt(self, conversation: Conversation, begun: str) -> ForeignPrompt:
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConversationError("There is nothing to answer.", "The last message must be the user's.")
        limit = self.card.context_length
        letters = sum(len(message.text) for message in conversation.messages)
        letters += len(conversation.system or "") + len(begun)
        if limit is not None and letters > limit * _LONGEST_TOKEN:  # cutting it into tokens would take minutes
            raise ContextOverflowError(letters // _LONGEST_TOKEN, limit, at_least=True)
        prompt = self._prompter.prompt(conversation, begun)
        if limit is not None and len(prompt.ids) >= limit:
            raise ContextOverflowError(len(prompt.ids), limit)
        return prompt


_NO_END = 2**31  # where nothing says how long a conversation may be


def _count(prompt: ForeignPrompt) -> TokenCount:
    return TokenCount(len(prompt.ids), tuple(end - start for start, end in prompt.ranges))
