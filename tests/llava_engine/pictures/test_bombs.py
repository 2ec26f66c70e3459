"""A file of 50 MB at most takes less than a GB and 15 seconds of work, whatever is in it.

The seconds are limits that the system keeps: 7 here, 8 in the process that decodes apart. How long each bomb takes is
measured by tests/benchmarks/bombs.py.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.llava_engine.pictures.bombs import BOMBS, FAST

# What it came to, and the peaks and the work of the process that opens and of those that it starts.
MEASURED = """
import json, resource, sys
from llava_engine import PictureError, open_picture
sys.setrecursionlimit(1000)
try:
    end = list(open_picture(sys.argv[1]).image.size)
except PictureError as error:
    end = error.cause
own, others = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
work = own.ru_utime + own.ru_stime + others.ru_utime + others.ru_stime
print(json.dumps([end, max(own.ru_maxrss, others.ru_maxrss), work]))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peaks are counted in KiB on Linux alone")
@pytest.mark.parametrize(
    "name", [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in BOMBS]
)
def test_no_picture_takes_a_gigabyte_or_fifteen_seconds(name: str, tmp_path: Path) -> None:
    path = tmp_path / "bomb"
    path.write_bytes(BOMBS[name]())
    assert path.stat().st_size < 50_000_000
    done = subprocess.run(
        # The shell between is small: a process begins with the peak of the one that started it.
        # Its own limit is a soft one: the process that decodes apart sets another.
        ["sh", "-c", 'ulimit -S -t 7; "$@"; exit $?', "sh", sys.executable, "-c", MEASURED, str(path)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", "decoders write nothing to a terminal"
    _end, peak_kib, _seconds = json.loads(done.stdout)
    assert peak_kib * 1024 < 1_000_000_000
