"""Servers as processes, clients that read streams by hand, and a line of figures about many requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

from tests.llava_engine.server.api import CHAT, user
from tests.source import ROOT

QUESTIONS = ("What is in this picture?", "How many things are there?", "What colours do you see?", "Is there a dog?")
PICTURES = sorted((ROOT / "llava_engine" / "embedded" / "samples").glob("*.png"))


@dataclass
class Server:
    """A server that was started here, or is there already."""

    port: int
    process: subprocess.Popen[str] | None = None

    def metric(self, name: str) -> float:
        with urlopen(f"http://127.0.0.1:{self.port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"llava_{name} ")), 0.0)

    def _status(self, name: str) -> int:
        assert self.process
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()  # Linux only
        return next(int(line.split()[1]) for line in lines if line.startswith(name))

    @property
    def rss_mb(self) -> float:
        return self._status("VmRSS") / 1000

    @property
    def threads(self) -> int:
        return self._status("Threads")

    @property
    def cpu_s(self) -> float:
        assert self.process
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def started(command: list[str], begins: str) -> Iterator[Server]:
    """A command that says its port; `begins` stands before it."""
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout
    try:
        line = process.stdout.readline()
        port = int(line.removeprefix(begins).split("/")[0])
        if not begins:
            process.stdout.readline()  # ready
        yield Server(port, process)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        finally:
            process.kill()


def scripted(slots: int, queue: int, words: int, token_ms: float) -> Any:
    arguments = (token_ms / 1000, words, 1, 0, slots, queue)
    return started([sys.executable, "-m", "tests.llava_engine.server.served", *map(str, arguments)], "")


def served(slots: int, queue: int, words: list[str]) -> Any:
    code = "from llava_tui.cli import main; main()"
    options = ["--port", "0", "--slots", str(slots), "--queue", str(queue), *words]
    return started([sys.executable, "-c", code, "serve", *options], "http://127.0.0.1:")


@dataclass
class Asked:
    """What one request came to, in seconds."""

    status: int = 0
    first: float = 0.0
    gaps: list[float] = field(default_factory=list)
    pieces: int = 0
    text: str = ""
    whole: float = 0.0


def request(body: dict[str, Any]) -> bytes:
    content = json.dumps(body).encode()
    head = f"POST {CHAT} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def lines(reader: asyncio.StreamReader) -> AsyncIterator[bytes]:
    while line := await reader.readline():
        yield line


async def ask(port: int, asked: bytes) -> Asked:
    """A streamed answer, read as it comes."""
    found = Asked()
    begun = last = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**22)
    try:
        writer.write(asked)
        await writer.drain()
        found.status = int((await reader.readline()).split()[1])
        async for line in lines(reader):
            if (
                not line.startswith(b'data: {"')
                or b'"content": ""' in line
                or b'"content":"' not in line.replace(b" ", b"")
            ):
                continue
            now = time.perf_counter()
            if found.pieces:
                found.gaps.append(now - last)
            else:
                found.first = now - begun
            last, found.pieces = now, found.pieces + 1
            found.text += json.loads(line[6:])["choices"][0]["delta"].get("content") or ""
        found.whole = time.perf_counter() - begun
    finally:
        writer.close()
    return found


def of_pictures() -> list[bytes]:
    """One request for each picture and question."""
    return [
        request({"messages": [user(question, picture.read_bytes())], "stream": True, "max_tokens": 64})
        for picture in PICTURES
        for question in QUESTIONS
    ]


def at(values: list[float], share: float) -> float:
    return sorted(values)[min(int(share * len(values)), len(values) - 1)] if values else float("nan")


def _three(values: list[float]) -> str:
    return "p50 {:.1f} p95 {:.1f} p99 {:.1f}".format(*(1e3 * at(values, share) for share in (0.5, 0.95, 0.99)))


def show(name: str, asked: list[Asked], seconds: float) -> float:
    """A line about many requests; the pieces of text a second."""
    good = [one for one in asked if one.status == 200]
    first, gaps = [one.first for one in good if one.pieces], [gap for one in good for gap in one.gaps]
    rate = sum(one.pieces for one in good) / seconds
    refused = sum(one.status in (429, 503) for one in asked)  # the queue is full, or too many are being read
    print(
        f"  {name:<20} {len(good) / seconds:6.1f} answers/s {rate:7.0f} pieces/s   first {_three(first)} ms   "
        f"gap {_three(gaps)} ms   refused: {refused}   other: {len(asked) - len(good) - refused}",
        flush=True,
    )
    return rate
