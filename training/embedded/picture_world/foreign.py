"""Other code that draws the same scenes, with plain Pillow calls, as some user's script would: the "foreign" column.

It shares nothing with drawing.py and shapes.py on purpose, and the model never sees its pictures in training.
"""

from __future__ import annotations

import math
import random

from PIL import Image, ImageDraw

from training.embedded.picture_world.scenes import Item, Rgb, Scene

SIZES = (240, 320, 400, 512, 640)
Box = tuple[float, float, float, float]


def draw_foreign(scene: Scene, rng: random.Random) -> Image.Image:
    """The picture as it is, RGB, not padded, its longer side 240 to 640 pixels, edges not smoothed."""
    side = rng.choice(SIZES)
    ratio = side / max(scene.width, scene.height)
    image = Image.new("RGB", (round(scene.width * ratio), round(scene.height * ratio)), scene.ground)
    draw = ImageDraw.Draw(image)
    for item in scene.items:
        r = item.radius * min(image.size)
        x, y = item.x * image.width, item.y * image.height
        _Pen(draw, item, scene.ground, side).draw((x - r, y - r, x + r, y + r))
    return image


class _Pen:
    """Draws one item: fill and outline by its style."""

    def __init__(self, draw: ImageDraw.ImageDraw, item: Item, ground: Rgb, side: int) -> None:
        self._draw = draw
        self._item = item
        self._fill = ground if item.style == "hollow" else item.rgb
        self._outline = None if item.style == "filled" else item.edge
        self._width = max(2, side // 80) if item.style == "hollow" else max(1, side // 160)
        self._dark = (20, 20, 20) if sum(item.rgb) > 200 else (240, 240, 240)

    def draw(self, box: Box) -> None:
        """Draw it to fill `box`."""
        getattr(self, "_" + self._item.kind)(*box)

    def _polygon(self, *corners: tuple[float, float]) -> None:
        self._draw.polygon(corners, fill=self._fill, outline=self._outline, width=self._width)

    def _ellipse(self, *box: float) -> None:
        self._draw.ellipse(box, fill=self._fill, outline=self._outline, width=self._width)

    def _rectangle(self, *box: float) -> None:
        self._draw.rectangle(box, fill=self._fill, outline=self._outline, width=self._width)

    def _circle(self, left: float, top: float, right: float, bottom: float) -> None:
        self._ellipse(left, top, right, bottom)

    def _square(self, left: float, top: float, right: float, bottom: float) -> None:
        self._rectangle(left, top, right, bottom)

    def _triangle(self, left: float, top: float, right: float, bottom: float) -> None:
        self._polygon(((left + right) / 2, top), (right, bottom), (left, bottom))

    def _diamond(self, left: float, top: float, right: float, bottom: float) -> None:
        x, y, slim = (left + right) / 2, (top + bottom) / 2, (right - left) * 0.15
        self._polygon((x, top), (right - slim, y), (x, bottom), (left + slim, y))

    def _cross(self, left: float, top: float, right: float, bottom: float) -> None:
        third = (right - left) / 3
        a, b, c, d = left + third, right - third, top + third, bottom - third
        self._polygon(
            *((a, top), (b, top), (b, c), (right, c), (right, d), (b, d)),
            *((b, bottom), (a, bottom), (a, d), (left, d), (left, c), (a, c)),
        )

    def _star(self, left: float, top: float, right: float, bottom: float) -> None:
        x, y, r = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        corners = []
        for i in range(10):
            length = r if i % 2 == 0 else 0.42 * r
            corners.append((x + length * math.sin(i * math.pi / 5), y - length * math.cos(i * math.pi / 5)))
        self._polygon(*corners)

    def _heart(self, left: float, top: float, right: float, bottom: float) -> None:
        x, y, r = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        corners = []
        for i in range(60):
            t = 2 * math.pi * i / 60
            across = 16 * math.sin(t) ** 3
            down = 13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)
            corners.append((x + r * across / 17, y - r * (down + 2.5) / 17))
        self._polygon(*corners)

    def _moon(self, left: float, top: float, right: float, bottom: float) -> None:
        x, y, r = (left + right) / 2, (top + bottom) / 2, (right - left) / 2
        outer = [(x + r * math.cos(a), y + r * math.sin(a)) for a in _steps(0.28 * math.pi, 1.72 * math.pi)]
        away, small = 0.45 * r, 0.8 * r
        start = math.atan2(outer[-1][1] - y, outer[-1][0] - x - away)
        end = math.atan2(outer[0][1] - y, outer[0][0] - x - away)
        inner = [(x + away + small * math.cos(a), y + small * math.sin(a)) for a in _steps(start, end - 2 * math.pi)]
        self._polygon(*outer, *inner)

    def _house(self, left: float, top: float, right: float, bottom: float) -> None:
        w, h = right - left, bottom - top
        self._rectangle(left + 0.1 * w, top + 0.4 * h, right - 0.1 * w, bottom)
        self._polygon((left, top + 0.4 * h), ((left + right) / 2, top), (right, top + 0.4 * h))
        door = self._item.edge if self._item.style == "hollow" else self._dark
        self._draw.rectangle((left + 0.42 * w, top + 0.7 * h, left + 0.58 * w, bottom), fill=door)

    def _tree(self, left: float, top: float, right: float, bottom: float) -> None:
        w, h = right - left, bottom - top
        trunk = self._item.rgb if self._item.style == "hollow" or self._item.colour == "brown" else (110, 70, 40)
        self._draw.rectangle((left + 0.42 * w, top + 0.55 * h, left + 0.58 * w, bottom), fill=trunk)
        if self._item.mirrored:
            self._ellipse(left + 0.12 * w, top, right - 0.12 * w, top + 0.68 * h)
        else:
            self._polygon(
                ((left + right) / 2, top), (right - 0.1 * w, top + 0.72 * h), (left + 0.1 * w, top + 0.72 * h)
            )

    def _fish(self, left: float, top: float, right: float, bottom: float) -> None:
        w, y = right - left, (top + bottom) / 2
        self._polygon((left + 0.3 * w, y), (left, y - 0.22 * w), (left, y + 0.22 * w))
        self._ellipse(left + 0.2 * w, y - 0.26 * w, right, y + 0.26 * w)
        eye = self._item.edge if self._item.style == "hollow" else self._dark
        self._draw.ellipse((right - 0.22 * w, y - 0.1 * w, right - 0.15 * w, y - 0.03 * w), fill=eye)

    def _boat(self, left: float, top: float, right: float, bottom: float) -> None:
        w, h, x = right - left, bottom - top, (left + right) / 2
        mast = self._item.edge if self._item.style == "hollow" else self._dark
        self._draw.line((x, top, x, top + 0.7 * h), fill=mast, width=max(2, round(w / 30)))
        self._polygon((x + 0.03 * w, top), (x + 0.38 * w, top + 0.6 * h), (x + 0.03 * w, top + 0.6 * h))
        deck, keel = top + 0.68 * h, top + 0.95 * h
        self._polygon((left, deck), (right, deck), (right - 0.18 * w, keel), (left + 0.18 * w, keel))

    def _car(self, left: float, top: float, right: float, bottom: float) -> None:
        w, y = right - left, (top + bottom) / 2
        roof = y - 0.28 * w
        self._polygon((left + 0.2 * w, y), (left + 0.3 * w, roof), (left + 0.68 * w, roof), (left + 0.82 * w, y))
        self._rectangle(left, y, right, y + 0.2 * w)
        wheel = self._item.edge if self._item.style == "hollow" else self._dark
        for x in (left + 0.25 * w, right - 0.25 * w):
            self._draw.ellipse((x - 0.1 * w, y + 0.1 * w, x + 0.1 * w, y + 0.3 * w), fill=wheel)

    def _cat(self, left: float, top: float, right: float, bottom: float) -> None:
        w, h = right - left, bottom - top
        self._polygon((left + 0.08 * w, top + 0.5 * h), (left + 0.1 * w, top), (left + 0.45 * w, top + 0.3 * h))
        self._polygon((right - 0.08 * w, top + 0.5 * h), (right - 0.1 * w, top), (right - 0.45 * w, top + 0.3 * h))
        self._ellipse(left + 0.05 * w, top + 0.2 * h, right - 0.05 * w, bottom)
        eye = self._item.edge if self._item.style == "hollow" else self._dark
        for x in (left + 0.33 * w, left + 0.67 * w):
            self._draw.ellipse((x - 0.06 * w, top + 0.48 * h, x + 0.06 * w, top + 0.6 * h), fill=eye)
        nose = (left + 0.5 * w, top + 0.75 * h)
        self._draw.polygon(
            (nose, (nose[0] - 0.05 * w, nose[1] - 0.06 * h), (nose[0] + 0.05 * w, nose[1] - 0.06 * h)), eye
        )


def _steps(start: float, end: float) -> list[float]:
    return [start + (end - start) * step / 30 for step in range(31)]
