"""How long a person waits: help, version, the first token of `llava ask`, the first frame of `llava chat`.

    python tests/benchmarks/startup.py [--rounds 5] [--model FOLDER]

Every figure is the wall time from process start, next to the CPU time of that process, since other work on the machine
counts in the first only. Peers in the same run: an empty interpreter, a Textual app of one line, `import torch`,
and transformers' LLaVA class.
"""

from __future__ import annotations

import argparse
import os
import pty
import re
import select
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw

LLAVA = [sys.executable, "-c", "from llava_tui.cli import main; main()"]

ONE_LINE_APP = """
from textual.app import App
from textual.widgets import Static
class OneLine(App):
    def compose(self):
        yield Static("one line")
OneLine().run()
"""


@dataclass(frozen=True)
class Wait:
    """Seconds from process start until there was something to see, and CPU seconds of the process by then."""

    wall: float
    cpu: float


def until_exit(*command: str) -> Wait:
    """Until the process has ended."""
    before, start = os.times(), time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, check=True)
    wall, after = time.perf_counter() - start, os.times()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return Wait(wall, used)


def until_output(*command: str) -> Wait:
    """Until the first byte on standard output."""
    start = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL) as process:
        assert process.stdout
        if not process.stdout.read(1):
            raise SystemExit(f"{' '.join(command)} said nothing")
        wait = Wait(time.perf_counter() - start, cpu_seconds(process.pid))
        process.stdout.read()
    return wait


def until_frame(text: str, *command: str) -> Wait:
    """Until a terminal of 100 by 30 cells has been sent this text; then the process is ended."""
    start = time.perf_counter()
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LLAVA_IMAGES": "halfcell"}
        os.execv(command[0], command)
    import fcntl
    import termios

    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    sent = ""
    while text not in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", sent):
        if not select.select([terminal], [], [], 30)[0]:
            raise SystemExit(f"{text!r} did not appear")
        sent += os.read(terminal, 65536).decode(errors="replace")
    wait = Wait(time.perf_counter() - start, cpu_seconds(pid))
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    os.close(terminal)
    return wait


def cpu_seconds(pid: int) -> float:
    """CPU time of a running process (Linux only; 0 elsewhere)."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--model", help="for ask and chat; without it the embedded one")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    os.environ["LLAVA_HOME"] = str(folder / "home")
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # an installed llava has its bytecode
    image = Image.new("RGB", (640, 480), "white")
    ImageDraw.Draw(image).ellipse((200, 120, 440, 360), fill="red")
    image.save(folder / "circle.png")
    model = ["--model", options.model] if options.model else []
    ask = [*LLAVA, "ask", "-i", str(folder / "circle.png"), "-q", "What is in this picture?", *model]
    python = [sys.executable, "-c"]

    rows: list[tuple[str, str, Callable[[], Wait]]] = [
        ("python -c pass", "", lambda: until_exit(*python, "pass")),
        ("llava --help", "< 0.25", lambda: until_exit(*LLAVA, "--help")),
        ("llava --version", "< 0.25", lambda: until_exit(*LLAVA, "--version")),
        ("a Textual app of one line", "", lambda: until_frame("one line", *python, ONE_LINE_APP)),
        ("llava chat, first frame", "< 0.45", lambda: until_frame("llava", *LLAVA, "chat", *model)),
        ("import torch", "", lambda: until_exit(*python, "import torch")),
        ("llava ask, first token", "< 3", lambda: until_output(*ask)),
        (
            "transformers' LLaVA class, imported",
            "",
            lambda: until_exit(*python, "from transformers import LlavaForConditionalGeneration"),
        ),
    ]
    print(f"{'':36} {'wall s':>8} {'best':>8} {'CPU s':>8}  target, on a quiet machine")
    for name, target, measure in rows:
        measure()  # not counted: files are read for the first time, and bytecode may be written
        waits = [measure() for _ in range(options.rounds)]
        wall, best = statistics.median(wait.wall for wait in waits), min(wait.wall for wait in waits)
        cpu = statistics.median(wait.cpu for wait in waits)
        print(f"{name:36} {wall:8.3f} {best:8.3f} {cpu:8.3f}  {target}", flush=True)
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
