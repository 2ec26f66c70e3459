"""A session, and a person who looks at it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from llava_engine.errors import PictureError
from llava_engine.pictures.opening import Picture
from llava_tui.session.attachments import Source
from llava_tui.session.events import (
    AnswerGrew,
    Event,
)
from llava_tui.session.session import ChatSession
from tests.fakes.fake_picture import fake_picture

AnyEvent = TypeVar("AnyEvent", bound=Event)


class Desk:
    """A session, and a person who looks at it."""

    def __init__(self, session: ChatSession) -> None:
        self.session = session
        self.events: list[Event] = []

    def until(self, enough: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 20
        while not enough():
            assert time.monotonic() < deadline, self.events
            self.events += self.session.poll()
            time.sleep(0.001)

    def settle(self) -> None:
        """Till nothing goes on any more."""
        session = self.session
        self.until(
            lambda: (
                (session.phase == "no_model" or (session.phase == "idle" and not session.facts.waiting))
                and not session.tray.opening
            )
        )
        self.events += self.session.poll()

    def of(self, kind: type[AnyEvent]) -> list[AnyEvent]:
        return [event for event in self.events if isinstance(event, kind)]

    def ask(self, text: str, *pictures: str) -> None:
        for picture in pictures:
            self.session.attach(picture)
        self.session.send(text)
        self.settle()

    @property
    def shown(self) -> list[str]:
        return [turn.text for turn in self.session.page()]

    @property
    def last(self) -> int:
        return self.session.page()[-1].id

    @property
    def said(self) -> str:
        return "".join(event.text for event in self.of(AnswerGrew))


def open_source(source: Source) -> Picture:
    """A name is a picture of it; "bad" is none."""
    if source == "bad":
        raise PictureError("bad is not a picture.", "Use another.")
    return fake_picture(str(source), "green" if source == "green" else "red")


Make = Callable[..., Desk]


def ready(desk: Desk) -> Desk:
    desk.settle()
    desk.events.clear()
    return desk
