"""A command as a process of its own, and what it took; and the peer of everything that writes a model: a plain copy."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass

COPY = """
import os, shutil, sys
from pathlib import Path
source, target = map(Path, sys.argv[1:])
target.mkdir()
for file in source.iterdir():
    shutil.copyfile(file, target / file.name)
    with open(target / file.name, 'rb+') as written:
        os.fsync(written.fileno())
"""


@dataclass(frozen=True)
class Took:
    """Wall seconds, CPU seconds and the most memory of a process, in MiB, files that it maps included."""

    wall: float
    cpu: float
    peak: float

    def show(self, name: str, size: int) -> None:
        """Print a line about it, for a result of `size` bytes."""
        print(
            f"  {name:<10} {self.wall:6.2f} s  {size / self.wall / 1e6:6.0f} MB/s of result   CPU {self.cpu:5.2f} s   "
            f"peak {self.peak:6.0f} MiB",
            flush=True,
        )


def run(command: list[str]) -> Took:
    """Run it to its end, what it prints unseen; one that fails ends the benchmark."""
    begun = time.perf_counter()
    quiet = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0), (os.POSIX_SPAWN_DUP2, 1, 2)]
    process = os.posix_spawn(command[0], command, {**os.environ, "OMP_NUM_THREADS": "1"}, file_actions=quiet)
    _, status, usage = os.wait4(process, 0)
    if status:
        raise SystemExit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return Took(time.perf_counter() - begun, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
