"""Pictures as half cells: their shape, and the colour of each half."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from llava_tui.widgets.half_cells import fit, half_cells

sides = st.integers(1, 20_000)


@given(st.tuples(sides, sides), st.integers(1, 200), st.integers(1, 100))
def test_a_picture_fits_its_box_and_keeps_its_shape(size: tuple[int, int], columns: int, rows: int) -> None:
    wide, high = fit(size, columns, rows)
    assert 1 <= wide <= columns
    assert 1 <= high <= rows
    # Half a cell of rounding on each side is all that its shape may lose.
    if wide > 1 and high > 1:
        assert (wide - 0.5) / (2 * high + 1) <= size[0] / size[1] <= (wide + 0.5) / (2 * high - 1)
    # It could not be larger: one of the sides fills the box, but for rounding.
    assert wide >= columns - 1 or high >= rows - 1


def test_a_wide_picture_fills_the_width() -> None:
    assert fit((640, 480), 36, 16) == (36, 14)


def test_a_high_picture_fills_the_height() -> None:
    assert fit((100, 400), 36, 16) == (8, 16)


def test_each_cell_has_the_colours_of_its_two_pixels() -> None:
    image = Image.new("RGB", (2, 2))
    image.putdata([(255, 0, 0), (0, 255, 0), (0, 0, 255), (9, 9, 9)])
    (strip,) = half_cells(image, 2, 1)
    cells = [
        (character, segment.style.color.triplet, segment.style.bgcolor.triplet)
        for segment in strip
        if segment.style and segment.style.color and segment.style.bgcolor
        for character in segment.text
    ]
    assert cells == [("▀", (255, 0, 0), (0, 0, 255)), ("▀", (0, 255, 0), (9, 9, 9))]


@given(st.integers(1, 50), st.integers(1, 50), st.integers(1, 40), st.integers(1, 20))
def test_any_picture_is_stretched_to_exactly_the_cells(width: int, height: int, columns: int, rows: int) -> None:
    strips = half_cells(Image.new("RGB", (width, height), "navy"), columns, rows)
    assert [strip.cell_length for strip in strips] == [columns] * rows
    assert {segment.text for strip in strips for segment in strip} == {"▀" * columns}
