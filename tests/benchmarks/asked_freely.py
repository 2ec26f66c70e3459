"""Sixty questions as people type them, about seven pictures drawn by hand, and twelve turns of talk over three.

    python tests/benchmarks/asked_freely.py [--model FOLDER] [--pictures FOLDER]

Prints each answer beside what a person takes for right; a person judges. Written before any answer was looked at, so
that no model was tuned on them: do not train on these, and do not change them after a look.
"""

from __future__ import annotations

import argparse
import io
import math
from collections.abc import Callable, Iterator
from pathlib import Path

from PIL import Image, ImageDraw

import llava_engine

Colour = tuple[int, int, int] | str
Drawing = Callable[[ImageDraw.ImageDraw], None]

SIXTY = """
a | what do you see? | a red circle
a | Can you tell me what's in this pic? | a red circle
a | is the circle on the left? | yes
a | what colour is it | red
a | Is it red or blue? | red
a | how many shapes | one
a | Is there a dog? | no
a | is there any triangle in the image | no
a | whats the shape called? | circle
a | is the circle filled in or just an outline? | filled
b | which shape is on the left? | the blue square
b | what is to the right of the square? | the yellow star
b | is the star yellow? | yes
b | are there two shapes? | yes
b | How many stars can you count? | one
b | what's the color of the square | blue
b | Describe this photo please. | a blue square and a yellow star
b | is the square right of the star | no
b | what is left of the star | the square
b | does the picture have a circle? | no
b | What color is the thing on the right? | yellow
b | do they have the same colour? | no
c | how many triangles are there? | three
c | are the triangles green? | yes
c | is everything green? | yes
c | which one is the smallest? | the one at the top
c | Are they all the same shape? | yes
c | any circles? | no
c | where is the small triangle | at the top
c | how many are not green? | none
d | which circle is bigger? | the purple one
d | is the orange circle smaller than the purple one? | yes
d | what color is the biggest shape? | purple
d | are both circles the same size? | no
d | where's the orange circle? | on the right
d | how many circles r there | two
d | Are the two shapes the same color? | no
d | is the purple circle on the right side? | no
e | what is above the heart? | the black square
e | is the square filled? | no, outlined
e | is the heart outlined? | no, filled
e | how many outlined shapes are there? | one
e | whats at the bottom | the heart
e | What colour is the heart? | red
e | is the heart below the square? | yes
f | what is in the top left corner? | the red square
f | what is in the bottom right? | the yellow diamond
f | how many things are in this image? | four
f | Is the triangle blue? | yes
f | is there a green square? | no
f | which shapes are at the top? | square and circle
f | Tell me about the picture | all four
f | how many are not red? | three
f | is the circle left of the square? | no
g | what's in this picture? | nothing
g | is there a circle? | no
g | how many shapes do you see? | none
f | what is the weather like? | does not know
f | who painted this? | does not know
f | hi, who are you? | says what it is
"""

TWELVE = """
d | Hi! What do you see here?
- | which one is bigger?
- | and where is the other one?
- | is it red?
b | ok, now this one. what's in it?
- | what colour is the star?
- | is it to the right of the square?
- | compare the two pictures: which has more shapes?
f | And how many shapes are in this one?
- | what is in the top right?
- | is that one red?
- | thanks!
"""


def triangle(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: Colour) -> None:
    draw.polygon([(x, y - r), (x - r, y + 0.8 * r), (x + r, y + 0.8 * r)], fill=fill)


def star(draw: ImageDraw.ImageDraw, x: float, y: float, r: float, fill: Colour) -> None:
    corners = [(r if i % 2 == 0 else 0.42 * r, i * math.pi / 5) for i in range(10)]
    draw.polygon([(x + far * math.sin(turn), y - far * math.cos(turn)) for far, turn in corners], fill=fill)


def one_circle(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((170, 150, 350, 330), fill=(220, 30, 40))


def square_and_star(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((50, 190, 180, 320), fill=(30, 70, 210))
    star(draw, 370, 250, 95, (245, 210, 20))


def three_triangles(draw: ImageDraw.ImageDraw) -> None:
    for x, y, r in ((150, 420, 110), (430, 420, 110), (300, 130, 45)):
        triangle(draw, x, y, r, (40, 180, 70))


def two_circles(draw: ImageDraw.ImageDraw) -> None:
    draw.ellipse((40, 140, 260, 360), fill=(130, 40, 170))
    draw.ellipse((350, 210, 420, 280), fill=(250, 140, 20))


def square_and_heart(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((140, 40, 260, 160), outline=(10, 10, 10), width=9)
    for box in ((140, 230, 205, 295), (195, 230, 260, 295)):
        draw.ellipse(box, fill=(215, 20, 50))
    draw.polygon([(145, 275), (255, 275), (200, 350)], fill=(215, 20, 50))


def one_in_each_corner(draw: ImageDraw.ImageDraw) -> None:
    draw.rectangle((60, 60, 170, 170), fill=(215, 35, 35))
    draw.ellipse((330, 55, 450, 175), fill=(35, 165, 70))
    triangle(draw, 120, 390, 75, (40, 80, 215))
    draw.polygon([(390, 305), (455, 385), (390, 465), (325, 385)], fill=(240, 205, 30))


def nothing(draw: ImageDraw.ImageDraw) -> None:
    """A page without anything on it."""


PICTURES: dict[str, tuple[tuple[int, int], Colour, Drawing]] = {
    "a": ((640, 480), "white", one_circle),
    "b": ((500, 500), (240, 240, 235), square_and_star),
    "c": ((600, 600), (20, 25, 45), three_triangles),
    "d": ((480, 480), "white", two_circles),
    "e": ((400, 400), (250, 250, 245), square_and_heart),
    "f": ((512, 512), (225, 225, 225), one_in_each_corner),
    "g": ((500, 400), (245, 240, 230), nothing),
}


def drawn(name: str) -> bytes:
    """One of the seven pictures, as a PNG."""
    size, ground, drawing = PICTURES[name]
    image = Image.new("RGB", size, ground)
    drawing(ImageDraw.Draw(image))
    kept = io.BytesIO()
    image.save(kept, "png")
    return kept.getvalue()


def lines(text: str) -> Iterator[list[str]]:
    """The fields of each line."""
    yield from ([field.strip() for field in line.split("|")] for line in text.strip().split("\n"))


def main() -> None:
    """Ask and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a folder; else the one that comes along")
    parser.add_argument("--pictures", type=Path, help="write the pictures here, too")
    options = parser.parse_args()
    if options.pictures:
        options.pictures.mkdir(parents=True, exist_ok=True)
        for name in PICTURES:
            (options.pictures / f"{name}.png").write_bytes(drawn(name))
    engine = llava_engine.load(options.model)
    for number, (picture, question, right) in enumerate(lines(SIXTY), 1):
        said = "".join(engine.chat(max_new_tokens=64).send(question, [drawn(picture)]))
        print(f"{number:2} {picture}  {question}\n      {said}   [{right}]")
    print("\nTwelve turns")
    chat = engine.chat(max_new_tokens=64)
    for picture, question in lines(TWELVE):
        said = "".join(chat.send(question, [] if picture == "-" else [drawn(picture)]))
        print(f"{picture}  {question}\n      {said}")
    engine.close()


if __name__ == "__main__":
    main()
