"""Asking an engine that is elsewhere, for the tests of how it does."""

from __future__ import annotations

import threading
from typing import Any

from llava_engine.backends.remote.engine import RemoteEngine
from llava_engine.contract import GREEDY, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from tests.fakes.far_server import PATIENCE_S, FarServer

ASKED = Conversation((Message.user("What is it?"),))
KEY = "sk-very-secret-0123456789"


def opened(server: FarServer, **more: Any) -> RemoteEngine:
    return RemoteEngine.open(server.url, environment=more.pop("environment", {}), **more)


def text_of(engine: RemoteEngine, conversation: Conversation = ASKED, sampling: Sampling = GREEDY, **more: Any) -> str:
    return "".join(item for item in engine.stream(conversation, sampling, **more) if isinstance(item, str))


def within_patience(act: Any) -> list[Any]:
    """What an act returns or raises, on a thread that ends."""
    found: list[Any] = []

    def work() -> None:
        try:
            found.append(act())
        except BaseException as error:
            found.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(PATIENCE_S)
    assert not thread.is_alive()
    return found
