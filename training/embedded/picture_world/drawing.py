"""A scene -> the pixels that the model sees, as if some person's program had drawn it.

Drawn larger and reduced; sometimes through JPEG, with noise, brighter or darker. A picture that is not square stands on
the same mid grey that our preprocessing pads with. Knows nothing of questions.
"""

from __future__ import annotations

import io
import math
import random

import numpy as np
from PIL import Image, ImageDraw

from training.embedded.picture_world.scenes import LEAST_CONTRAST, SIDE, Item, Rgb, Scene, contrast
from training.embedded.picture_world.shapes import Part, Points, Role, parts
from training.embedded.picture_world.textures import textured

PADDING: Rgb = (127, 127, 127)
_FILTERS = (
    *(Image.Resampling.BICUBIC, Image.Resampling.BICUBIC),
    *(Image.Resampling.BILINEAR, Image.Resampling.LANCZOS),
)
_DARK: Rgb = (30, 30, 30)
_LIGHT: Rgb = (250, 250, 250)
_TRUNKS: tuple[Rgb, ...] = ((139, 69, 19), (101, 67, 33), (121, 85, 72), (90, 60, 40))


def draw_scene(scene: Scene, rng: random.Random) -> Image.Image:
    """The picture in its padded square, RGB, `SIDE` by `SIDE`; `rng` draws the lots for reduction, JPEG and noise."""
    lot = rng.random()
    scale = 2 if lot < 0.62 else 3 if lot < 0.84 else 4 if lot < 0.93 else 1
    image = Image.new("RGB", (SIDE * scale, SIDE * scale), PADDING)
    left = (SIDE - scene.width) * scale // 2
    top = (SIDE - scene.height) * scale // 2
    box = (left, top, left + scene.width * scale, top + scene.height * scale)
    draw = ImageDraw.Draw(image)
    if scene.ground_end is None:
        draw.rectangle((left, top, box[2] - 1, box[3] - 1), fill=scene.ground)
    else:
        image.paste(textured(scene, box[2] - left, box[3] - top, rng), box)
    lot = rng.random()
    hand = rng if lot < 0.1 else None
    if 0.1 < lot < 0.18:
        _draw_shadows(draw, scene, (left, top), scale, rng)
    for item in scene.items:
        draw_item(draw, item, scene, (left, top), scale, hand)
    early, late = (rng.random() < 0.08, rng.random() < 0.07)
    if early:
        image.paste(_through_jpeg(image.crop(box), rng), box)
    if scale > 1:
        lot = rng.random()  # a plain mean is by far the fastest
        image = image.reduce(scale) if lot < 0.76 else image.resize((SIDE, SIDE), _FILTERS[int(lot * 997) % 4])
    if late:
        inner = (left // scale, top // scale, left // scale + scene.width, top // scale + scene.height)
        image.paste(_through_jpeg(image.crop(inner), rng), inner)
    noisy, lit = rng.random() < 0.25, rng.random() < 0.2
    return _disturbed(image, scene, rng, noisy=noisy, lit=lit) if noisy or lit else image


def draw_large(scene: Scene, side: int) -> Image.Image:
    """The picture without padding, clean and smooth, its longer side `side` pixels."""
    scale = 4 * side // SIDE
    image = textured(scene, scene.width * scale, scene.height * scale, random.Random(0))
    draw = ImageDraw.Draw(image)
    for item in scene.items:
        draw_item(draw, item, scene, (0, 0), scale)
    ratio = side / SIDE
    return image.resize((round(scene.width * ratio), round(scene.height * ratio)), Image.Resampling.BOX)


def draw_item(
    draw: ImageDraw.ImageDraw,
    item: Item,
    scene: Scene,
    origin: tuple[int, int],
    scale: float,
    hand: random.Random | None = None,
) -> None:
    """Draw one item of a scene whose upper left corner is `origin`, at `scale` pixels for one of the model's.

    With `hand`, its lines are a little unsteady.
    """
    radius = item.radius * min(scene.width, scene.height) * scale
    stroke = 0.0 if item.style == "filled" else item.stroke * radius
    middle = (origin[0] + item.x * scene.width * scale, origin[1] + item.y * scene.height * scale)
    placed = _placed(parts(item.kind, item.form), item, middle, radius - stroke / 2)
    width = max(1, round(stroke))
    for role, corners in placed:
        fill, edge = _inks(role, item, scene.ground)
        if fill is scene.ground and item.style == "hollow" and scene.ground_end is not None:
            fill = None  # what lies behind shines through
        if hand is not None:
            corners = _unsteady(corners, radius, hand)
        if fill is not None:
            draw.polygon(corners, fill=fill)
        if edge is not None and stroke:
            _trace(draw, corners, edge, width)


def _placed(drawn: list[Part], item: Item, middle: tuple[float, float], radius: float) -> list[Part]:
    """Mirrored, stretched, turned; then moved: the bounding box around `middle`, half its longer side `radius`."""
    across = -item.stretch if item.mirrored else item.stretch
    if item.rotation:
        angle = math.radians(item.rotation)
        cos, sin = math.cos(angle), math.sin(angle)
        turned: list[Part] = [
            (role, [(across * x * cos - y * sin, across * x * sin + y * cos) for x, y in corners])
            for role, corners in drawn
        ]
    else:
        turned = [(role, [(across * x, y) for x, y in corners]) for role, corners in drawn]
    xs = [x for _, corners in turned for x, _ in corners]
    ys = [y for _, corners in turned for _, y in corners]
    left, right, top, bottom = min(xs), max(xs), min(ys), max(ys)
    grow = 2 * radius / max(right - left, bottom - top)
    shift_x, shift_y = middle[0] - grow * (left + right) / 2, middle[1] - grow * (top + bottom) / 2
    return [(role, [(grow * x + shift_x, grow * y + shift_y) for x, y in corners]) for role, corners in turned]


def _unsteady(corners: Points, radius: float, rng: random.Random) -> Points:
    """The outline as a hand draws it: long lines bent, corners a little beside their place."""
    reach = 0.035 * radius
    drawn: Points = []
    for (x, y), (a, b) in zip(corners, (*corners[1:], corners[0]), strict=True):
        drawn.append((x + rng.uniform(-reach, reach), y + rng.uniform(-reach, reach)))
        if abs(a - x) + abs(b - y) > 0.7 * radius:
            drawn.append(((x + a) / 2 + rng.uniform(-reach, reach), (y + b) / 2 + rng.uniform(-reach, reach)))
    return drawn


def _draw_shadows(
    draw: ImageDraw.ImageDraw, scene: Scene, origin: tuple[int, int], scale: float, rng: random.Random
) -> None:
    """A darker ground beside each item that is filled, on the same side of all."""
    if min(scene.ground) < 90:
        return
    share = rng.uniform(0.72, 0.88)
    tone = (int(scene.ground[0] * share), int(scene.ground[1] * share), int(scene.ground[2] * share))
    right, down = rng.choice((-1, 1, 1)), rng.uniform(0.6, 1)
    for item in scene.items:
        if item.style == "hollow" or contrast(item.rgb, tone) < LEAST_CONTRAST:
            continue
        radius = item.radius * min(scene.width, scene.height) * scale
        away = min(0.12 * radius, 2.5 * scale)
        x, y = origin[0] + item.x * scene.width * scale, origin[1] + item.y * scene.height * scale
        for role, corners in _placed(parts(item.kind, item.form), item, (x + right * away, y + down * away), radius):
            if role in ("body", "second", "trunk"):
                draw.polygon(corners, fill=tone)


def _inks(role: Role, item: Item, ground: Rgb) -> tuple[Rgb | None, Rgb | None]:
    """(fill, edge) of a part; None where there is none."""
    if item.style == "hollow":
        if role in ("body", "second", "trunk"):
            return ground, item.edge
        return (item.edge if role == "dark" else None), None
    edge = item.edge if item.style == "edged" else None
    if role == "body":
        return item.rgb, edge
    if role == "second":
        return _second_tone(item, ground), edge
    if role == "trunk":
        lot = int(item.form[1] * 997) % 6
        trunk = item.rgb if lot > 3 else _TRUNKS[lot]
        return (trunk if contrast(trunk, ground) >= 80 else item.rgb), edge
    if role == "dark":
        return (_DARK if contrast(item.rgb, _DARK) > 150 else _LIGHT), None
    return (_LIGHT if contrast(item.rgb, _LIGHT) > 150 else _DARK), None


def _second_tone(item: Item, ground: Rgb) -> Rgb:
    """Roof, sail, fin: mostly the item's own colour, else darker or lighter."""
    lot = int(item.form[0] * 991) % 10
    if lot < 6:
        return item.rgb
    red, green, blue = item.rgb
    if lot < 8:
        tone = (red * 7 // 10, green * 7 // 10, blue * 7 // 10)
    else:
        tone = ((red + 255) // 2, (green + 255) // 2, (blue + 255) // 2)
    return tone if contrast(tone, ground) >= 110 else item.rgb


def _trace(draw: ImageDraw.ImageDraw, corners: Points, ink: Rgb, width: int) -> None:
    """A closed stroke with round corners (Pillow's own polygon stroke masks the whole canvas and is far slower)."""
    draw.line([*corners, corners[0]], fill=ink, width=width)
    if width > 2 and len(corners) < 16:
        reach = width / 2 - 0.5
        for x, y in corners:
            draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=ink)


def _through_jpeg(image: Image.Image, rng: random.Random) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=rng.randrange(30, 93), subsampling=rng.choice((0, 0, 2)))
    return Image.open(buffer).convert("RGB")


def _disturbed(image: Image.Image, scene: Scene, rng: random.Random, *, noisy: bool, lit: bool) -> Image.Image:
    """Noise and light on the picture, not on the padding."""
    top, left = (SIDE - scene.height) // 2, (SIDE - scene.width) // 2
    pixels = np.array(image)  # (SIDE, SIDE, 3)
    inner = pixels[top : top + scene.height, left : left + scene.width].astype(np.int16)
    if noisy:
        grain = np.frombuffer(rng.randbytes(inner.size), np.int8).reshape(inner.shape)
        inner += grain // rng.choice((8, 12, 20, 40))
    if lit:
        inner = (inner * rng.uniform(0.94, 1.06) + rng.uniform(-5, 5)).astype(np.int16)
    pixels[top : top + scene.height, left : left + scene.width] = inner.clip(0, 255)
    return Image.fromarray(pixels)
