"""A bug leaves a report on this machine: traceback and versions, no text of any conversation.

Nothing is sent anywhere.
"""

from __future__ import annotations

from pathlib import Path


def write_report(error: BaseException, folder: Path) -> Path | None:
    """Write a crash file into `folder` (usually `user_paths().state`); its path, or None when it can not be written."""
    raise NotImplementedError
