"""What many.py is asked and what it gives back: questions that are not open yet, and what became of them."""

from __future__ import annotations

import hashlib
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Generic, TypeVar

from llava_engine.chat import PictureSource, opened
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.pictures.opening import Picture

Open = Callable[[PictureSource], Picture]
"""Opens a picture, once for all neighbours that show it; raises `PictureError`."""

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True)
class Question(Generic[Key]):
    """Something to ask, not open yet.

    Attributes:
        key: whose answer it is.
        conversation: makes it, with what opens its pictures; called on another thread, once, when its turn is near.
        begun: how the answer begins; see `EngineLike.stream`.
        sampling: how tokens are chosen; None for what is said for all.
        place: what it shows and how long it is. Questions of like places are asked one after another, so that an engine
            still knows the picture and the beginning of the prompt.
        then: makes the next question out of the conversation and its reply, or None: asked at once, while the engine
            still knows what was read. It has a key of its own.
    """

    key: Key
    conversation: Callable[[Open], Conversation]
    begun: str = ""
    sampling: Sampling | None = None
    place: tuple[str, int] = ("", 0)
    then: Callable[[Conversation, Reply], Question[Key] | None] | None = None

    @classmethod
    def about(
        cls,
        key: Key,
        text: str,
        pictures: Sequence[PictureSource] = (),
        *,
        system: str | None = None,
        begun: str = "",
        sampling: Sampling | None = None,
    ) -> Question[Key]:
        """One text and its pictures: paths, URLs, bytes, PIL images or `Picture`s, opened when its turn is near."""

        def conversation(opening: Open) -> Conversation:
            return Conversation((Message.user(text, [opening(source) for source in pictures]),), system)

        shown = " ".join(map(_identity, pictures))
        return cls(key, conversation, begun, sampling, place=(shown, len(text)))


@dataclass(frozen=True)
class Answered(Generic[Key]):
    """What became of a question: the engine's reply, or what was raised instead.

    A `LlavaError` is about the question (a broken picture, too long) or the engine (away, busy); all else is a bug.
    """

    key: Key
    outcome: Reply | Exception


class Opener:
    """Opens pictures from any thread; the last `kept` that have a name stay for the neighbours that show them too."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self._pictures: OrderedDict[str, Future[Picture]] = OrderedDict()
        self._lock = threading.Lock()

    def __call__(self, source: PictureSource) -> Picture:
        if not isinstance(source, (str, os.PathLike)):
            return opened(source)
        name = os.fspath(source)
        with self._lock:
            found = self._pictures.get(name)
            picture = self._pictures[name] = found or Future()
            self._pictures.move_to_end(name)
            while len(self._pictures) > self._kept:
                self._pictures.popitem(last=False)
        if found is None:
            try:
                picture.set_result(opened(source))
            except BaseException as error:  # everybody who shows it is told, and waits no more
                picture.set_exception(error)
        return picture.result()


def _identity(source: PictureSource) -> str:
    if isinstance(source, Picture):
        return source.sha256
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else f"{id(source):x}"
