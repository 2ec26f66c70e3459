"""The half of the app that knows no screen imports none, and no model either."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
import llava_tui.session.session, llava_tui.session.pasted_pictures, llava_tui.crash, llava_tui.paths
import llava_tui.terminal.clipboard, llava_tui.terminal.detect, llava_tui.terminal.probe
print(sorted({name.partition(".")[0] for name in sys.modules} & {"textual", "torch", "transformers", "rich", "PIL"}))
"""


def test_the_session_and_all_below_it_load_neither_textual_nor_torch() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
