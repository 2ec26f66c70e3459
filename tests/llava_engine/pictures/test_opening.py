"""Every kind of picture becomes upright RGB; everything else is a user's error that says what and what to do."""

from __future__ import annotations

import hashlib
import io
import os
import struct
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from llava_engine.errors import PictureError
from llava_engine.pictures import opening
from llava_engine.pictures.opening import open_picture

FORMATS = ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"]


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def halves() -> Image.Image:
    """Left half red, right half blue, 40 by 20."""
    image = Image.new("RGB", (40, 20), "red")
    image.paste("blue", (20, 0, 40, 20))
    return image


def close(pixel: object, colour: tuple[int, int, int], within: int = 6) -> bool:
    assert isinstance(pixel, tuple)
    return all(abs(ours - theirs) <= within for ours, theirs in zip(pixel, colour, strict=True))


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_is_opened(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "two halves.img"  # the content decides, not the ending
    path.write_bytes(encoded(halves(), kind))
    picture = open_picture(path)
    assert (picture.name, picture.size, picture.image.mode) == ("two halves.img", (40, 20), "RGB")
    assert picture.media_type == f"image/{kind.lower()}"
    assert picture.data == path.read_bytes()
    assert picture.sha256 == hashlib.sha256(picture.data).hexdigest()
    assert close(picture.image.getpixel((5, 10)), (255, 0, 0))
    assert close(picture.image.getpixel((35, 10)), (0, 0, 255))


def test_every_way_to_name_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ein Bild é%.png"
    path.write_bytes(encoded(halves()))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    ways: list[str | Path] = [
        path,
        str(path),
        path.name,
        f"~/{path.name}",
        path.as_uri(),
        path.as_uri().replace("///", "//localhost/"),
    ]
    assert {open_picture(way).sha256 for way in ways} == {hashlib.sha256(path.read_bytes()).hexdigest()}
    assert {open_picture(way).name for way in ways} == {path.name}


def test_bytes_and_pil_images() -> None:
    data = encoded(halves(), "BMP")
    assert open_picture(data).name == "pasted picture"
    assert open_picture(data, name="clip").name == "clip"
    pasted = open_picture(halves())
    assert pasted.media_type == "image/png"
    assert pasted.image.tobytes() == halves().tobytes()
    assert open_picture(pasted.data).image.tobytes() == halves().tobytes()


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_a_turned_picture_is_set_upright(kind: str, turn: int) -> None:
    """The stored pixels are what a camera held in that way writes; EXIF 2.3 says where row 0 and column 0 are."""
    upright = Image.new("RGB", (48, 32), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 15, 15), fill="red")  # top left
    ImageDraw.Draw(upright).rectangle((32, 0, 47, 15), fill="blue")  # top right
    pixels = np.asarray(upright)
    stored = {
        1: pixels,
        2: pixels[:, ::-1],
        3: pixels[::-1, ::-1],
        4: pixels[::-1],
        5: pixels.transpose(1, 0, 2),
        6: np.rot90(pixels),
        7: np.rot90(pixels, 2).transpose(1, 0, 2),
        8: np.rot90(pixels, -1),
    }[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    options = {"quality": 95} if kind == "JPEG" else {"lossless": True} if kind == "WEBP" else {}
    picture = open_picture(encoded(Image.fromarray(np.ascontiguousarray(stored)), kind, exif=exif, **options))
    assert picture.size == picture.image.size == (48, 32)
    assert close(picture.image.getpixel((5, 5)), (255, 0, 0))
    assert close(picture.image.getpixel((42, 5)), (0, 0, 255))
    assert close(picture.image.getpixel((5, 28)), (255, 255, 255))
    assert not picture.image.getexif()  # or the next reader would turn it again


def test_an_image_from_pil_is_set_upright_too() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    image = Image.open(io.BytesIO(encoded(halves(), "JPEG", exif=exif)))
    assert open_picture(image).size == (20, 40)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "La", "RGBa"])
def test_transparency_lies_over_white(mode: str) -> None:
    image = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    image.putpixel((1, 1), (0, 0, 0, 255))
    image.putpixel((2, 2), (0, 0, 0, 128))
    image = (image.convert("LA") if mode in ("LA", "La") else image).convert(mode)
    opened = open_picture(image).image
    assert close(opened.getpixel((0, 0)), (255, 255, 255), 0)
    assert close(opened.getpixel((1, 1)), (0, 0, 0), 0)
    assert close(opened.getpixel((2, 2)), (127, 127, 127), 2)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "TIFF"])
def test_a_files_transparency_lies_over_white(kind: str) -> None:
    image = Image.new("RGBA", (8, 8), (200, 0, 0, 0))
    image.paste((0, 160, 0, 255), (0, 0, 4, 8))
    opened = open_picture(encoded(image, kind)).image
    assert close(opened.getpixel((7, 4)), (255, 255, 255))
    assert close(opened.getpixel((1, 4)), (0, 160, 0))


def test_transparent_entries_of_a_palette_and_transparent_colours() -> None:
    palette = Image.new("P", (4, 1))
    palette.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255])
    palette.putdata([0, 1, 2, 1])
    expected = [(255, 0, 0), (255, 255, 255), (0, 0, 255), (255, 255, 255)]
    for transparency in (1, b"\xff\x00\xff"):
        opened = open_picture(encoded(palette, transparency=transparency)).image
        assert [opened.getpixel((x, 0)) for x in range(4)] == expected
    opened = open_picture(encoded(palette.convert("RGB"), transparency=(0, 255, 0))).image
    assert [opened.getpixel((x, 0)) for x in range(4)] == expected
    with_alpha = Image.new("PA", (2, 1))
    with_alpha.putpalette([255, 0, 0, 0, 255, 0])
    with_alpha.putpixel((0, 0), (1, 255))
    opened = open_picture(with_alpha).image
    assert [opened.getpixel((x, 0)) for x in range(2)] == [(0, 255, 0), (255, 255, 255)]
    plain = open_picture(encoded(palette)).image
    assert plain.getpixel((1, 0)) == (0, 255, 0)
    grey = Image.new("L", (2, 1))
    grey.putdata([0, 90])
    assert open_picture(encoded(grey, transparency=0)).image.getpixel((0, 0)) == (255, 255, 255)


def test_cmyk_is_read_as_ink() -> None:
    ink = Image.new("CMYK", (16, 16), (0, 255, 255, 0))
    for kind in ("JPEG", "TIFF"):
        assert close(open_picture(encoded(ink, kind)).image.getpixel((8, 8)), (255, 0, 0))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 257, 128 * 257, 65535]], dtype=np.uint16)
    opened = open_picture(encoded(Image.fromarray(values), kind)).image
    assert [opened.getpixel((x, 0)) for x in range(4)] == [(v, v, v) for v in (0, 1, 128, 255)]


def test_sixteen_bit_colours_are_scaled() -> None:
    """A 16-bit RGB PNG, written by hand because Pillow writes none: one pixel of 0xFFFF, 0x8080, 0."""
    raw = zlib.compress(b"\x00" + struct.pack(">HHH", 0xFFFF, 0x8080, 0))
    header = struct.pack(">IIBBBBB", 1, 1, 16, 2, 0, 0, 0)
    assert open_picture(png(header, raw)).image.getpixel((0, 0)) == (255, 128, 0)


def test_floating_point_and_wide_integers() -> None:
    for values in (
        np.array([[0, 0.5, 1]], dtype=np.float32),
        np.array([[0, 127.5, 255]], dtype=np.float32),
        np.array([[0, 32768, 65535]], dtype=np.int32),
        np.array([[-5, 500_000, 1_000_000]], dtype=np.int32),
    ):
        opened = open_picture(encoded(Image.fromarray(values), "TIFF")).image
        assert [opened.getpixel((x, 0))[0] for x in range(3)] in ([0, 127, 255], [0, 128, 255])  # type: ignore[index]
    odd = np.array([[np.nan, np.inf, 1]], dtype=np.float32)
    assert open_picture(Image.fromarray(odd)).image.getpixel((0, 0)) == (0, 0, 0)


def test_one_bit_and_one_pixel() -> None:
    bits = Image.new("1", (3, 1))
    bits.putdata([0, 255, 0])
    for kind in ("PNG", "TIFF", "BMP"):
        picture = open_picture(encoded(bits, kind))
        assert [picture.image.getpixel((x, 0)) for x in range(3)] == [(0, 0, 0), (255, 255, 255), (0, 0, 0)]
    for size in ((1, 1), (1, 50), (50, 1)):
        assert open_picture(encoded(Image.new("RGB", size, "red"))).image.size == size


def test_of_an_animation_the_first_frame_is_opened() -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    for kind in ("GIF", "WEBP", "TIFF", "PNG"):
        data = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
        assert close(open_picture(data).image.getpixel((4, 4)), (255, 0, 0))


def test_a_big_jpeg_is_decoded_small_but_never_below_what_is_asked() -> None:
    data = encoded(Image.new("RGB", (1600, 1200), "teal"), "JPEG")
    assert open_picture(data, draft_to=300).image.size == (400, 300)
    assert open_picture(data, draft_to=301).image.size == (800, 600)
    assert open_picture(data, draft_to=1200).image.size == (1600, 1200)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = open_picture(encoded(Image.new("RGB", (1600, 1200)), "JPEG", exif=exif), draft_to=300)
    assert (turned.size, turned.image.size) == ((1200, 1600), (300, 400))


def test_broken_exif_is_no_reason_to_refuse() -> None:
    assert open_picture(encoded(halves(), "JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff\x01\x12")).size == (40, 20)


def test_pictures_open_in_many_threads() -> None:
    data = [encoded(Image.new("RGB", (64, 64), (n, 0, 0))) for n in range(32)]
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_picture, data))
    assert [picture.image.getpixel((3, 3)) for picture in opened] == [(n, 0, 0) for n in range(32)]


def png(header: bytes, raw: bytes) -> bytes:
    """A PNG of these two chunks."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", raw) + chunk(b"IEND", b"")


def refused(source: object, **options: object) -> PictureError:
    with pytest.raises(PictureError) as caught:
        open_picture(source, **options)  # type: ignore[arg-type]
    error = caught.value
    assert error.cause
    assert error.remedy
    assert "\n" not in error.cause + error.remedy
    return error


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    assert "no file" in refused(tmp_path / "none.png").cause
    assert "folder" in refused(tmp_path).cause or sys.platform == "win32"
    (tmp_path / "empty.png").touch()
    assert "empty.png is empty" in refused(tmp_path / "empty.png").cause
    (tmp_path / "notes.txt").write_text("just words")
    assert "notes.txt is a text file, and not a picture" in refused(tmp_path / "notes.txt").cause
    assert "not a picture" in refused(b"<svg xmlns='http://www.w3.org/2000/svg'/>").cause
    assert "empty" in refused(b"").cause


def test_formats_beyond_the_six_are_not_even_tried() -> None:
    """Pillow would open these: the fewer decoders meet bytes from outside, the better."""
    for kind in ("PPM", "TGA", "ICO", "PCX", "EPS", "JPEG2000"):
        assert "not a picture that we can read" in refused(encoded(halves(), kind)).cause


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such files")
def test_what_could_wait_for_ever_is_refused_at_once(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    assert "not a file" in refused(pipe).cause
    assert "not a file" in refused("/dev/zero").cause
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    assert "can not be read" in refused(loop).cause


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    path = tmp_path / "secret.png"
    path.write_bytes(encoded(halves()))
    path.chmod(0)
    assert "may not be read" in refused(path).cause


def test_a_forbidden_read_is_told_to_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same where the tests run as root: the system call refuses."""

    def forbidden(*_: object, **__: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", forbidden)
    assert "may not be read" in refused(tmp_path / "secret.png").cause


@pytest.mark.parametrize("path", ["a\0b.png", "x" * 5000, "~nobody-of-that-name/x.png"])
def test_names_that_no_file_can_have(path: str) -> None:
    assert len(refused(path).cause) < 250


def test_names_are_shown_without_terminal_control(tmp_path: Path) -> None:
    assert "\x1b" not in refused("a\x1b[31m\n.png").cause
    assert open_picture(encoded(halves()), name="a\x1b]0;x\x07\nb").name == "a b"


def test_too_many_bytes(tmp_path: Path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as file:
        file.truncate(opening.MAX_BYTES + 1)
    assert "larger than 50 MB" in refused(path).cause
    assert "larger than 50 MB" in refused(b"\0" * (opening.MAX_BYTES + 1)).cause


def test_too_many_pixels_are_refused_before_they_are_decoded() -> None:
    """The header promises 30,000 by 30,000; there is no pixel data, so only the header can have been looked at."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    assert "178 megapixels" in refused(png(header, b"")).cause


def test_the_limit_holds_even_where_pillows_is_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    assert "178 megapixels" in refused(png(header, b"")).cause


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.2, 0.5, 0.8])
def test_truncated_files_are_refused(kind: str, share: float) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), kind)
    error = refused(data[: int(len(data) * share)], name="cut.img")
    assert "damaged or incomplete" in error.cause or "not a picture" in error.cause


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=60)
@given(data=st.data())
def test_broken_bytes_open_or_are_a_users_error_and_nothing_else(kind: str, data: st.DataObject) -> None:
    file = bytearray(encoded(halves(), kind))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert open_picture(bytes(file)).image.mode == "RGB"
    except PictureError as error:
        assert error.remedy


def test_a_lazily_opened_broken_pil_image_is_a_users_error() -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    broken = Image.open(io.BytesIO(encoded(Image.fromarray(noise))[:2000]))
    assert "damaged" in refused(broken).cause
    assert "empty" in refused(Image.new("RGB", (0, 5))).cause


def test_a_file_url_of_another_machine_is_refused() -> None:
    assert "another machine" in refused("file://elsewhere/a.png").cause
