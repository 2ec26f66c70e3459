"""A file is told by its bytes: what is read is read under any name, and all else is called what it is."""

from __future__ import annotations

import io
import struct
import zipfile
from importlib.util import find_spec
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, features

from llava_engine.errors import PictureError
from llava_engine.pictures.kinds import accepted, kind_of
from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import close, encoded, halves, refused

READS_HEIC = find_spec("pillow_heif") is not None


def boxes(major: bytes, *compatible: bytes) -> bytes:
    brands = major + bytes(4) + b"".join(compatible)
    return struct.pack(">I", 8 + len(brands)) + b"ftyp" + brands + struct.pack(">I", 100) + b"meta" + bytes(92)


def directory(*tags: tuple[int, int], order: str = "<") -> bytes:
    """A TIFF of these tags, each with one 32-bit value."""
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, len(tags))
    return head + b"".join(struct.pack(order + "HHII", tag, 4, 1, value) for tag, value in tags) + bytes(4)


def archive() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        made.writestr("word/document.xml", "<w/>")
    return file.getvalue()


UNREAD = {
    "an SVG drawing": [
        b'<svg xmlns="http://www.w3.org/2000/svg"/>',
        b'\xef\xbb\xbf<?xml version="1.0"?>\n<!-- made by hand -->\n<svg width="9">',
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "svg11.dtd"><svg>',
        '<?xml version="1.0" encoding="utf-16"?><svg>'.encode("utf-16"),
    ],
    "a web page": [
        b"<!doctype html><title>404</title>",
        b"\n\n  <HTML lang=de><body><svg></svg>",
        b"<html><head><meta charset=latin1><title>Gr\xfc\xdfe</title>",
        b"<!-- a comment --><script>x</script>",
    ],
    "an XML file": [b"<?xml version='1.0'?><rss>"],
    "a PDF document": [b"%PDF-1.7\n%\xe2\xe3\xcf\xd3", b"\0\0junk\n%PDF-1.4"],
    "an MP4 video": [boxes(b"isom", b"avc1"), boxes(b"mp42"), boxes(b"3gp5"), boxes(b"dash")],
    "a QuickTime video": [boxes(b"qt  "), struct.pack(">I", 99) + b"moov" + bytes(90), bytes(4) + b"mdat" + bytes(9)],
    "a Matroska or WebM video": [b"\x1aE\xdf\xa3\x9fB\x86\x81\x01B\xf7\x81\x01"],
    "an AVI video": [b"RIFF\x24\0\0\0AVI LIST"],
    "an MPEG video": [b"\0\0\1\xba\x44\0", (b"\x47" + bytes(187)) * 4],
    "a sound file": [b"ID3\x04\0", b"fLaC\0", b"RIFF\x24\0\0\0WAVEfmt ", boxes(b"M4A "), b"\xff\xfb\x90\x64"],
    "an Ogg file of sound or video": [b"OggS\0\2"],
    "a JPEG XL picture": [b"\xff\x0a\xfa\x1f", b"\0\0\0\x0cJXL \r\n\x87\n"],
    "a JPEG 2000 picture": [encoded(halves(), "JPEG2000"), b"\xff\x4f\xff\x51\0\x2f"],
    "a camera's raw picture": [
        b"II*\0\x10\0\0\0CR\2\0",
        directory((254, 1), (256, 160), (330, 900)),
        directory((254, 1), (256, 160), (330, 900), order=">"),
        directory((256, 4000), (50706, 0x401)),
        boxes(b"crx "),
        b"FUJIFILMCCD-RAW 0201",
        b"IIRO\x08\0\0\0",
        b"IIU\0\x18\0\0\0",
    ],
    "an icon (ICO)": [encoded(halves(), "ICO")],
    "a mouse pointer (CUR)": [struct.pack("<HHHBBBB", 0, 2, 1, 32, 32, 0, 0)],
    "a TGA picture": [encoded(halves(), "TGA"), encoded(halves(), "TGA", compression="tga_rle")],
    "a Photoshop document": [b"8BPS\0\1"],
    "a Netpbm picture": [encoded(halves(), "PPM"), b"P1\n# words\n2 2\n0 1\n1 0\n"],
    "a PostScript document": [encoded(halves(), "EPS")],
    "a PCX picture": [encoded(halves(), "PCX")],
    "a DICOM picture": [bytes(128) + b"DICM"],
    "a ZIP archive, or an office document": [archive()],
    "a gzip archive": [b"\x1f\x8b\x08\0"],
    "a tar archive": [b"a.png".ljust(257, b"\0") + b"ustar\0"],
    "a Git LFS pointer in place of the file": [b"version https://git-lfs.github.com/spec/v1\noid sha256:aa\n"],
    "a text file": [
        b"just words",
        "Grüße, مرحبا 🎈".encode(),
        b'{"a": 1}',
        b"BMW is a car, not a bitmap",
        b"GIF is a format",
    ],
    "a program": [b"\x7fELF\2\1", b"MZ\x90\0"],
}


@pytest.mark.parametrize(
    ("what", "data"),
    [
        pytest.param(what, data, id=f"{what} {number}")
        for what, files in UNREAD.items()
        for number, data in enumerate(files)
    ],
)
def test_what_is_not_read_is_called_what_it_is(what: str, data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(data)
    error = refused(path)
    assert error.cause == f"photo.jpg is {what}, whatever its name says, and not a picture that we can read."


@pytest.mark.skipif(READS_HEIC, reason="then HEIC is read")
@pytest.mark.parametrize("brands", [(b"heic", b"mif1"), (b"mif1", b"heic"), (b"heix",), (b"msf1", b"hevc")])
def test_heic_is_named_with_what_reads_it(brands: tuple[bytes, ...]) -> None:
    error = refused(boxes(*brands), name="IMG_0001.HEIC")
    assert error.cause == "IMG_0001.HEIC is a HEIC picture, and not a picture that we can read."
    assert "'.[heif]'" in error.remedy and "JPEG" in error.remedy
    assert "whatever its name says" in refused(boxes(*brands), name="IMG_0001.jpeg").cause


@pytest.mark.skipif(not READS_HEIC, reason="needs pillow-heif")
def test_heic_is_read_upright() -> None:
    import pillow_heif

    pillow_heif.register_heif_opener()
    exif = Image.Exif()
    exif[0x0112] = 6
    image = halves().resize((80, 40))
    image.info["exif"] = exif.tobytes()  # becomes a turn of the container, which is what counts in HEIF
    picture = open_picture(encoded(image, "HEIF", quality=90), name="a.jpg")
    assert (picture.size, picture.image.size, picture.media_type) == ((40, 80), (40, 80), "image/heic")
    assert close(picture.image.getpixel((20, 10)), (255, 0, 0), 12)


@pytest.mark.skipif(not features.check("avif"), reason="this Pillow reads no AVIF")
def test_avif_is_read() -> None:
    picture = open_picture(encoded(halves().resize((80, 40)), "AVIF", quality=90), name="a.jpg")
    assert (picture.size, picture.media_type) == ((80, 40), "image/avif")
    assert close(picture.image.getpixel((10, 20)), (255, 0, 0), 12)
    assert close(picture.image.getpixel((70, 20)), (0, 0, 255), 12)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_picture(encoded(halves(), "AVIF", exif=exif)).image.size == (20, 40)


def test_servers_are_asked_for_what_is_read_alone() -> None:
    kinds = [kind.partition(";")[0].strip() for kind in accepted().split(",")]
    assert {"image/png", "image/jpeg", "image/webp", "image/gif"} <= set(kinds)
    assert not any("*" in kind for kind in kinds)
    assert ("image/avif" in kinds) == features.check("avif")
    assert ("image/heic" in kinds) == READS_HEIC


def test_a_usual_tiff_is_no_raw_picture() -> None:
    tags = Image.Exif()
    tags[254] = 0
    assert open_picture(encoded(halves(), "TIFF", tiffinfo=tags)).size == (40, 20)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_kind_or_none(data: bytes) -> None:
    kind = kind_of(data)
    assert kind is None or kind.what


@given(st.sampled_from([data for files in UNREAD.values() for data in files]), st.data())
def test_a_cut_file_is_a_users_error_too(whole: bytes, data: st.DataObject) -> None:
    cut = whole[: data.draw(st.integers(0, len(whole)))]
    with pytest.raises(PictureError):
        open_picture(cut)
