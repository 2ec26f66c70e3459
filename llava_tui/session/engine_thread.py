"""The one thread on which an engine is loaded, counts and answers, one job after another.

One thread for all of it, since a torch thread pool belongs to the thread that began it, and an engine does one job at a
time anyhow. It dies with the process, so that a job that hangs can not keep the app open. It knows no engine.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable


class EngineThread:
    """Runs jobs in the order in which they are submitted.

    Args:
        report: is given what a job raises, on this thread.
    """

    def __init__(self, report: Callable[[BaseException], None]) -> None:
        self._report = report
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="llava-engine", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[], None]) -> None:
        """Run `job` after all that were submitted before."""
        self._jobs.put(job)

    def close(self, timeout_s: float) -> bool:
        """End after the submitted jobs, and wait for it; whether it ended in time."""
        self._jobs.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                job()
            except BaseException as error:  # the thread outlives a bad job
                self._report(error)
            del job  # or it would keep its engine alive until the next one
