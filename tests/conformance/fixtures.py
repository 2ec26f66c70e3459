"""Where the conformance fixtures are: ../shared/conformance beside the repository, or $LLAVA_CONFORMANCE."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

FIXTURES = Path(os.environ.get("LLAVA_CONFORMANCE") or Path(__file__).parents[2].parent / "shared" / "conformance")

needs_fixtures = pytest.mark.skipif(
    not (FIXTURES / "manifest.json").exists(),
    reason="the conformance fixtures are not there: set LLAVA_CONFORMANCE to their folder",
)


def golden(name: str) -> Any:
    """A golden file's content, from goldens/."""
    return json.loads((FIXTURES / "goldens" / name).read_text("utf-8"))


def error_of(call: Callable[[], object]) -> str | None:
    """The class of what a call fails with, as goldens name it, of whatever kind it is; None when it succeeds."""
    try:
        call()
    except Exception as error:
        return type(error).__name__
    return None
