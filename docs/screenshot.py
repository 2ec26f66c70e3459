"""Draws docs/screenshot.svg: the app, asked about a sample picture, with the model's own answers.

    python docs/screenshot.py [MODEL_FOLDER]

Needs nothing but the package; the chat is kept in a folder that goes with the process.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

import llava_engine
from llava_tui.app import LlavaApp
from llava_tui.history.store import Store
from llava_tui.screens.chat_screen import ChatScreen
from llava_tui.session.session import ChatSession
from llava_tui.widgets.preview import PictureCells
from llava_tui.widgets.prompt import PromptText

HERE = Path(__file__).parent
PICTURE = HERE.parent / "llava_engine" / "embedded" / "samples" / "shapes.png"
QUESTIONS = ("What is in this picture?", "What colour is the star?")


async def draw(model: str | None, folder: Path) -> None:
    """Ask the questions and keep what stands on the screen then."""
    store = Store.open(folder)
    session = ChatSession(store)
    app = LlavaApp(session, store.chats, lambda tell: llava_engine.load(model, on_progress=tell), tiny=model is None)
    async with app.run_test(size=(100, 34)) as pilot:
        screen = app.screen
        assert isinstance(screen, ChatScreen)
        screen.query_one(PromptText).cursor_blink = False
        session.attach(PICTURE)
        for question in QUESTIONS:
            session.send(question)
            while session.phase != "idle" or session.tray.opening or session.facts.waiting:
                await asyncio.sleep(0.1)
        while not all(cells.loaded for cells in screen.transcript.query(PictureCells)):
            await asyncio.sleep(0.1)
        await asyncio.sleep(0.5)
        await pilot.pause()
        (HERE / "screenshot.svg").write_text(app.export_screenshot(title="llava chat"), encoding="utf-8")
    session.close()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(draw(sys.argv[1] if len(sys.argv) > 1 else None, Path(folder)))
