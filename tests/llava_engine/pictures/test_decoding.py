"""What a picture costs is known before it is decoded; what can not be known is decoded within limits."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from llava_engine.errors import PictureError
from llava_engine.pictures import colours, decoder_process, decoding
from llava_engine.pictures.essentials import of_jpeg, of_png
from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import close, encoded, halves, refused


def noise(width: int = 64, height: int = 48) -> Image.Image:
    return Image.fromarray(np.random.default_rng(1).integers(0, 255, (height, width, 3), dtype=np.uint8))


def pixels(data: bytes) -> bytes:
    return Image.open(io.BytesIO(data)).convert("RGB").tobytes()


@pytest.mark.parametrize(
    "options",
    [{}, {"progressive": True}, {"subsampling": 0, "quality": 99}, {"restart_marker_blocks": 1}, {"optimize": True}],
    ids=str,
)
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_jpeg_without_its_notes_has_the_same_pixels(mode: str, options: dict[str, object]) -> None:
    exif = Image.Exif()
    exif[0x0112] = 3
    data = encoded(
        noise().convert(mode), "JPEG", exif=exif, icc_profile=bytes(200_000), comment=b"words", xmp=b"<x/>", **options
    )
    essentials = of_jpeg(data)
    assert essentials is not None and essentials.plain
    assert (essentials.size, essentials.turn) == ((64, 48), 3)
    assert pixels(essentials.data) == pixels(data)
    assert len(essentials.data) < len(data) - 200_000
    assert b"Exif" not in essentials.data and b"ICC_PROFILE" not in essentials.data


def test_the_scans_of_a_jpeg_are_counted() -> None:
    assert of_jpeg(encoded(noise(), "JPEG")).scans == 1  # type: ignore[union-attr]
    progressive = of_jpeg(encoded(noise(), "JPEG", progressive=True, subsampling=0))
    assert progressive is not None
    assert 6 <= progressive.scans <= 12  # libjpeg's own script has ten
    assert progressive.kept_bytes == 64 * 48 * 3 * 2
    halved = of_jpeg(encoded(noise(), "JPEG", progressive=True, subsampling=2))
    assert halved is not None and halved.kept_bytes == 64 * 48 * 3  # two of three at a quarter


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_a_png_without_its_notes_has_the_same_pixels(mode: str) -> None:
    image = (
        noise().convert("L").point(lambda value: value * 200, "I").convert("I;16")
        if mode == "I;16"
        else noise().convert(mode)
    )
    notes = PngImagePlugin.PngInfo()
    notes.add_text("Comment", "words " * 500, zip=True)
    data = encoded(image, "PNG", pnginfo=notes, icc_profile=bytes(300))
    essentials = of_png(data)
    assert essentials is not None
    assert essentials.size == (64, 48)
    assert Image.open(io.BytesIO(essentials.data)).tobytes() == image.tobytes()
    assert b"Comment" not in essentials.data and b"iCCP" not in essentials.data


def turned_png(keyword: str, text: str, *, packed: bool) -> bytes:
    notes = PngImagePlugin.PngInfo()
    notes.add_text(keyword, text, zip=packed)
    return encoded(halves(), "PNG", pnginfo=notes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_png_that_says_its_turn_in_a_note_is_set_upright(packed: bool) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    digits = exif.tobytes().hex()
    profile = f"\nexif\n{len(digits) // 2:8}\n" + "\n".join(digits[at : at + 72] for at in range(0, len(digits), 72))
    assert open_picture(turned_png("Raw profile type exif", profile, packed=packed)).image.size == (20, 40)


def test_xmp_is_asked_where_exif_is_silent() -> None:
    xmp = b'<x:xmpmeta><rdf:Description tiff:Orientation="6"/></x:xmpmeta>'
    assert open_picture(turned_png("XML:com.adobe.xmp", xmp.decode(), packed=False)).image.size == (20, 40)
    for kind in ("JPEG", "WEBP"):
        assert open_picture(encoded(halves(), kind, xmp=xmp)).image.size == (20, 40)
        exif = Image.Exif()
        exif[0x0112] = 3
        assert open_picture(encoded(halves(), kind, xmp=xmp, exif=exif)).image.size == (40, 20)


def in_another_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "_is_quick", lambda *_: False)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_another_process_gives_the_same_picture(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = encoded(noise(300, 200), kind, **({} if kind in ("GIF", "BMP") else {"exif": exif}))
    here = open_picture(data, draft_to=50)
    in_another_process(monkeypatch)
    apart = open_picture(data, draft_to=50)
    assert apart.image.tobytes() == here.image.tobytes()
    assert (apart.size, apart.image.size, apart.media_type) == (here.size, here.image.size, here.media_type)


def test_another_process_says_what_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    in_another_process(monkeypatch)
    error = refused(encoded(noise())[:3000], name='a "b"\n.png')
    assert error.cause == 'a "b" .png is damaged or incomplete.'


def test_another_process_takes_nothing_from_the_folder_that_one_works_in(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("strange")
    for name in ("PIL", "json", "resource", "llava_engine"):
        (folder / f"{name}.py").write_text("raise SystemExit('a stranger runs')")
    monkeypatch.chdir(folder)
    assert open_picture(encoded(halves(), "TIFF")).size == (40, 20)


def test_what_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder_process, "_WALL_S", 0.4)
    monkeypatch.setattr(decoder_process, "_START", "import time; time.sleep(30)")
    assert "too long" in refused(encoded(halves(), "TIFF")).cause


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such limit")
def test_a_process_that_dies_is_a_users_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for what, cause in (("os.kill(os.getpid(), 24)", "too long"), ("os._exit(1)", "memory")):
        monkeypatch.setattr(decoder_process, "_START", f"import os; {what}")
        assert cause in refused(encoded(halves(), "TIFF")).cause


def test_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    running: list[int] = []
    most: list[int] = []
    real = subprocess.run

    def counted(*args: object, **options: object) -> object:
        running.append(1)
        most.append(len(running))
        try:
            return real(*args, **options)  # type: ignore[call-overload]
        finally:
            running.pop()

    monkeypatch.setattr(subprocess, "run", counted)
    with ThreadPoolExecutor(4) as threads:
        opened = list(threads.map(open_picture, [encoded(halves(), "TIFF")] * 4))
    assert len(opened) == 4 and set(most) == {1}


def test_libtiff_writes_nothing_to_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    """A tag of a type that it can not have, and data that is none: libtiff says both on standard error."""
    data = encoded(noise(), "TIFF", compression="tiff_adobe_deflate")
    odd_tag, odd_data = bytearray(data), bytearray(data)
    at = data.rindex(struct.pack("<H", 278))
    odd_tag[at + 2] = 99
    odd_data[20:40] = bytes(20)
    for broken in (odd_tag, odd_data):
        with pytest.raises(PictureError):
            open_picture(bytes(broken))
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        RecursionError(),
        struct.error("x"),
        SyntaxError("x"),
        zlib.error("x"),
        KeyError(3),
        OSError("x"),
        ZeroDivisionError(),
    ],
)
def test_whatever_a_decoder_raises_is_a_users_error(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def raising(*_: object, **__: object) -> None:
        raise error

    data = encoded(halves())
    monkeypatch.setattr(PngImagePlugin.PngImageFile, "load", raising)
    assert ("memory" in refused(data).cause) == isinstance(error, MemoryError)
    monkeypatch.undo()
    monkeypatch.setattr(colours, "_block_to_rgb", raising)
    assert ("memory" in refused(encoded(halves().convert("L"))).cause) == isinstance(error, MemoryError)
    assert ("memory" in refused(halves().convert("L")).cause) == isinstance(error, MemoryError)


def test_a_very_large_picture_is_made_smaller_by_whole_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same rule at a size that a test can afford: above 10,000 pixels at most 6,000."""
    monkeypatch.setattr(decoding, "_QUICK_PIXELS", 10_000)
    monkeypatch.setattr(decoding, "_LARGEST_RESULT", 6_000)
    assert [decoding._factor(size) for size in ((100, 100), (101, 100), (200, 100), (300, 100), (1, 60_001))] == [
        1,
        2,
        2,
        3,
        4,
    ]
    image = colours.to_rgb(noise(201, 99).convert("RGBA"), 2)
    expected = noise(201, 99).reduce(2)
    assert image.size == expected.size == (101, 50)
    assert close(image.getpixel((50, 20)), expected.getpixel((50, 20)), 1)  # type: ignore[arg-type]


@pytest.mark.parametrize("factor", [1, 2, 3])
def test_blocks_leave_no_seams(factor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode in ("RGBA", "LA", "I;16", "F", "CMYK", "P"):
        image = (
            Image.fromarray(np.arange(101 * 67, dtype=np.uint16).reshape(67, 101) * 9)
            if mode == "I;16"
            else noise(101, 67).convert("L").convert("F")
            if mode == "F"
            else noise(101, 67).convert("RGBA").convert("RGB" if mode == "CMYK" else "RGBA").convert(mode)
        )
        monkeypatch.undo()
        whole = colours.to_rgb(image, factor)
        for block in (50, 101, 500, 5000):
            monkeypatch.setattr(colours, "_BLOCK_PIXELS", block)
            assert colours.to_rgb(image, factor).tobytes() == whole.tobytes(), (mode, block)


@pytest.mark.parametrize("side", [10_000, 13_300])
def test_a_webp_that_does_not_fit_is_not_called_damaged(side: int) -> None:
    """One colour is 34 bytes of lossless WebP at any size; libwebp's word for no memory is that of a broken file."""
    data = bytearray(encoded(Image.new("RGB", (10, 10)), "WEBP", lossless=True, method=0))
    at = data.index(b"VP8L") + 9  # behind the length and the signature: width - 1 and height - 1, 14 bits each
    rest = int.from_bytes(data[at : at + 4], "little") >> 28
    data[at : at + 4] = ((side - 1) | (side - 1) << 14 | rest << 28).to_bytes(4, "little")
    assert "does not fit in the memory" in refused(bytes(data)).cause
