"""Where our files are: data, config, state and cache folders of this user. It creates nothing.

$LLAVA_HOME puts all four below one folder (portable use, tests).
"""

from __future__ import annotations

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
