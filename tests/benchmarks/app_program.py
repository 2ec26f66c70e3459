"""What app.py runs in a terminal: minimal Textual apps, and `llava chat` over a scripted engine; and what they need.

    python -m tests.benchmarks.app_program textual | textual-streaming RATE TOKENS | scripted RATE TOKENS
    python -m tests.benchmarks.app_program model FOLDER | chats FOLDER MESSAGES

Imports no torch, except to make a model.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload


def textual() -> None:
    """An app that shows one line and takes keys in another."""
    from textual.app import App, ComposeResult
    from textual.widgets import Static, TextArea

    class Minimal(App[None]):
        def compose(self) -> ComposeResult:
            yield Static("ready")
            yield TextArea()

    Minimal().run()


def textual_streaming(rate: float, tokens: int) -> None:
    """The least that shows Markdown while it grows: what came is appended every 50 ms, and the end stays in sight."""
    from textual.app import App, ComposeResult
    from textual.containers import VerticalScroll
    from textual.widgets import Markdown, TextArea

    class Streaming(App[None]):
        CSS = "VerticalScroll { height: 1fr; } TextArea { height: 3; }"
        AUTO_FOCUS = "TextArea"

        def compose(self) -> ComposeResult:
            with VerticalScroll():
                yield Markdown()
            yield TextArea(compact=True)

        def on_ready(self) -> None:
            self.query_one(VerticalScroll).anchor()
            self._began, self._said = time.monotonic(), 0
            self._words = words(tokens)
            self.set_interval(0.05, self._grow)

        async def _grow(self) -> None:
            now = min(tokens, round(rate * (time.monotonic() - self._began)))
            await self.query_one(Markdown).append("".join(self._words[self._said : now]))
            self._said = now

    Streaming().run()


def scripted(rate: float, tokens: int) -> None:
    """`llava chat` as it is, but for its model: every answer is `tokens` words at `rate` a second."""
    import llava_engine
    from llava_tui.cli import main
    from tests.fakes.fake_engine import FakeEngine

    engine = FakeEngine(Paced(words(tokens), rate))
    vars(llava_engine)["load"] = lambda model, **settings: engine
    sys.argv = ["llava", "chat"]
    main()


class Paced(Sequence[str]):
    """Pieces that come at a steady rate, from the moment when one begins to take them; late ones at once."""

    def __init__(self, pieces: Sequence[str], rate: float) -> None:
        self._pieces = pieces
        self._rate = rate

    def __len__(self) -> int:
        return len(self._pieces)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[str]: ...
    def __getitem__(self, index: int | slice) -> str | Sequence[str]:
        return self._pieces[index]

    def __iter__(self) -> Iterator[str]:
        began = time.monotonic()
        for number, piece in enumerate(self._pieces):
            time.sleep(max(0.0, began + number / self._rate - time.monotonic()))
            yield piece


def words(count: int) -> list[str]:
    """Numbered words in paragraphs of Markdown, with a list and a fence in every third."""
    pieces = []
    for number in range(count):
        place = number % 180
        before = ""
        if number and place in (0, 60, 120):
            before = "\n\n"
        elif 130 <= place < 160 and place % 10 == 0:
            before = "\n\n- " if place == 130 else "\n- "
        elif place == 160:
            before = "\n\n```\n"
        elif place == 170:
            before = "\n```\n\n"
        pieces.append(f"{before}w{number} ")
    return pieces


def model(folder: Path) -> None:
    """A random LLaVA of 26M parameters, whose answers hardly ever end by themselves."""
    from dataclasses import replace

    from tests.benchmarks.decoding import shape
    from tests.llava_engine.tiny import complete

    config = shape(8, 512)
    language = replace(config.language, vocab_size=400, max_position_embeddings=16384)
    complete(replace(config, language=language), folder)


def chats(folder: Path, messages: int) -> None:
    """A history with one chat of `messages` messages, named after their number."""
    import sqlite3

    from llava_tui.history.database import open_database, transaction

    folder.mkdir(parents=True, exist_ok=True)
    db = open_database(folder / "history.sqlite3")

    def fill(db: sqlite3.Connection) -> None:
        now = time.time()
        chat = db.execute(
            "INSERT INTO chats(title, created, updated) VALUES (?, ?, ?)", (f"chat of {messages}", now, now)
        ).lastrowid
        first = db.execute("SELECT coalesce(max(id), 0) + 1 FROM turns").fetchone()[0]
        db.executemany(
            "INSERT INTO turns(id, chat_id, parent_id, shown_child_id, role, text, status, created)"
            " VALUES (?, ?, ?, ?, ?, ?, 'complete', ?)",
            (
                (
                    first + number,
                    chat,
                    first + number - 1 if number else None,
                    first + number + 1 if number + 1 < messages else None,
                    ("user", "assistant")[number % 2],
                    message(number, last=number + 1 == messages),
                    now,
                )
                for number in range(messages)
            ),
        )
        db.execute("UPDATE chats SET leaf_id = ? WHERE id = ?", (first + messages - 1, chat))

    transaction(db, fill)
    db.close()


def message(number: int, *, last: bool) -> str:
    """A question, or an answer of two paragraphs and a list; the very last one says so."""
    if number % 2 == 0:
        return f"What else is there to be seen in picture {number}, and where does it stand?"
    end = "Nothing stands behind it." if last else "Behind it stands another one."
    return (
        f"In picture {number} there is a **red circle** above a green square, and between them a narrow white stripe"
        " that runs from one side to the other.\n\n- the circle: red, filled, large\n- the square: green, outlined\n\n"
        f"{end}"
    )


def main() -> None:
    """Do what the command line says."""
    match sys.argv[1:]:
        case ["textual"]:
            textual()
        case ["textual-streaming", rate, tokens]:
            textual_streaming(float(rate), int(tokens))
        case ["scripted", rate, tokens]:
            scripted(float(rate), int(tokens))
        case ["model", folder]:
            model(Path(folder))
        case ["chats", folder, messages]:
            chats(Path(folder), int(messages))
        case _:
            raise SystemExit(__doc__)


if __name__ == "__main__":
    main()
