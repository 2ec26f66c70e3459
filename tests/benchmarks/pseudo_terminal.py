"""A program in a pseudo-terminal of 120 by 40 cells: keys go in, and what was written comes out with its time.

It answers what a program asks its terminal, as xterm does, or stays silent. It draws no screen: text is what was sent,
in the order of sending, without control sequences. Knows no program. CPU times and memory are Linux's; 0 elsewhere.
"""

from __future__ import annotations

import codecs
import os
import pty
import re
import select
import struct
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

COLUMNS, ROWS = 120, 40

PATIENCE_S = 60.0

_SEQUENCE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|[_P\]][^\x1b\x07]*(?:\x1b\\|\x07)|[0-9=>\\])")
_ANSWERS = {
    "\x1b[c": "\x1b[?64;1;2;6;9;15;18;21;22c",
    "\x1b[>0q": "\x1bP>|XTerm(390)\x1b\\",
    "\x1b[?2026$p": "\x1b[?2026;2$y",
    "\x1b[?2048$p": "\x1b[?2048;0$y",
}
"""What xterm says to: device attributes, its name, synchronized output, resizes in band."""


class PseudoTerminal:
    """A running program and its terminal; killed when it is left.

    Args:
        command: the program and its arguments; its module path holds the repository.
        environment: added to this process's own.
        silent: answer nothing.

    Attributes:
        began: when the program was started, on the clock of `time.perf_counter`.
        text: all that it has written since the last `forget`, without control sequences.
    """

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], *, silent: bool = False) -> None:
        self.text = ""
        self._answers = {} if silent else _ANSWERS
        self._decode = codecs.getincrementaldecoder("utf-8")(errors="replace").decode
        self._rest = ""  # a control sequence of which the end has not come
        self.began = time.perf_counter()
        self.pid, self._file = pty.fork()
        if self.pid == 0:
            import fcntl
            import termios

            fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
            os.chdir(Path(__file__).parents[2])
            os.environ |= {"TERM": "xterm-256color", "COLORTERM": "truecolor", **environment}
            for name in ("TMUX", "STY", "NO_COLOR", "LLAVA_IMAGES", "ESCDELAY", "PYTHONDONTWRITEBYTECODE"):
                os.environ.pop(name, None)
            os.execv(command[0], command)

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(self.pid, 9)
        os.waitpid(self.pid, 0)
        os.close(self._file)

    def press(self, keys: str) -> float:
        """Send keys; when they were sent."""
        now = time.perf_counter()
        os.write(self._file, keys.encode())
        return now

    def forget(self) -> None:
        """Begin `text` anew."""
        self.text = ""

    def hear(self, seconds: float) -> str:
        """What is written next, waited for so long; "" when nothing was."""
        if not select.select([self._file], [], [], max(0.0, seconds))[0]:
            return ""
        try:
            data = os.read(self._file, 65536)
        except OSError:  # how Linux says that the other end is closed
            raise SystemExit(f"the program ended; it wrote:\n{self.text[-2000:]}") from None
        heard = self._rest + self._decode(data)
        last = heard.rfind("\x1b")
        whole = last < 0 or _SEQUENCE.match(heard, last)
        self._rest = "" if whole else heard[last:]
        text = _SEQUENCE.sub(self._take, heard if whole else heard[:last])
        self.text += text
        return text

    def rest(self, seconds: float) -> None:
        """Let it run so long."""
        end = time.perf_counter() + seconds
        while (left := end - time.perf_counter()) > 0:
            self.hear(left)

    def sees(self, text: str) -> float:
        """Wait until this was written since the last `forget`; when it was."""
        end = time.perf_counter() + PATIENCE_S
        while text not in self.text:
            if time.perf_counter() > end:
                raise SystemExit(f"{text!r} did not appear; the program wrote:\n{self.text[-2000:]}")
            self.hear(0.5)
        return time.perf_counter()

    def cpu(self) -> float:
        """CPU seconds of the program so far, all threads."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except FileNotFoundError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / float(os.sysconf("SC_CLK_TCK"))

    def interface_cpu(self) -> float:
        """CPU seconds of its first thread so far, on which an interface runs."""
        try:
            return int(Path(f"/proc/{self.pid}/task/{self.pid}/schedstat").read_text().split()[0]) / 1e9
        except FileNotFoundError:
            return 0.0

    def memory(self) -> float:
        """Its resident memory in MB (millions of bytes)."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except FileNotFoundError:
            return 0.0
        found = re.search(r"VmRSS:\s+(\d+) kB", status)
        return int(found[1]) * 1024 / 1e6 if found else 0.0

    def _take(self, sequence: re.Match[str]) -> str:
        """Answer a control sequence where it asks; it is no text."""
        answer = self._answers.get(sequence[0])
        if answer:
            os.write(self._file, answer.encode())
        return ""
