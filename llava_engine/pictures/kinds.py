"""What kind of file some bytes are, told by the bytes alone: names and servers are often wrong.

Signatures: the specifications of the formats, and for containers their brands (ISO/IEC 14496-12 for `ftyp`). A kind
that is not read is still known, so that a person learns what they have and what to do with it.
"""

from __future__ import annotations

import codecs
import re
from dataclasses import dataclass
from importlib.util import find_spec

_SAVE_AS = "Open it in a program that shows it, and save it as PNG or JPEG."
_ONLY_PICTURES = "Give a PNG, JPEG, WebP, GIF, BMP or TIFF picture."
_UNPACK = "Unpack it, and give a picture out of it."
_FRAME = "Save one frame of it as a picture: ffmpeg -i VIDEO -frames:v 1 frame.png"
_LOOKED_AT = 4096  # bytes from the beginning; every signature and a page's first tag lie there
_TAGS_LOOKED_AT = 200  # of a TIFF's first directory: cameras write some 60


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        what: with its article, as in "… is a HEIC picture".
        remedy: what to do with one that is not read.
        suffixes: how such files are usually called, in lower case.
        pillow: Pillow's name of the format, where we let Pillow read it; else "".
        plugin: the module that reads it.
        media_type: as a server calls it, where we read it.
    """

    what: str
    remedy: str = _SAVE_AS
    suffixes: tuple[str, ...] = ()
    pillow: str = ""
    plugin: str = ""
    media_type: str = ""


PNG = Kind("a PNG picture", "", (".png", ".apng"), "PNG", "PIL.PngImagePlugin", "image/png")
JPEG = Kind("a JPEG picture", "", (".jpg", ".jpeg", ".jpe"), "JPEG", "PIL.JpegImagePlugin", "image/jpeg")
WEBP = Kind("a WebP picture", "", (".webp",), "WEBP", "PIL.WebPImagePlugin", "image/webp")
GIF = Kind("a GIF picture", "", (".gif",), "GIF", "PIL.GifImagePlugin", "image/gif")
BMP = Kind("a BMP picture", "", (".bmp", ".dib"), "BMP", "PIL.BmpImagePlugin", "image/bmp")
TIFF = Kind("a TIFF picture", "", (".tif", ".tiff"), "TIFF", "PIL.TiffImagePlugin", "image/tiff")
AVIF = Kind("an AVIF picture", _SAVE_AS, (".avif", ".avifs"), "AVIF", "PIL.AvifImagePlugin", "image/avif")
HEIC = Kind(
    "a HEIC picture",
    "Install what reads it (in llava's folder: pip install -c constraints.txt '.[heif]'), or save it as JPEG or PNG.",
    (".heic", ".heif", ".hif"),
    "HEIF",
    "pillow_heif",
    "image/heic",
)
_RAW = Kind(
    "a camera's raw picture",
    "Develop it in a photo program, and save it as JPEG or PNG.",
    (".dng", ".nef", ".cr2", ".cr3", ".arw", ".orf", ".rw2", ".raf", ".pef", ".srw", ".x3f"),
)
_SVG = Kind("an SVG drawing", "Save it as PNG, at the size at which it should be seen.", (".svg",))
_PAGE = Kind(
    "a web page",
    "Open it in a browser, and save the picture that it shows, or give the picture's own address.",
    (".html", ".htm"),
)
_PDF = Kind("a PDF document", "Save the page that matters as a PNG picture.", (".pdf", ".ai"))
_XML = Kind("an XML file", _ONLY_PICTURES, (".xml",))
_TEXT = Kind("a text file", _ONLY_PICTURES, (".txt", ".md", ".csv", ".json"))
_PROGRAM = Kind("a program", _ONLY_PICTURES, (".exe", ".dll"))
_POINTER = Kind("a Git LFS pointer in place of the file", "Fetch the file itself: git lfs pull")
_MP4 = Kind("an MP4 video", _FRAME, (".mp4", ".m4v", ".mov", ".3gp"))
_QUICKTIME = Kind("a QuickTime video", _FRAME, (".mov", ".qt"))
_AUDIO = Kind(
    "a sound file", _ONLY_PICTURES, (".mp3", ".m4a", ".m4b", ".wav", ".flac", ".ogg", ".oga", ".opus", ".aac")
)
_JPEG_XL = Kind("a JPEG XL picture", _SAVE_AS, (".jxl",))
_JPEG_2000 = Kind("a JPEG 2000 picture", _SAVE_AS, (".jp2", ".j2k", ".jpf", ".jpx", ".j2c"))
_TARGA = Kind("a TGA picture", _SAVE_AS, (".tga",))

# The bytes that a file begins with; the first that fits counts.
_BEGINNINGS: tuple[tuple[bytes, Kind], ...] = (
    (b"\x89PNG\r\n\x1a\n", PNG),
    (b"\xff\xd8\xff", JPEG),
    (b"GIF87a", GIF),
    (b"GIF89a", GIF),
    (b"II*\0", TIFF),
    (b"MM\0*", TIFF),
    (b"II+\0", TIFF),  # BigTIFF
    (b"MM\0+", TIFF),
    (b"\0\0\0\x0cJXL \r\n\x87\n", _JPEG_XL),
    (b"\xff\x0a", _JPEG_XL),
    (b"\0\0\0\x0cjP  \r\n\x87\n", _JPEG_2000),
    (b"\xff\x4f\xff\x51", _JPEG_2000),
    (b"8BPS", Kind("a Photoshop document", _SAVE_AS, (".psd", ".psb"))),
    (b"gimp xcf", Kind("a GIMP document", "Export it from GIMP as PNG.", (".xcf",))),
    (b"\0\0\1\0", Kind("an icon (ICO)", _SAVE_AS, (".ico",))),
    (b"\0\0\2\0\0\0", _TARGA),  # a pointer holds one picture at least, so that its next byte is no 0
    (b"\0\0\x0a\0\0\0", _TARGA),
    (b"\0\0\2\0", Kind("a mouse pointer (CUR)", _SAVE_AS, (".cur",))),
    (b"icns", Kind("a Mac icon (ICNS)", _SAVE_AS, (".icns",))),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"IIU\0", _RAW),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"FOVb", _RAW),
    (b"\0MRM", _RAW),
    (b"v/1\x01", Kind("an OpenEXR picture", _SAVE_AS, (".exr",))),
    (b"#?RADIANCE", Kind("a Radiance HDR picture", _SAVE_AS, (".hdr",))),
    (b"#?RGBE", Kind("a Radiance HDR picture", _SAVE_AS, (".hdr",))),
    (b"DDS ", Kind("a DDS texture", _SAVE_AS, (".dds",))),
    (b"qoif", Kind("a QOI picture", _SAVE_AS, (".qoi",))),
    (b"BPG\xfb", Kind("a BPG picture", _SAVE_AS, (".bpg",))),
    (b"\x8aMNG\r\n\x1a\n", Kind("an MNG animation", _SAVE_AS, (".mng",))),
    (b"AT&TFORM", Kind("a DjVu document", _SAVE_AS, (".djvu", ".djv"))),
    (b"\xd7\xcd\xc6\x9a", Kind("a Windows metafile", _SAVE_AS, (".wmf",))),
    (b"SIMPLE  =", Kind("a FITS picture", _SAVE_AS, (".fits", ".fit"))),
    (b"%!PS", Kind("a PostScript document", "Save the page that matters as a PNG picture.", (".ps", ".eps"))),
    (b"\xc5\xd0\xd3\xc6", Kind("a PostScript document", "Save it as a PNG picture.", (".eps",))),
    (b"\x0a\x05\x01\x08", Kind("a PCX picture", _SAVE_AS, (".pcx",))),
    (b"\x1aE\xdf\xa3", Kind("a Matroska or WebM video", _FRAME, (".mkv", ".webm", ".mka"))),
    (b"FLV\x01", Kind("a Flash video", _FRAME, (".flv",))),
    (b"\0\0\1\xba", Kind("an MPEG video", _FRAME, (".mpg", ".mpeg", ".vob"))),
    (b"\0\0\1\xb3", Kind("an MPEG video", _FRAME, (".mpg", ".mpeg"))),
    (b"0&\xb2u\x8ef\xcf\x11", Kind("a Windows Media video", _FRAME, (".wmv", ".asf", ".wma"))),
    (b"OggS", Kind("an Ogg file of sound or video", _FRAME, (".ogg", ".ogv", ".oga", ".opus"))),
    (b"ID3", _AUDIO),
    (b"fLaC", _AUDIO),
    (b"\xff\xfb", _AUDIO),
    (b"\xff\xf3", _AUDIO),
    (b"\xff\xf2", _AUDIO),
    (b"\xff\xf1", _AUDIO),
    (
        b"PK\3\4",
        Kind("a ZIP archive, or an office document", _UNPACK, (".zip", ".docx", ".xlsx", ".pptx", ".odt", ".epub")),
    ),
    (b"PK\5\6", Kind("an empty ZIP archive", _ONLY_PICTURES, (".zip",))),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Kind("an office document", _SAVE_AS, (".doc", ".xls", ".ppt", ".msg"))),
    (b"\x1f\x8b", Kind("a gzip archive", _UNPACK, (".gz", ".tgz", ".svgz"))),
    (b"7z\xbc\xaf\x27\x1c", Kind("a 7-Zip archive", _UNPACK, (".7z",))),
    (b"Rar!\x1a\7", Kind("a RAR archive", _UNPACK, (".rar",))),
    (b"\xfd7zXZ\0", Kind("an xz archive", _UNPACK, (".xz",))),
    (b"BZh", Kind("a bzip2 archive", _UNPACK, (".bz2",))),
    (b"\x28\xb5\x2f\xfd", Kind("a Zstandard archive", _UNPACK, (".zst",))),
    (b"\x7fELF", _PROGRAM),
    (b"MZ", _PROGRAM),
    (b"version https://git-lfs.github.com/spec/", _POINTER),
)
_RIFF = {
    b"WEBP": WEBP,
    b"AVI ": Kind("an AVI video", _FRAME, (".avi",)),
    b"WAVE": _AUDIO,
}
_HEIC_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1"})
_AVIF_BRANDS = frozenset({b"avif", b"avis"})
_AUDIO_BRANDS = frozenset({b"M4A ", b"M4B ", b"M4P "})
_MOVIE_BOXES = frozenset({b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})  # QuickTime from before `ftyp`
_NETPBM = re.compile(rb"P[1-7][ \t\r\n#]")
# What a browser takes for HTML (WHATWG MIME Sniffing, 7.1) or for SVG, whichever comes first.
_TAG = re.compile(rb"<(?:!doctype\s+)?(html|svg|head|body|script|iframe|h1|div|title|table|style|p|a|br)[\s>/]", re.I)


_ALL = (PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF, HEIC, _RAW, _SVG, _PAGE, _PDF, _MP4, _QUICKTIME, _AUDIO)
SUFFIXES = frozenset(
    suffix for kind in (*_ALL, *_RIFF.values(), *(kind for _, kind in _BEGINNINGS)) for suffix in kind.suffixes
) - frozenset(_PROGRAM.suffixes)
"""How files are called that are to be seen, in lower case."""
PICTURE_SUFFIXES = frozenset(suffix for kind in _ALL if kind.pillow for suffix in kind.suffixes)
"""How pictures are called that can be read, here or with an extra."""


def kind_of(data: bytes) -> Kind | None:
    """The kind of file that these bytes are; None when they are none that we know."""
    head = data[:_LOOKED_AT]
    if head[:4] == b"RIFF" and head[8:12] in _RIFF:
        return _RIFF[head[8:12]]
    if head[4:8] == b"ftyp":
        return _by_brand(head)
    if head[:2] == b"BM" and _has_bitmap_header(head):
        return BMP
    for beginning, kind in _BEGINNINGS:
        if head.startswith(beginning):
            return _RAW if kind is TIFF and _is_raw(data) else kind
    if head[4:8] in _MOVIE_BOXES:
        return _QUICKTIME
    if b"%PDF-" in head[:1024]:  # readers accept some bytes before it
        return _PDF
    if head[128:132] == b"DICM":
        return Kind("a DICOM picture", _SAVE_AS, (".dcm",))
    if head[40:44] == b" EMF":
        return Kind("a Windows metafile", _SAVE_AS, (".emf",))
    if head[257:262] == b"ustar":
        return Kind("a tar archive", _UNPACK, (".tar",))
    if head[:1] == head[188:189] == head[376:377] == b"\x47":
        return Kind("an MPEG video", _FRAME, (".ts", ".mts", ".m2ts"))
    if _NETPBM.match(head):
        return Kind("a Netpbm picture", _SAVE_AS, (".ppm", ".pgm", ".pbm", ".pnm", ".pam"))
    return _kind_of_text(head)


def is_to_be_seen(kind: Kind | None) -> bool:
    """Whether it is something to look at, read or not: a picture, a document, a video; no plain text, no program."""
    return kind is not None and kind not in (_TEXT, _XML, _PROGRAM)


def is_read(kind: Kind) -> bool:
    """Whether this installation reads pictures of this kind."""
    if not kind.pillow:
        return False
    if kind is AVIF:
        from PIL import features

        return bool(features.check("avif"))
    return kind is not HEIC or find_spec(HEIC.plugin) is not None


def accepted() -> str:
    """The kinds that we read, for the `Accept` header: a server that can choose does not send another."""
    read = [kind.media_type for kind in (PNG, JPEG, WEBP, GIF, BMP, TIFF, AVIF, HEIC) if is_read(kind)]
    return ", ".join(read) + ", application/octet-stream;q=0.1"


def _by_brand(head: bytes) -> Kind:
    """A file of boxes: the major brand, then those that it is compatible with."""
    end = min(int.from_bytes(head[:4], "big"), len(head))
    brands = [head[8:12], *(head[at : at + 4] for at in range(16, end - 3, 4))]
    if _AVIF_BRANDS & set(brands[:1]) or (brands[0] in _HEIC_BRANDS and _AVIF_BRANDS & set(brands)):
        return AVIF
    if brands[0] in _HEIC_BRANDS:
        return HEIC
    if brands[0] == b"crx ":
        return _RAW
    if brands[0] == b"jxl ":
        return _JPEG_XL
    if brands[0] in (b"jp2 ", b"jpx "):
        return _JPEG_2000
    if brands[0] in _AUDIO_BRANDS:
        return _AUDIO
    return _QUICKTIME if brands[0] == b"qt  " else _MP4


def _has_bitmap_header(head: bytes) -> bool:
    """Two letters may begin any text: the size of the header after them must be one that exists."""
    return int.from_bytes(head[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124)


def _is_raw(data: bytes) -> bool:
    """Whether a TIFF is a camera's raw picture: Pillow would show its thumbnail.

    Canon marks it; Adobe's DNG has a tag; with the others the first directory is a thumbnail that has directories
    below it (TIFF 6.0: NewSubfileType, and SubIFDs of its supplement 1).
    """
    if data[8:10] == b"CR":
        return True
    order = "little" if data[:2] == b"II" else "big"

    def number(at: int, size: int) -> int:
        return int.from_bytes(data[at : at + size], order)  # type: ignore[arg-type]

    first = number(4, 4)
    tags = {}
    for entry in range(min(number(first, 2), _TAGS_LOOKED_AT)):
        at = first + 2 + 12 * entry
        tags[number(at, 2)] = number(at + 8, 4)
    return 50706 in tags or (tags.get(254) == 1 and 330 in tags)


def _kind_of_text(head: bytes) -> Kind | None:
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        head = head.decode("utf-16", "replace").encode()
    text = head.removeprefix(codecs.BOM_UTF8).lstrip()
    try:
        letters = codecs.getincrementaldecoder("utf-8")().decode(text)  # the last letter may be cut
    except UnicodeDecodeError:
        letters = text.decode("latin-1") if text[:1] == b"<" else ""
    if not letters or any(letter < " " and letter not in "\t\n\r\f\x1b" for letter in letters):
        return None
    if text[:1] == b"<":
        if tag := _TAG.search(text):
            return _SVG if tag[1].lower() == b"svg" else _PAGE
        return _XML
    return _TEXT
