"""The form of each kind as polygons: many ways to draw each, chosen by three numbers.

In: a kind and its `form`. Out: parts, each a role and its corners, in coordinates of its own (y downwards); the first
part is the body. Knows no colours and no pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

Points = list[tuple[float, float]]
Form = tuple[float, float, float]
Role = Literal["body", "second", "trunk", "dark", "light"]  # second: of its colour, or another tone of it
Part = tuple[Role, Points]

_TURN = tuple((math.cos(2 * math.pi * step / 40), math.sin(2 * math.pi * step / 40)) for step in range(40))
_FEW = _TURN[::4]


def parts(kind: str, form: Form) -> list[Part]:
    """The parts of one of its kind, in the order in which they are drawn."""
    return _KINDS[kind](*form)


def _oval(x: float, y: float, across: float, down: float) -> Points:
    return [(x + across * c, y + down * s) for c, s in _TURN]


def _dot(x: float, y: float, radius: float) -> Points:
    return [(x + radius * c, y + radius * s) for c, s in _FEW]


def _box(left: float, top: float, right: float, bottom: float) -> Points:
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def _circle(a: float, b: float, c: float) -> list[Part]:
    return [("body", list(_TURN))]


def _square(a: float, b: float, c: float) -> list[Part]:
    if a > 0.75:  # with round corners
        r = 0.12 + 0.22 * b
        middles = ((1 - r, 1 - r), (r - 1, 1 - r), (r - 1, r - 1), (1 - r, r - 1))
        quarters = (_TURN[10 * quarter : 10 * quarter + 11 : 2] for quarter in range(4))
        corners = zip(middles, quarters, strict=True)
        return [("body", [(x + r * cos, y + r * sin) for (x, y), turn in corners for cos, sin in turn])]
    return [("body", _box(-1, -1, 1, 1))]


def _triangle(a: float, b: float, c: float) -> list[Part]:
    if a < 0.4:
        return [("body", [(0, -1), (0.866, 0.5), (-0.866, 0.5)])]
    height = 0.75 + 0.8 * b
    if a < 0.8:
        return [("body", [(0, -height), (0.85, height), (-0.85, height)])]
    return [("body", [(-0.85, -height), (0.85, height), (-0.85, height)])]


def _star(a: float, b: float, c: float) -> list[Part]:
    points, inner = (5, 0.382) if a < 0.45 else (5, 0.34 + 0.2 * b)
    if a > 0.92:
        points, inner = 6, 0.48 + 0.1 * b
    corners = []
    for step in range(2 * points):
        angle = math.pi * step / points
        reach = inner if step % 2 else 1.0
        corners.append((reach * math.sin(angle), -reach * math.cos(angle)))
    return [("body", corners)]


def _heart(a: float, b: float, c: float) -> list[Part]:
    if a < 0.35:  # the sine curve
        curve = [
            (16 * s**3, -(13 * c_ - 5 * (2 * c_ * c_ - 1) - 2 * (4 * c_**3 - 3 * c_) - (8 * c_**4 - 8 * c_**2 + 1)))
            for c_, s in _TURN
        ]
        return [("body", curve)]
    lobe = 0.52 + 0.06 * b  # two discs over a point
    start, end = math.radians(212), math.acos(0.5 / lobe)
    left = []
    for step in range(24):
        angle = start + (end - start) * step / 23
        left.append((-0.5 + lobe * math.cos(angle), -lobe * math.sin(angle)))
    if a < 0.75:
        tip = [(0.0, 0.95 + 0.35 * c)]
    else:  # with bowed flanks
        tip = [(0.48, 0.72), (0.22, 0.98), (0.0, 1.15), (-0.22, 0.98), (-0.48, 0.72)]
    return [("body", tip + left + [(-x, y) for x, y in reversed(left)])]


def _diamond(a: float, b: float, c: float) -> list[Part]:
    wide = 1.0 if a < 0.15 else 0.55 + 0.35 * b
    return [("body", [(0, -1), (wide, 0), (0, 1), (-wide, 0)])]


def _cross(a: float, b: float, c: float) -> list[Part]:
    t = 0.2 + 0.2 * b
    if a < 0.15:  # a longer foot
        top, foot = -0.85, 1.3
        return [
            ("body", [*_arms(t, top, -t), (0.85, t), (t, t), (t, foot), (-t, foot), (-t, t), (-0.85, t), (-0.85, -t)])
        ]
    return [("body", [*_arms(t, -1, -t), (1, t), (t, t), (t, 1), (-t, 1), (-t, t), (-1, t), (-1, -t)])]


def _arms(t: float, top: float, shoulder: float) -> Points:
    reach = 0.85 if top > -1 else 1.0
    return [(-t, shoulder), (-t, top), (t, top), (t, shoulder), (reach, shoulder)]


def _moon(a: float, b: float, c: float) -> list[Part]:
    away, cut = 0.38 + 0.2 * a, 0.8 + 0.14 * b  # a disc less another disc
    cross_x = (away * away + 1 - cut * cut) / (2 * away)
    alpha = math.acos(cross_x)
    beta = math.atan2(math.sin(alpha), cross_x - away)
    outer = [alpha + (2 * math.pi - 2 * alpha) * step / 30 for step in range(31)]
    inner = [2 * math.pi - beta - (2 * math.pi - 2 * beta) * step / 22 for step in range(23)]
    return [
        (
            "body",
            [(math.cos(t), math.sin(t)) for t in outer]
            + [(away + cut * math.cos(t), cut * math.sin(t)) for t in inner],
        )
    ]


def _house(a: float, b: float, c: float) -> list[Part]:
    wide, roof, eaves = 0.62 + 0.25 * a, -0.9 - 0.25 * b, 0.14 if c < 0.6 else 0.0
    drawn: list[Part] = []
    if c > 0.8:
        drawn.append(("second", _box(0.3, -0.95, 0.5, -0.3)))
    drawn.append(("body", _box(-wide, -0.2, wide, 0.9)))
    drawn.append(("second", [(-wide - eaves, -0.2), (0, roof), (wide + eaves, -0.2)]))
    if b < 0.8:
        door = 0.0 if b < 0.4 else -0.3
        drawn.append(("dark", _box(door - 0.15, 0.35, door + 0.15, 0.9)))
    if 0.4 < b < 0.95:
        drawn.append(("light", _box(0.12, 0.1, 0.45, 0.42)))
    elif b < 0.25:
        drawn.append(("light", _box(0.26, 0.05, 0.5, 0.3)))
        drawn.append(("light", _box(-0.5, 0.05, -0.26, 0.3)))
    return drawn


def _tree(a: float, b: float, c: float) -> list[Part]:
    t = 0.1 + 0.12 * c
    trunk: Part = ("trunk", _box(-t, 0.2, t, 1.0))
    wide = 0.55 + 0.25 * b
    if a < 0.4:  # one round crown
        return [trunk, ("body", _oval(0, -0.3, wide, 0.6 + 0.15 * c))]
    if a < 0.55:  # a cloud of three
        return [
            trunk,
            ("body", _oval(-0.35, 0.05, 0.42, 0.38)),
            ("body", _oval(0.35, 0.05, 0.42, 0.38)),
            ("body", _oval(0, -0.4, 0.5, 0.48)),
        ]
    if a < 0.75:  # a plain fir
        return [trunk, ("body", [(0, -1), (wide, 0.45), (-wide, 0.45)])]
    layers: list[Part] = [trunk]  # a fir of two or three
    count = 2 if a < 0.88 else 3
    for step in range(count):
        foot = 0.5 - 0.95 * step / count
        half = wide * (1 - 0.22 * step)
        layers.append(("body", [(0, foot - 1.35 / count - 0.2), (half, foot), (-half, foot)]))
    return layers


def _fish(a: float, b: float, c: float) -> list[Part]:
    deep = 0.38 + 0.22 * a
    tail = 0.3 + 0.25 * b
    drawn: list[Part] = [("body", [(-0.45, 0), (-1.05, -tail), (-0.9 if c < 0.4 else -1.05, 0), (-1.05, tail)])]
    if c > 0.5:
        drawn.append(("second", [(-0.2, -deep * 0.8), (0.15, -deep - 0.25), (0.35, -deep * 0.8)]))
    drawn.append(("body", _oval(0.2, 0, 0.75, deep)))
    if b > 0.15:
        drawn.append(("light" if c < 0.5 else "dark", _dot(0.6, -0.12, 0.11)))
        if c < 0.5:
            drawn.append(("dark", _dot(0.62, -0.12, 0.06)))
    return drawn


def _boat(a: float, b: float, c: float) -> list[Part]:
    slope, deck = 0.2 + 0.2 * b, 0.3 + 0.15 * c
    hull: Part = ("body", [(-1, deck), (1, deck), (1 - slope, 0.9), (-1 + slope, 0.9)])
    mast: Part = ("dark", _box(-0.05, -1, 0.05, deck))
    foot = deck - 0.12
    one: Part = ("second", [(0.08, -0.95), (0.75, foot), (0.08, foot)])
    if a < 0.35:
        return [mast, hull, one]
    if a < 0.75:
        return [mast, hull, one, ("second", [(-0.08, -0.7), (-0.6, foot), (-0.08, foot)])]
    if a < 0.9:
        return [mast, hull, ("second", [(0, -1), (0.7, foot), (-0.5, foot)])]
    return [mast, hull, ("second", [(0.05, -0.95), (0.6, -0.7), (0.05, -0.4)])]


def _car(a: float, b: float, c: float) -> list[Part]:
    left, right = -0.55 - 0.15 * a, 0.45 + 0.2 * b
    top = -0.62 + 0.12 * c
    wheel = 0.2 + 0.05 * b
    drawn: list[Part] = [
        ("body", [(left, 0), (left + 0.2, top), (right - 0.25, top), (right, 0)]),
        ("body", [(-1, 0.05), (-0.93, -0.05), (0.9, -0.05), (1, 0.1), (1, 0.4), (-1, 0.4)]),
    ]
    if c < 0.7:
        drawn.append(("light", [(left + 0.15, -0.07), (left + 0.29, top + 0.1), (-0.12, top + 0.1), (-0.12, -0.07)]))
        drawn.append(("light", [(-0.02, -0.07), (-0.02, top + 0.1), (right - 0.3, top + 0.1), (right - 0.12, -0.07)]))
    for x in (-0.52, 0.52):
        drawn.append(("dark", _dot(x, 0.4, wheel)))
        if a > 0.5:
            drawn.append(("light", _dot(x, 0.4, wheel * 0.45)))
    return drawn


def _cat(a: float, b: float, c: float) -> list[Part]:
    if a > 0.75:
        return _whole_cat(b, c)
    down = 0.7 + 0.12 * b
    tip = -0.98 - 0.12 * c
    drawn: list[Part] = [
        ("body", [(-0.82, -0.1), (-0.78, tip), (-0.15, -0.5)]),
        ("body", [(0.82, -0.1), (0.78, tip), (0.15, -0.5)]),
        ("body", _oval(0, 0.1, 0.85, down)),
    ]
    return drawn + _face(0.1, 1.0, c)


def _face(y: float, size: float, c: float) -> list[Part]:
    drawn: list[Part] = []
    if c < 0.5:
        drawn += [("light", _dot(-0.33 * size, y - 0.12 * size, 0.15 * size))]
        drawn += [("light", _dot(0.33 * size, y - 0.12 * size, 0.15 * size))]
    drawn += [("dark", _dot(-0.33 * size, y - 0.12 * size, 0.09 * size))]
    drawn += [("dark", _dot(0.33 * size, y - 0.12 * size, 0.09 * size))]
    if c > 0.2:
        nose: Points = [(-0.1 * size, y + 0.15 * size), (0.1 * size, y + 0.15 * size), (0, y + 0.28 * size)]
        drawn.append(("dark", nose))
    return drawn


def _whole_cat(b: float, c: float) -> list[Part]:
    """Sitting: body, tail, head with ears."""
    wide = 0.4 + 0.12 * b
    return [
        ("body", [(wide - 0.1, 0.85), (0.85, 0.75), (0.75, 0.1), (0.87, 0.1), (1.0, 0.85), (wide - 0.1, 0.99)]),
        ("body", _oval(0, 0.5, wide, 0.5)),
        ("body", [(-0.42, -0.35), (-0.42, -0.98), (-0.08, -0.65)]),
        ("body", [(0.42, -0.35), (0.42, -0.98), (0.08, -0.65)]),
        ("body", _oval(0, -0.35, 0.45, 0.38)),
        *_face(-0.35, 0.5, c),
    ]


_KINDS: dict[str, Callable[[float, float, float], list[Part]]] = {
    "circle": _circle,
    "square": _square,
    "triangle": _triangle,
    "star": _star,
    "heart": _heart,
    "diamond": _diamond,
    "cross": _cross,
    "moon": _moon,
    "house": _house,
    "tree": _tree,
    "fish": _fish,
    "boat": _boat,
    "car": _car,
    "cat": _cat,
}
