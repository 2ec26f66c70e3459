"""The widget class for a terminal's own graphics protocol, or None where half cells are to be used.

In: the protocol's name, as detect.py chose it. textual-image is imported here only, and only for a protocol that
the terminal has answered to: its import asks the terminal questions, so this must be called before the app runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from textual.widget import Widget

if TYPE_CHECKING:
    from PIL import Image

Graphics = Callable[["Image.Image"], Widget]
"""Makes a widget that shows an RGB picture and fills the size that its styles give it."""


def graphics_for(protocol: str) -> Graphics | None:
    """The class for "tgp" (kitty) or "sixel"; None for anything else, and whenever the library will not have it."""
    if protocol not in ("tgp", "sixel"):
        return None
    try:
        from textual_image.widget import SixelImage, TGPImage
    except Exception:  # it divides by the terminal's size, which may be 0x0, and probes; half cells always work
        return None
    chosen: Graphics = TGPImage if protocol == "tgp" else SixelImage
    return chosen
