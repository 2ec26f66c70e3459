"""A function in a process of its own, with so much time and memory and no more: for what a stranger's file makes run.

A value that JSON can say goes in, and one comes out; or it did not end in time, took too much, or died.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

MEMORY_BYTES = 2**30  # beside what Python and its libraries take
_START = "import sys; sys.path[:] = sys.argv[4:]; from llava_engine.limited_process import main; main(*sys.argv[1:4])"


class LimitedProcessError(Exception):
    """It took too long or too much, or it died; in a few words."""


def call_apart(function: str, request: object, *, seconds: float) -> Any:
    """Call a function of ours elsewhere.

    Args:
        function: "package.module:name".
        request: its argument.
        seconds: of computing; on a busy machine it may take twice as long.

    Raises:
        LimitedProcessError: it did not return.
    """
    # -P and our own path: nothing is imported from the folder that somebody happens to work in.
    command = [sys.executable, "-P", "-c", _START, *function.split(":"), str(int(seconds) + 1), *filter(None, sys.path)]
    try:
        done = subprocess.run(
            command,
            input=json.dumps(request).encode(),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=2 * seconds + 5,  # to begin with, Python takes up to a second, on a busy machine a few
            env=os.environ | {"TOKENIZERS_PARALLELISM": "false"},
            check=False,
        )
        return json.loads(done.stdout)
    except subprocess.TimeoutExpired:
        raise LimitedProcessError("it takes too long") from None
    except OSError as error:
        raise LimitedProcessError(f"no process could be begun to try it in ({error.strerror})") from None
    except ValueError:
        raise LimitedProcessError("it takes too much time or memory, or ends the process that reads it") from None


def main(module: str, name: str, seconds: str) -> None:
    """The other process."""
    function = getattr(importlib.import_module(module), name)
    request = json.load(sys.stdin)
    limit_this_process(int(seconds), MEMORY_BYTES)
    sys.stdout.write(json.dumps(function(request)))


def limit_this_process(seconds: int, memory: int) -> None:
    """Let this process compute so many seconds more, and take so many bytes beside what it has.

    Where a system has no such limit (Windows, for memory macOS), the clock of whoever began it remains.
    """
    if sys.platform == "win32":
        return
    import resource

    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    try:
        taken = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()
    except OSError:
        return  # macOS: it neither says what is taken nor keeps to a limit
    resource.setrlimit(resource.RLIMIT_AS, (taken + memory,) * 2)
