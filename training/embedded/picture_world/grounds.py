"""What a ground is called. Many tones have no name that all would agree on; these are not asked about."""

from __future__ import annotations

from training.embedded.picture_world.scenes import COLOURS, Rgb, Scene


def ground_name(scene: Scene) -> str | None:
    """What everybody would call the colour of the ground; None where they would not agree."""
    names = {_plain_name(tone) for tone in scene.grounds}
    return names.pop() if len(names) == 1 else None


def _plain_name(rgb: Rgb) -> str | None:
    low, high = min(rgb), max(rgb)
    if low >= 240:
        return "white"
    if high <= 24:
        return "black"
    names = {
        name
        for name, anchors in COLOURS.items()
        for anchor in anchors
        if name not in ("black", "white") and max(abs(a - b) for a, b in zip(rgb, anchor, strict=True)) <= 14
    }
    return names.pop() if len(names) == 1 else None
