"""What hostile pictures take: peak memory and seconds of work of each, beside an ordinary photo in the same run.

    python tests/benchmarks/bombs.py [NAME ...]

Each is opened in a process of its own. Linux only. Without names: all, some minutes.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image

from tests.llava_engine.pictures.bombs import BOMBS
from tests.llava_engine.pictures.test_bombs import MEASURED


def photo() -> bytes:
    """A JPEG of 12 megapixels, as a telephone makes it."""
    out = io.BytesIO()
    Image.effect_noise((4000, 3000), 60).convert("RGB").save(out, "JPEG", quality=85)
    return out.getvalue()


def main(names: list[str]) -> None:
    """Run and print."""
    print(f"{'':44} {'peak MiB':>8} {'work s':>7} {'× photo':>8}")
    ordinary = 0.0
    files: dict[str, Callable[[], bytes]] = {"an ordinary photo": photo}
    files |= {name: BOMBS[name] for name in names or BOMBS}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        for name, make in files.items():
            path.write_bytes(make())
            # The shell between is small: a process begins with the peak of the one that started it.
            command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, "-c", MEASURED, str(path)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            _, peak_kib, seconds = json.loads(done.stdout)
            ordinary = ordinary or seconds
            print(f"{name:44.44} {peak_kib / 1024:8.0f} {seconds:7.2f} {seconds / ordinary:8.1f}", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
