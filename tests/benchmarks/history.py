"""How quick a long history is: opening, the last turns of a long chat, a page in its middle, searching, saving.

    python tests/benchmarks/history.py [--messages 100000] [--rounds 20]

Beside each figure, in the same run, what the plain way costs: reading a chat whole, searching with LIKE.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from llava_tui.history.store import Store
from llava_tui.session.session import ChatSession

WORDS = [
    "red",
    "blue",
    "green",
    "circle",
    "square",
    "star",
    "heart",
    "what",
    "colour",
    "left",
    "right",
    "above",
    "many",
]
LONG = 10_000


def fill(folder: Path, messages: int) -> int:
    """Write chats, the first with 10,000 messages; its key."""
    draw = random.Random(1)
    store = Store.open(folder)
    keys = []
    for length in (LONG, *[5_000] * ((messages - LONG) // 5_000)):
        chat, parent = store.new_chat(" ".join(draw.choices(WORDS, k=4))), None
        for number in range(length):
            text = f"{' '.join(draw.choices(WORDS, k=30))} n{number}"
            parent = store.add_turn(chat.id, parent, "assistant" if number % 2 else "user", text).id
        keys.append(chat.id)
    store.close()
    return keys[0]


def milliseconds(act: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Median and best."""
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        act()
        times.append(1000 * (time.perf_counter() - began))
    return statistics.median(times), min(times)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=20)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        chat = fill(folder, options.messages)
        store = Store.open(folder)
        plain = sqlite3.connect(folder / "history.sqlite3")
        middle = store.turns(chat, limit=LONG // 2)[0].id
        session = ChatSession(Store.open(folder))

        def open_chat() -> None:
            session.open_chat(chat)
            session.poll()
            session.page()

        def like() -> None:
            plain.execute("SELECT id FROM turns WHERE text LIKE '%n777%'").fetchall()

        rows: list[tuple[str, Callable[[], object]]] = [
            ("open the history", lambda: Store.open(folder).close()),
            ("show a chat of 10,000", open_chat),
            ("its last 40 turns", lambda: store.turns(chat)),
            ("40 turns in its middle", lambda: store.turns(chat, before=middle)),
            ("  plain: all of its turns", lambda: store.turns(chat, limit=LONG)),
            ("list of chats", store.chats),
            ("search, a rare word begun", lambda: store.chats("n777")),
            ("search, a word in most turns", lambda: store.chats("red")),
            ("  plain: LIKE, a rare word", like),
            ("save a turn", lambda: store.add_turn(chat, None, "user", "hello")),
        ]
        print(f"{options.messages:,} messages{'':16} {'median ms':>10} {'best ms':>10}")
        for what, act in rows:
            median, best = milliseconds(act, options.rounds)
            print(f"{what:32} {median:10.2f} {best:10.2f}", flush=True)
        plain.close()
        store.close()
        session.close()


if __name__ == "__main__":
    main()
