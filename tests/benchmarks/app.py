"""The app as a person at a terminal meets it: first frame, keys while text streams, Esc, memory, opening a long chat.

    python tests/benchmarks/app.py [frame keys esc memory open] [--rounds 5] [--seconds 10] [--model FOLDER]

Everything runs in a pseudo-terminal of 120 by 40 cells, beside a peer in the same run. Next to wall times stand CPU
times of the program, since other work on the machine counts in the first only; "UI" is its interface's thread.
`--model` is for the keys while a real engine answers; without it, a random one of 26M parameters is made.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import run

from PIL import Image, ImageDraw

from tests.benchmarks.pseudo_terminal import COLUMNS, ROWS, PseudoTerminal

PROGRAM = [sys.executable, "-m", "tests.benchmarks.app_program"]
MINIMAL = [*PROGRAM, "textual"]
LLAVA = [sys.executable, "-c", "from llava_tui.cli import main; main()", "chat"]

RATE = 60
"""Words a second that the scripted engine says."""

LETTERS = [chr(code) for code in range(0x1401, 0x1600)]
"""What is typed: syllabics, one cell wide, that stand nowhere else, so that each one's echo is its own."""

EMPTY_LINE, NEW_CHAT, ESCAPE = "\x15", "\x0e", "\x1b"
"""Ctrl+U, Ctrl+N, Esc."""

EVERY_S = 0.097
"""A key is pressed this often, give or take; no multiple of the app's 50 ms."""


@dataclass
class Bench:
    """What all measurements share: how long they take, and a folder that goes."""

    rounds: int
    seconds: float
    model: str | None
    folder: Path
    _home: Iterator[int] = field(default_factory=itertools.count)

    @contextmanager
    def terminal(self, *command: str, home: Path | None = None, silent: bool = False) -> Iterator[PseudoTerminal]:
        """The program in a terminal, with a history of its own unless `home` says which."""
        home = home or self.folder / f"home{next(self._home)}"
        with PseudoTerminal(command, {"LLAVA_HOME": str(home)}, silent=silent) as terminal:
            yield terminal

    def scripted(self, home: Path | None = None) -> Sequence[str]:
        """The command of llava's app over an engine that says more than anybody waits for."""
        return [*PROGRAM, "scripted", str(RATE), str(round(RATE * (self.seconds + 60)))]


# First frame


def frame(bench: Bench) -> None:
    """From the start of the process until the first frame, which holds the whole screen, has come."""
    picture = bench.folder / "circle.png"
    image = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(image).ellipse((200, 120, 440, 360), fill="red")
    image.save(picture)
    chat = [*LLAVA, str(picture)]
    rows: list[tuple[str, str, list[str], list[str], bool]] = [
        ("minimal Textual app", "", MINIMAL, ["ready"], False),
        ("llava chat picture.png", "< 0.45", chat, ["Ask about a picture"], False),
        ("  its picture beside the prompt", "", chat, ["Ask about a picture", "640×480"], False),
        ("minimal Textual app, terminal silent", "", MINIMAL, ["ready"], True),
        ("llava chat picture.png, terminal silent", "", chat, ["Ask about a picture"], True),
    ]
    print(f"{'first frame':44} {'wall s':>8} {'best':>8} {'CPU s':>8}")
    for name, target, command, marks, silent in rows:
        walls, cpus = [], []
        for _ in range(bench.rounds + 1):
            with bench.terminal(*command, silent=silent) as terminal:
                walls.append(max(terminal.sees(mark) for mark in marks) - terminal.began)
                cpus.append(terminal.cpu())
        del walls[0], cpus[0]  # in which files are read for the first time, and bytecode may be written
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        print(f"{name:44} {wall:8.3f} {min(walls):8.3f} {cpu:8.3f}  {target}", flush=True)


# Keys


@dataclass(frozen=True)
class Typed:
    """How typing went: milliseconds from each key to its letter, and shares of a core meanwhile."""

    waits: list[float]
    interface: float
    process: float

    def __str__(self) -> str:
        late = sorted(self.waits)
        p95 = late[min(len(late) - 1, round(0.95 * len(late)))]
        return (
            f"{len(late):5d} {statistics.median(late):7.0f} {p95:7.0f} {late[-1]:7.0f}"
            f" {self.interface:8.1%} {self.process:8.1%}"
        )


def typing(terminal: PseudoTerminal, enough: Callable[[], bool]) -> Typed:
    """Press a key about every 97 ms, whether or not the one before has been echoed, until it is enough.

    Every 80 keys the line is emptied, so that it stays one line.
    """
    dice = random.Random(0)
    letters = iter(LETTERS)
    open_keys: dict[str, float] = {}
    waits: list[float] = []
    began, interface, process = time.perf_counter(), terminal.interface_cpu(), terminal.cpu()
    due, pressed = began, 0
    while not enough() or open_keys:
        now = time.perf_counter()
        if now >= due:
            due += EVERY_S * dice.uniform(0.8, 1.2)
            if not enough():
                pressed += 1
                if pressed % 80 == 0:
                    terminal.press(EMPTY_LINE)
                else:
                    letter = next(letters)
                    open_keys[letter] = terminal.press(letter)
        for letter in terminal.hear(due - now):
            if letter in open_keys:
                waits.append(1000 * (time.perf_counter() - open_keys.pop(letter)))
    took = time.perf_counter() - began
    return Typed(waits, (terminal.interface_cpu() - interface) / took, (terminal.cpu() - process) / took)


def keys(bench: Bench) -> None:
    """From each key to its letter on the screen: idle, while words stream, while a model is loaded and answers."""
    print(f"{'key echo, ms':44} {'keys':>5} {'p50':>7} {'p95':>7} {'max':>7} {'UI CPU':>8} {'all CPU':>8}")

    def row(name: str, typed: Typed, target: str = "") -> None:
        print(f"{name:44} {typed}  {target}", flush=True)

    def lasting() -> Callable[[], bool]:
        end = time.perf_counter() + bench.seconds
        return lambda: time.perf_counter() >= end

    with bench.terminal(*MINIMAL) as terminal:
        terminal.sees("ready")
        row("minimal Textual app", typing(terminal, lasting()))
    with bench.terminal(*PROGRAM, "textual-streaming", str(RATE), str(round(RATE * (bench.seconds + 60)))) as terminal:
        terminal.sees("w9")
        row(f"the same, {RATE} words/s stream", typing(terminal, lasting()))
    with bench.terminal(*bench.scripted()) as terminal:
        terminal.sees("ready")
        terminal.rest(1)
        resting, now = terminal.interface_cpu(), time.perf_counter()
        terminal.rest(bench.seconds / 2)
        share = (terminal.interface_cpu() - resting) / (time.perf_counter() - now)
        row("llava chat, nothing streams", typing(terminal, lasting()))
        ask(terminal)
        terminal.sees("w9")
        row(f"llava chat, {RATE} words/s stream", typing(terminal, lasting()), "p95 < 75, UI CPU < 15 %")
    model = bench.model or random_model(bench)
    with bench.terminal(*LLAVA, "--model", model, "--max-new-tokens", "16000") as terminal:
        terminal.sees("Ask about a picture")
        row(
            "llava chat loads torch and a model",
            typing(terminal, lambda: "ready" in terminal.text),
            "p95 < 200, max < 800",
        )
        ask(terminal)
        terminal.sees("tokens/s")
        typed = typing(terminal, lasting())
        rates = re.findall(r"(\d+) tokens/s", terminal.text)
        row(f"llava chat, a model answers, {rates[-1]} tokens/s", typed)
    print(f"{'llava chat, nothing happens at all':44} {'':29} {share:8.1%}")


def ask(terminal: PseudoTerminal) -> None:
    """Send a message in place of what was typed."""
    terminal.forget()
    terminal.press(EMPTY_LINE)
    terminal.sees("Ask about a picture")
    terminal.press("tell\r")


def random_model(bench: Bench) -> str:
    """The folder of a model, made in another process: none of this one's memory is to be torch's."""
    folder = bench.folder / "model"
    run([*PROGRAM, "model", str(folder)], cwd=Path(__file__).parents[2], check=True)
    return str(folder)


# Esc


def esc(bench: Bench) -> None:
    """From Esc, while words stream, to the last word that comes, and until the answer is marked as stopped."""
    dice = random.Random(0)
    silences: list[float] = []
    marks: list[float] = []
    with bench.terminal(*bench.scripted()) as terminal:
        terminal.sees("ready")
        for _ in range(2 * bench.rounds):
            terminal.press(NEW_CHAT)  # so that no older answer's words are drawn again
            terminal.rest(0.5)
            terminal.forget()
            terminal.press("tell\r")
            terminal.sees("w20")
            terminal.rest(dice.uniform(0.3, 0.6))
            most, last = last_word(terminal.text), 0.0
            pressed = terminal.press(ESCAPE)
            while "stopped" not in terminal.text or time.perf_counter() < pressed + 1:
                terminal.hear(0.1)
                now = time.perf_counter()
                if (word := last_word(terminal.text)) > most:
                    most, last = word, now - pressed
                if "stopped" in terminal.text and len(marks) == len(silences):
                    marks.append(now - pressed)
            silences.append(last)
    print(f"{'Esc, ms':44} {'p50':>7} {'max':>7}")
    for name, times, target in (
        ("to the last word", silences, "max < 100"),
        ("to the mark that it is stopped, and kept", marks, ""),
    ):
        print(f"{name:44} {1000 * statistics.median(times):7.0f} {1000 * max(times):7.0f}  {target}")


def last_word(text: str) -> int:
    """The highest number among the scripted engine's words."""
    return max((int(number) for number in re.findall(r"\bw(\d+) ", text)), default=-1)


# Memory


def memory(bench: Bench) -> None:
    """Resident memory a second after the first frame."""
    print(f"{'memory, MB':44} {'RSS':>7}")
    for name, command, mark, target in (
        ("minimal Textual app", MINIMAL, "ready", ""),
        ("llava's app without a model", bench.scripted(), "Ask about a picture", "< 80"),
    ):
        with bench.terminal(*command) as terminal:
            terminal.sees(mark)
            terminal.rest(1)
            print(f"{name:44} {terminal.memory():7.1f}  {target}", flush=True)


# Opening a chat


def open_chat(bench: Bench) -> None:
    """From Enter in the list of earlier chats to the end of the conversation on the screen."""
    home = bench.folder / "long"
    for messages in (40, 10_000):
        run([*PROGRAM, "chats", str(home / "data"), str(messages)], cwd=Path(__file__).parents[2], check=True)
    print(f"{'opening a chat':44} {'wall s':>8} {'best':>8} {'CPU s':>8} {'RSS MB':>8}")
    for messages, target in ((40, ""), (10_000, "< 0.3")):
        walls, cpus = [], []
        with bench.terminal(*bench.scripted(), home=home) as terminal:
            terminal.sees("ready")
            for _ in range(bench.rounds):
                terminal.forget()
                terminal.press(f"/history of {messages}")
                terminal.sees(f"{messages}")
                terminal.press("\r")
                terminal.sees("Earlier chats")
                terminal.sees("Ctrl+D")
                terminal.rest(0.3)
                terminal.forget()
                cpu, pressed = terminal.cpu(), terminal.press("\r")
                walls.append(terminal.sees("Nothing stands behind it.") - pressed)
                cpus.append(terminal.cpu() - cpu)
                terminal.rest(0.5)
                terminal.press(NEW_CHAT)
                terminal.rest(0.5)
            rss = terminal.memory()
        name = f"of {messages:,} messages"
        wall, cpu = statistics.median(walls), statistics.median(cpus)
        print(f"{name:44} {wall:8.3f} {min(walls):8.3f} {cpu:8.3f} {rss:8.1f}  {target}", flush=True)


FIGURES = {"frame": frame, "keys": keys, "esc": esc, "memory": memory, "open": open_chat}


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", help=f"which ones; all of {', '.join(FIGURES)} without")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10, help="of typing, for each row")
    parser.add_argument("--model", help="a folder, for the keys while it answers at length")
    options = parser.parse_args()
    load = os.getloadavg()[0]
    print(f"{COLUMNS} by {ROWS} cells, {os.cpu_count()} cores, load average {load:.1f}; targets: a quiet machine")
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(options.rounds, options.seconds, options.model, Path(folder))
        for name in options.figures or FIGURES:
            print()
            FIGURES[name](bench)


if __name__ == "__main__":
    main()
