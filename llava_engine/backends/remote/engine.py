"""An engine that is elsewhere: any server that speaks OpenAI's chat completions, behind the same face as ours."""

from __future__ import annotations

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from llava_engine.backends.remote.address import Address
from llava_engine.backends.remote.answer import Answer
from llava_engine.backends.remote.body import body_of
from llava_engine.backends.remote.dialects import DIALECTS
from llava_engine.backends.remote.discovery import Found, discover
from llava_engine.backends.remote.key import find_key
from llava_engine.backends.remote.problems import MOST_BYTES, Problems, refused_field
from llava_engine.backends.remote.server import POLL_S, Head, Server, Whole, broke_off
from llava_engine.contract import GREEDY, Ability, ModelCard, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import BusyError, ContextOverflowError, ConversationError, EngineAwayError, LoadCancelledError

BUSY_TRIES = 3
"""How often a busy server is asked again."""

LONGEST_WAIT_S = 60.0
"""A server that wants us to wait for longer is told of at once."""

_COUNT_S = 10.0
_REMEMBERED = 32  # conversations whose length is known
_WAITING = Progress("waiting", 0, 0)

_Known = tuple[str | None, tuple[tuple[str, str, tuple[str, ...]], ...]]

# What an engine may lack, as a sentence says it.
_DOING: Mapping[str, str] = {
    "pictures": "see pictures",
    "begun": "go on with a begun answer",
    "seed": "draw by a seed",
    "stops": "end at texts of yours",
    "top_k": "draw from the likeliest k",
    "repetition_penalty": "penalize repetition",
}
_ABILITIES: Mapping[str, Ability] = {
    "top_k": "top_k",
    "repetition_penalty": "repetition_penalty",
    "repeat_penalty": "repetition_penalty",
    "seed": "seed",
    "stop": "stops",
    "continue_final_message": "begun",
    "add_generation_prompt": "begun",
}


class RemoteEngine:
    """Answers over the network; `EngineLike`.

    What breaks off in the middle of an answer is raised after the pieces that came, so that nothing that was said is
    lost: whoever reads has them.

    Args:
        server: which.
        found: what is known of it.
    """

    def __init__(self, server: Server, found: Found) -> None:
        self._server = server
        self._found = found
        self._dialect = DIALECTS[found.kind]
        self._cannot: frozenset[Ability] = found.cannot
        self._most = self._dialect.most
        self._unwanted: frozenset[str] = frozenset()  # fields that it does not take, and that nobody misses
        self._lengths: OrderedDict[_Known, int] = OrderedDict()
        self._lock = threading.Lock()
        self._closed = False

    @classmethod
    def open(
        cls,
        url: str,
        model: str | None = None,
        *,
        key_file: str | None = None,
        slots: int | None = None,
        environment: Mapping[str, str] = os.environ,
        cancelled: Callable[[], bool] = never,
    ) -> RemoteEngine:
        """Find out what is at an address.

        Args:
            url: of the server, or of its /v1.
            model: the server's name for a model; None where it has but one.
            key_file: a file that holds a key and nothing else.
            slots: how many may be asked at once; None for what is no burden to such a server.
            environment: where else a key may be: LLAVA_ENGINE_KEY; OPENAI_API_KEY for OpenAI's own server.
            cancelled: nobody wants it any more.

        Raises:
            UsageError: the address is none, or there is no key where one was named.
            EngineAwayError: the server can not be reached, refuses, or is no engine.
            ModelError: it lacks the model, or has several and none was named.
            LoadCancelledError: it was cancelled.
        """
        address = Address.parse(url)
        server = Server(address, find_key(address, key_file, environment))
        try:
            found = discover(server, model, cancelled)
            return cls(server, found if slots is None else replace(found, slots=slots))
        except BaseException as error:
            server.close()
            if isinstance(error, EngineAwayError) and cancelled():
                raise LoadCancelledError from None
            raise

    @property
    def card(self) -> ModelCard:
        """What is known; `cannot` grows with what the server refuses."""
        model, address = self._found.model, self._server.address
        notes: tuple[str, ...] = ()
        if not (address.encrypted or address.loopback):
            what = "Words, pictures and the key" if self._server.key else "Words and pictures"
            notes = (f"{what} go to {address.where} unencrypted: whoever is on the way can read them.",)
        return ModelCard(
            name=model.shown,
            folder=None,
            template=model.own.template,
            device="",
            dtype="",
            kernel="",
            context_length=model.context_length,
            picture_tokens=model.own.picture_tokens,
            tiles=model.own.tiles,
            parameters=None,
            memory_bytes=None,
            about=(f"{model.shown} answers at {address.where}.", *notes),
            notes=notes,
            where=address.where,
            slots=self._found.slots,
            cannot=self._cannot,
        )

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        """Answer the last user turn; see `EngineLike.stream`.

        `cancelled` is asked every 50 ms; the connection is closed then, which all servers take as the end.
        """
        self._check(conversation, sampling, begun)
        answer = Answer(self._server.address.where, self._problems, time.perf_counter())
        known = self._lengths.get(_known(conversation)) if not begun else None
        yield Progress("waiting", 0, 0, TokenCount(known, ()) if known else None)
        body = body_of(self._found.model.name, conversation, self._dialect, sampling, begun)
        busy = 0
        while (refusal := (yield from self._attempt(self._fitted(body), answer, cancelled))) is not None:
            if self._learn(refusal, body, sampling):
                continue
            error = self._problems.of_answer(refusal)
            if isinstance(error, ContextOverflowError) and body.pop(self._dialect.most, None):
                continue  # some count the room that was asked for; where the prompt fits, they end with what is left
            if not isinstance(error, BusyError) or busy == BUSY_TRIES or error.retry_after_s > LONGEST_WAIT_S:
                raise error
            busy += 1
            if not (yield from _pause(max(error.retry_after_s, 2.0 ** (busy - 1)), cancelled)):
                break
        reply = answer.reply(cancelled=not answer.complete)
        if answer.usage and not begun:
            self._remember(conversation, answer.usage.prompt, reply)
        yield reply

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount | None:
        """What the server counts, where it does; else what its last answer said of this very conversation."""
        if "count" not in self._cannot:
            try:
                answer = self._server.ask(
                    "POST",
                    f"{self._found.base}/chat/completions/input_tokens",
                    body_of(self._found.model.name, conversation, self._dialect, begun=begun),
                    within_s=_COUNT_S,
                    most_bytes=MOST_BYTES,
                )
            except EngineAwayError:
                return None if begun else self._counted(conversation)
            said = answer.json()
            tokens = said.get("input_tokens") if isinstance(said, dict) else None
            if answer.head.status == HTTPStatus.OK and type(tokens) is int and tokens > 0:
                return TokenCount(tokens, ())
            if answer.head.status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.OK):
                self._cannot |= {"count"}
        return None if begun else self._counted(conversation)

    def close(self) -> None:
        """Answers that are running end."""
        self._closed = True
        self._server.close()

    @property
    def _problems(self) -> Problems:
        return Problems(self._server.address, self._server.key, self._found.model.context_length)

    def _attempt(
        self, body: Mapping[str, Any], answer: Answer, cancelled: Callable[[], bool]
    ) -> Generator[str | Progress, None, Whole | None]:
        """Ask once. Returns what was answered in place of an answer; None when there was one, or it was cancelled."""
        head: Head | None = None
        words = bytearray()
        broken: EngineAwayError | None = None
        with closing(self._server.send("POST", f"{self._found.base}/chat/completions", body)) as items:
            while True:
                try:
                    item = next(items)
                except StopIteration:
                    break
                except EngineAwayError as error:
                    broken = error
                    break
                if cancelled() or self._closed:
                    return None
                if isinstance(item, Head):
                    head = item
                    if head.status == HTTPStatus.OK:
                        answer.begin(head)
                elif item is None or head is None:
                    continue
                elif head.status == HTTPStatus.OK:
                    yield from answer.push(item)
                    if answer.over:
                        return None
                else:
                    words += item
                    if len(words) > MOST_BYTES:
                        break
        if head is None:
            raise broken or broke_off(self._server.address.where)
        if head.status != HTTPStatus.OK:
            return Whole(head, bytes(words))
        yield from answer.end(broken)
        return None

    def _check(self, conversation: Conversation, sampling: Sampling, begun: str) -> None:
        asked: dict[Ability, object] = {
            "pictures": conversation.pictures,
            "begun": begun,
            "seed": sampling.seed is not None,
            "stops": sampling.stops,
            "top_k": sampling.top_k,
            "repetition_penalty": sampling.repetition_penalty != 1,
        }
        for ability, wanted in asked.items():
            if wanted and ability in self._cannot:
                raise self._unable(ability)
        if not conversation.messages or conversation.messages[-1].role != "user":
            raise ConversationError("There is nothing to answer: the last turn is not the user's.")

    def _unable(self, ability: Ability) -> ConversationError:
        return ConversationError(
            f"{self._found.model.shown} at {self._server.address.where} can not {_DOING[ability]}.",
            "Ask about words only, or use a model that sees." if ability == "pictures" else "Ask without that.",
        )

    def _fitted(self, body: dict[str, Any]) -> dict[str, Any]:
        """The body in the words that this server was found to take."""
        fitted = {name: value for name, value in body.items() if name not in self._unwanted}
        if self._most != self._dialect.most and self._dialect.most in fitted:
            fitted[self._most] = fitted.pop(self._dialect.most)
        return fitted

    def _learn(self, refusal: Whole, body: dict[str, Any], sampling: Sampling) -> bool:
        """Whether to ask again, in other words.

        Raises:
            ConversationError: what it does not take was asked for, and can not be left away in silence.
        """
        field = refused_field(refusal, self._fitted(body))
        if field == "max_tokens" and self._most == field:
            self._most = "max_completion_tokens"  # OpenAI's newer models, wherever they are
            return True
        if field == "stream_options" or (field == "temperature" and sampling.temperature == 0):
            self._unwanted |= {field}
            return True
        if field in _ABILITIES:
            self._cannot |= {_ABILITIES[field]}
            raise self._unable(_ABILITIES[field])
        return False

    def _remember(self, conversation: Conversation, prompt_tokens: int, reply: Reply) -> None:
        after = conversation.then(Message.assistant(reply.text))
        with self._lock:
            self._lengths[_known(conversation)] = prompt_tokens
            self._lengths[_known(after)] = prompt_tokens + reply.completion_tokens
            while len(self._lengths) > _REMEMBERED:
                self._lengths.popitem(last=False)

    def _counted(self, conversation: Conversation) -> TokenCount | None:
        with self._lock:
            tokens = self._lengths.get(_known(conversation))
        return TokenCount(tokens, ()) if tokens else None


def _pause(seconds: float, cancelled: Callable[[], bool]) -> Generator[Progress, None, bool]:
    """Wait; whether to go on."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if cancelled():
            return False
        yield _WAITING
        time.sleep(POLL_S)
    return True


def _known(conversation: Conversation) -> _Known:
    return conversation.system, tuple(
        (message.role, message.text, tuple(picture.sha256 for picture in message.pictures))
        for message in conversation.messages
    )
