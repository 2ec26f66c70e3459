"""A program for test_process.py and tests/benchmarks/serving.py: serves a scripted engine until a signal comes.

Arguments: seconds between the words of an answer, how many words, seconds that an answer may go on after the signal,
seconds that loading takes, how many are answered at once, how many may wait. Its last line says what ended it.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable

from llava_engine.contract import EngineLike
from llava_engine.errors import LoadCancelledError
from llava_engine.server import serving
from llava_engine.server.settings import Settings
from tests.llava_engine.server.api import fake


def main() -> None:
    """Serve."""
    between, words, drain, loading, slots, queue = map(float, sys.argv[1:])
    serving.DRAIN_S = drain
    listening = serving.listen("127.0.0.1", 0)
    print(listening.getsockname()[1], flush=True)

    def load(cancelled: Callable[[], bool]) -> EngineLike:
        end = time.monotonic() + loading
        while time.monotonic() < end:
            if cancelled():
                raise LoadCancelledError
            time.sleep(0.01)
        pause = [between] if between else []
        return fake([step for number in range(int(words)) for step in (f"{number} ", *pause)], slots=int(slots))

    ended = asyncio.run(
        serving.serve(
            load, Settings(queue=int(queue)), listening, write=lambda line: print(line, file=sys.stderr, flush=True),
            on_ready=lambda engine: print("ready", flush=True),
        )
    )  # fmt: skip
    print(f"ended by {ended.name if ended else None}", flush=True)


if __name__ == "__main__":
    main()
