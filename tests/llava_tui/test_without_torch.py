"""The app starts, shows itself and answers where torch is not installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

PROGRAM = """
import sys
for name in ("torch", "transformers", "textual_image"):
    sys.modules[name] = None  # importing it now raises, as if it were not installed
import asyncio
from tests.llava_tui.stage import Stage

async def main():
    async with Stage().open() as me:
        await me.says("What is it?")
        await me.answered()
        await me.sees("It is red.")

asyncio.run(main())
"""


def test_the_app_needs_no_torch() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
