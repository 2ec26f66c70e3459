"""The app on a stage: a real session over a scripted engine and a store in memory, and a person at the keys."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from PIL import Image, ImageDraw
from textual.pilot import Pilot

from llava_engine.contract import EngineLike, LoadProgress
from llava_tui.app import LlavaApp
from llava_tui.history.store import Store
from llava_tui.screens.chat_screen import ChatScreen
from llava_tui.session.session import ChatSession
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.prompt import PromptText
from tests.fakes.fake_engine import FakeEngine, fake_loader

PATIENCE_S = 60.0


def drawing(size: tuple[int, int] = (320, 240)) -> Image.Image:
    """A red circle and a green square on pale blue."""
    image = Image.new("RGB", size, "#dfe9f2")
    draw = ImageDraw.Draw(image)
    width, height = size
    draw.ellipse((width * 0.1, height * 0.15, width * 0.45, height * 0.6), fill="#d8322c")
    draw.rectangle((width * 0.55, height * 0.4, width * 0.9, height * 0.88), fill="#2f8f4e")
    return image


def drawn_file(folder: Path, name: str = "shapes.png", size: tuple[int, int] = (320, 240)) -> Path:
    """The drawing as a file."""
    buffer = io.BytesIO()
    drawing(size).save(buffer, "PNG")
    path = folder / name
    path.write_bytes(buffer.getvalue())
    return path


class Stage:
    """One run of the app.

    Args:
        engine: what answers.
        held: steps of the loading: progress to tell, events to wait for, errors to raise.
        store: the history; an empty one in memory when None.
        pictures: attached at the start.
        resume: go on with the last chat.
        tiny: the model is the one that comes with the package.
        frozen: the session's clock stands still, so that no rate depends on the machine.
    """

    def __init__(
        self,
        engine: EngineLike | None = None,
        held: Sequence[LoadProgress | threading.Event | BaseException] = (),
        store: Store | None = None,
        pictures: Sequence[str] = (),
        resume: bool = False,
        tiny: bool = False,
        frozen: bool = False,
    ) -> None:
        self.engine = engine or FakeEngine(("It is ", "red."))
        self.store = store or Store.in_memory()
        self.session = ChatSession(self.store, clock=lambda: 0.0) if frozen else ChatSession(self.store)
        if resume:
            self.session.open_last()
        loader = fake_loader(self.engine, *held)
        self.app = LlavaApp(self.session, self.store.chats, loader, pictures=pictures, tiny=tiny)

    @asynccontextmanager
    async def open(self, size: tuple[int, int] = (100, 30)) -> AsyncIterator[Person]:
        """Run it, and leave it at the end."""
        try:
            async with self.app.run_test(size=size, notifications=True) as pilot:
                person = Person(self, pilot)
                await person.until(lambda: bool(self.app.screen.query(PromptText)))
                yield person
        finally:
            self.session.close()


class Person:
    """Someone who presses keys and looks."""

    def __init__(self, stage: Stage, pilot: Pilot[None]) -> None:
        self.stage = stage
        self.pilot = pilot
        self.session = stage.session

    @property
    def screen(self) -> ChatScreen:
        """The chat, whatever stands above it."""
        screen = self.stage.app.screen_stack[0]
        assert isinstance(screen, ChatScreen)
        return screen

    @property
    def prompt(self) -> PromptText:
        """Where one writes."""
        return self.screen.query_one(PromptText)

    def writes(self) -> bool:
        """Whether the keys go to the prompt."""
        return self.screen.focused is self.prompt

    def is_back(self) -> bool:
        """Whether nothing stands above the chat."""
        return len(self.stage.app.screen_stack) == 1

    @property
    def hint(self) -> str:
        """The line of hints."""
        return str(self.screen.query_one(".frame").border_subtitle)

    @property
    def notices(self) -> list[str]:
        """What was told in notices that still stand."""
        return [notification.message for notification in self.stage.app._notifications]

    async def until(self, enough: Callable[[], bool], what: str = "") -> None:
        """Look until it is so; the test fails when it never is."""
        deadline = time.monotonic() + PATIENCE_S
        while not enough():
            assert time.monotonic() < deadline, what or f"never came to be so; on screen:\n{self.seen()}"
            await asyncio.sleep(0.01)
            await self.pilot.pause()

    async def sees(self, text: str) -> None:
        """Look until this text stands on the screen."""
        await self.until(lambda: text in self.seen(), f"{text!r} never came on the screen")

    def seen(self) -> str:
        """All that stands on the screen, as text."""
        app = self.stage.app
        lines = app.screen._compositor.render_strips()
        return "\n".join("".join(segment.text for segment in strip) for strip in lines)

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def types(self, text: str) -> None:
        """Type a text, key by key."""
        names = {
            " ": "space",
            "/": "slash",
            "?": "question_mark",
            ".": "full_stop",
            ":": "colon",
            "[": "left_square_bracket",
        }
        await self.pilot.press(*(names.get(character, character) for character in text))

    async def says(self, text: str) -> None:
        """Type a message and send it."""
        await self.types(text)
        await self.press("enter")

    async def answered(self, count: int = 1) -> None:
        """Wait until `count` answers of the transcript have ended, and their pictures stand there."""
        await self.until(
            lambda: (
                sum(t.role == "assistant" and t.status != "streaming" for t in self.screen.transcript.turns) >= count
                and self.session.phase == "idle"
            )
        )
        await self.pictures_shown()

    async def pictures_shown(self) -> None:
        """Wait until every picture on the screen has been drawn."""
        await self.until(lambda: all(cells.loaded for cells in self.stage.app.screen.query(PictureCells)))
        await self.pilot.pause()
