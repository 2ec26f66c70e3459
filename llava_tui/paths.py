"""Where our files are: data, config, state and cache folders of this user, made for this user alone when needed.

$LLAVA_HOME puts all four below one folder (portable use, tests).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Paths:
    """Folders; none need exist.

    Attributes:
        data: chats and their pictures; `Store.open(paths.data)`.
        config: settings.
        state: crash files, logs.
        cache: what can be made again.
    """

    data: Path
    config: Path
    state: Path
    cache: Path


def user_paths(env: Mapping[str, str] = os.environ) -> Paths:
    """This user's folders."""
    if home := env.get("LLAVA_HOME"):
        root = Path(home).expanduser()
        return Paths(data=root / "data", config=root / "config", state=root / "state", cache=root / "cache")
    from platformdirs import PlatformDirs

    dirs = PlatformDirs("llava", appauthor=False)
    return Paths(
        data=dirs.user_data_path, config=dirs.user_config_path, state=dirs.user_state_path, cache=dirs.user_cache_path
    )


def make_private(folder: Path) -> None:
    """Create a folder, and those above it that are missing, for this user alone (XDG Base Directory Specification).

    `Path.mkdir` gives its mode to the last one only. Raises `OSError`.
    """
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(mode=0o700, exist_ok=True)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))
