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
from PIL import Image

from llava_engine.errors import PictureError
from llava_engine.pictures import opening
from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import FORMATS, close, encoded, halves, png, refused


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


def test_a_picture_opened_for_later_is_the_same_picture() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
        for data in (encoded(halves(), kind), *([encoded(halves(), kind, exif=exif)] if kind == "JPEG" else [])):
            now, later = open_picture(data), open_picture(data, later=True)
            assert (later.size, later.sha256, later.media_type) == (now.size, now.sha256, now.media_type)
            assert later.image.tobytes() == now.image.tobytes()
            assert later.image is later.image


def test_what_is_damaged_behind_its_header_is_found_when_it_is_looked_at() -> None:
    for kind in ("PNG", "JPEG"):
        data = encoded(Image.effect_noise((64, 48), 80).convert("RGB"), kind)
        cut = open_picture(data[: len(data) * 3 // 4], later=True)
        assert cut.size == (64, 48)
        with pytest.raises(PictureError, match="damaged or incomplete"):
            _ = cut.image
    with pytest.raises(PictureError):
        open_picture(encoded(halves(), "GIF")[:40], later=True)


def test_a_bomb_is_refused_before_it_is_decoded_at_any_time() -> None:
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    for later in (False, True):
        assert "178 megapixels" in refused(png(header, b""), later=later).cause
        for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"):
            data = encoded(Image.new("RGB", (2000, 1001)), kind)
            assert "more than 2 megapixels" in refused(data, later=later, max_pixels=2_000_000).cause
            assert open_picture(data, later=later, max_pixels=2_002_000).size == (2000, 1001)


def test_a_png_with_two_headers_is_no_picture_that_is_counted_by_one_and_seen_by_the_other() -> None:
    data = encoded(Image.new("RGB", (16, 12), "red"))
    small = struct.pack(">IIBBBBB", 8, 6, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + b"IHDR" + small + struct.pack(">I", zlib.crc32(b"IHDR" + small))
    picture = open_picture(data[:33] + chunk + data[33:], later=True)
    try:
        assert picture.image.size == picture.size
    except PictureError as error:
        assert "damaged" in error.cause


def test_pictures_open_in_many_threads() -> None:
    data = [encoded(Image.new("RGB", (64, 64), (n, 0, 0))) for n in range(32)]
    with ThreadPoolExecutor(8) as threads:
        opened = list(threads.map(open_picture, data))
    assert [picture.image.getpixel((3, 3)) for picture in opened] == [(n, 0, 0) for n in range(32)]


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
