"""What a ground is called. Many tones have no name that all would agree on; these are not asked about."""

from __future__ import annotations

from functools import lru_cache

from training.embedded.picture_world.scenes import COLOURS, Rgb, Scene

_NEAR = 14  # in each channel
_ANCHORS = [(name, anchor) for name, tones in COLOURS.items() if name not in ("black", "white") for anchor in tones]


def ground_name(scene: Scene) -> str | None:
    """What everybody would call the colour of the ground; None where they would not agree."""
    names = {_plain_name(tone) for tone in scene.grounds}
    return names.pop() if len(names) == 1 else None


@lru_cache(maxsize=1024)
def _plain_name(rgb: Rgb) -> str | None:
    low, high = min(rgb), max(rgb)
    if low >= 240:
        return "white"
    if high <= 24:
        return "black"
    red, green, blue = rgb
    names = {
        name
        for name, (r, g, b) in _ANCHORS
        if abs(red - r) <= _NEAR and abs(green - g) <= _NEAR and abs(blue - b) <= _NEAR
    }
    return names.pop() if len(names) == 1 else None
