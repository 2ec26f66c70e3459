"""The model folders that this person has opened, remembered in a small file: for `llava models list`.

Only paths and times are kept. Not being able to write is no error: nothing depends on it.
"""

from __future__ import annotations

import contextlib
import json
import time
from dataclasses import dataclass
from pathlib import Path

from llava_engine.contract import ModelCard
from llava_engine.errors import StorageError
from llava_engine.files.atomic import write_text
from llava_tui.paths import make_private

KEPT = 100


@dataclass(frozen=True)
class KnownFolder:
    """A folder that was opened: where it is, and when that was last (seconds since 1970)."""

    path: Path
    opened: float


def known_folders(state: Path) -> list[KnownFolder]:
    """All, the latest first; those that are gone from the disk too."""
    try:
        rows = json.loads(_file(state).read_text(encoding="utf-8"))["folders"]
        found = [KnownFolder(Path(row["path"]), float(row["opened"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return []  # none yet, or a file that somebody else wrote
    return sorted(found, key=lambda folder: -folder.opened)


def remember_folder(folder: Path, state: Path) -> None:
    """Note that a folder was opened now."""
    others = [known for known in known_folders(state) if known.path != folder]
    _write([KnownFolder(folder, time.time()), *others][:KEPT], state)


def forget_folder(folder: Path, state: Path) -> bool:
    """Take a folder off the list; whether it was on it. The folder itself is not touched."""
    known = known_folders(state)
    others = [one for one in known if one.path != folder]
    if len(others) == len(known):
        return False
    _write(others, state)
    return True


def remember_model(card: ModelCard) -> None:
    """Note that a model was opened, if it is in a folder of the user's own."""
    from llava_engine.hub.cache import cache_folder, id_of_snapshot
    from llava_tui.paths import user_paths

    if card.folder is not None and not card.embedded and id_of_snapshot(card.folder, cache_folder()) is None:
        remember_folder(card.folder, user_paths().state)


def _file(state: Path) -> Path:
    return state / "models.json"


def _write(folders: list[KnownFolder], state: Path) -> None:
    rows = [{"path": str(folder.path), "opened": folder.opened} for folder in folders]
    with contextlib.suppress(OSError, StorageError):
        make_private(state)
        write_text(_file(state), json.dumps({"folders": rows}, indent=1) + "\n")
