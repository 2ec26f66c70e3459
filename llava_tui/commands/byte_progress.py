"""A bar of bytes on standard error while somebody looks, and nothing in a pipe.

For work on files that tells `LoadProgress`. Knows nothing of what is done.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from llava_engine.contract import LoadProgress
from llava_engine.terminal_safe import one_line

_SECONDS_BETWEEN = 0.1  # pieces are small, and there are many


@contextmanager
def byte_progress(*, shown: bool = True) -> Iterator[Callable[[LoadProgress], None] | None]:
    """What to call with progress, for the length of the block; None when nobody looks, or nothing is to be `shown`."""
    if not (shown and sys.stderr.isatty()):
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task("checking", total=None)
        told, stage = 0.0, ""

        def tell(at: LoadProgress) -> None:
            nonlocal told, stage
            if at.stage != stage or at.done == at.total or time.monotonic() - told > _SECONDS_BETWEEN:
                if not stage:  # what was there before has no speed
                    bars.reset(bar, total=at.total, completed=at.done)
                told, stage = time.monotonic(), at.stage
                bars.update(bar, completed=at.done, total=at.total, description=one_line(at.stage))

        yield tell
