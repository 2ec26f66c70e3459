"""What this terminal can show, and why we think so.

Environment and one short probe go in, `TerminalFacts` come out. The decision is pure; the probe is `terminal_probe.py`.
It never raises, and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

ImageProtocol = Literal["tgp", "sixel", "halfcell", "none"]
"""kitty's graphics protocol · Sixel · two coloured half-blocks a cell (nearly everywhere) · pictures by name only."""

Colours = Literal["none", "16", "256", "truecolor"]


@dataclass(frozen=True)
class ProbeAnswer:
    """What the terminal said.

    Attributes:
        sixel: its device attributes name Sixel.
        tgp: it answered a kitty graphics query.
        name: its own name and version (XTVERSION); "" when it did not say.
    """

    sixel: bool
    tgp: bool
    name: str = ""


@dataclass(frozen=True)
class TerminalFacts:
    """What to use.

    Attributes:
        image_protocol: see `ImageProtocol`.
        colours: how many colours are sure.
        tmux: inside tmux.
        ssh: on another machine than the screen.
        web: in a browser tab (textual-serve).
        why: the reasons, a sentence each, for `llava doctor`.
    """

    image_protocol: ImageProtocol
    colours: Colours
    tmux: bool
    ssh: bool
    web: bool
    why: tuple[str, ...]


def detect(env: Mapping[str, str], probe: Callable[[], ProbeAnswer | None]) -> TerminalFacts:
    """Decide for this environment. `probe` is called once at most; None means that nobody answered.

    LLAVA_IMAGES=tgp|sixel|halfcell|none overrides everything about pictures.
    """
    raise NotImplementedError
