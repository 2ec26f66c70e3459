"""Of a PNG or JPEG, only what pixels are made of, and what decoding it will cost, before a decoder sees any of it.

Notes, profiles, comments and padding are where small files hide large work: they are left out, and how the picture is
turned is read here. A file whose beginning is not laid out as the specification says is left to a process with limits.
Sources: W3C PNG (third edition), 5 and 11; ITU-T T.81, annexes A and B.
"""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

from llava_engine.pictures.orientation import orientation

_MOST_PARTS = 100_000  # chunks or segments: 50 MB in libpng's usual 8 KB make 6,100
_MOST_NOTE = 2**20  # bytes of an unpacked note, as Pillow allows

_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"})
_PNG_EXIF = b"Raw profile type exif"  # as ImageMagick writes it: a name, a length, hexadecimal digits
_PNG_XMP = b"XML:com.adobe.xmp"

_SOI, _SOS, _APP0, _APP1, _APP14, _COM = 0xD8, 0xDA, 0xE0, 0xE1, 0xEE, 0xFE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # SOF0 to SOF15; the three are DHT, JPG and DAC
_WHOLE_FRAMES = frozenset({0xC2, 0xC6, 0xCA, 0xCE})  # progressive: all coefficients are kept until the last scan
_FILL = re.compile(rb"\xff+")
_LONG_FILL = b"\xff" * 4096  # Pillow and libjpeg begin such a run again with every 64 KB that they read


class TooManyPartsError(Exception):
    """More chunks or segments than any program writes."""


@dataclass(frozen=True)
class Essentials:
    """What a decoder needs of a file.

    Attributes:
        data: the file without the rest.
        size: (width, height) as stored, in pixels.
        turn: how it is turned, 1 (upright) to 8.
        scans: how often all pixels are gone over.
        kept_bytes: what the decoder keeps besides its result.
        plain: it is laid out as programs write it.
    """

    data: bytes
    size: tuple[int, int]
    turn: int
    scans: int = 1
    kept_bytes: int = 0
    plain: bool = True


def of_png(data: bytes) -> Essentials | None:
    """Of a PNG; None when it is not laid out like one. Of an animation the picture for those who can not play it.

    Raises:
        TooManyPartsError: as its name says.
    """
    kept, at, exif, xmp = [data[:8]], 8, b"", b""
    size = None
    for _ in range(_MOST_PARTS):
        length, kind = int.from_bytes(data[at : at + 4], "big"), data[at + 4 : at + 8]
        if len(kind) < 4:
            break  # cut: the decoder says so
        if kind == b"IHDR" and length == 13 and size is None:
            size = int.from_bytes(data[at + 8 : at + 12], "big"), int.from_bytes(data[at + 12 : at + 16], "big")
        if kind in _PNG_KEPT:
            kept.append(data[at : at + length + 12])
        elif kind == b"eXIf":
            exif = exif or data[at + 8 : at + 8 + length]
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            note = data[at + 8 : at + 8 + min(length, _MOST_NOTE)]
            if note.startswith(_PNG_EXIF):
                exif = exif or _hexadecimal(_unpacked(note[len(_PNG_EXIF) + 1 :], kind == b"zTXt"))
            elif note.startswith(_PNG_XMP):
                xmp = xmp or note
        if kind == b"IEND":
            break
        at += length + 12
    else:
        raise TooManyPartsError
    if size is None:
        return None
    return Essentials(b"".join(kept), size, orientation(exif, xmp))


def of_jpeg(data: bytes) -> Essentials | None:
    """Of a JPEG; None when it is not laid out like one.

    Raises:
        TooManyPartsError: as its name says.
    """
    kept, at, notes = [data[:2]], 2, {b"Exif\0\0": b"", b"http://ns.adobe.com/xap/1.0/\0": b""}
    frame, seen = None, set()
    for _ in range(_MOST_PARTS):
        fill = _FILL.match(data, at)
        if fill is None or fill.end() >= len(data):
            return None
        at = fill.end() - 1
        marker, length = data[at + 1], int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == _SOS:
            break
        body = data[at + 4 : at + 2 + length]
        if marker in _FRAMES:
            if frame is not None:
                return None
            frame = marker, body
        if marker == _APP1:
            for name in notes:
                if body.startswith(name):
                    notes[name] = notes[name] or body[len(name) :]
        # Of the notes a decoder needs two: they say what the colours are.
        is_note = _APP0 <= marker <= _APP0 + 15 or marker == _COM
        if not is_note or (marker in (_APP0, _APP14) and marker not in seen):
            kept.append(data[at : at + 2 + length])
        seen.add(marker)
        at += 2 + length
    else:
        raise TooManyPartsError
    if frame is None or len(frame[1]) < 6 or len(frame[1]) < 6 + 3 * frame[1][5] or not frame[1][5]:
        return None
    marker, body = frame
    rest = data[at:]
    exif, xmp = notes.values()
    # An upper bound: a scan begins with these two bytes, and data within a scan never has them.
    scans = max(rest.count(b"\xff\xda"), 1)
    return Essentials(
        b"".join((*kept, rest)),
        (int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")),
        orientation(exif, xmp),
        scans,
        _coefficient_bytes(body) if marker in _WHOLE_FRAMES or scans > 1 else 0,
        _LONG_FILL not in rest,
    )


def _coefficient_bytes(frame: bytes) -> int:
    """Two bytes for each coefficient of each component, as its sampling says (T.81, A.1.1)."""
    height, width = int.from_bytes(frame[1:3], "big"), int.from_bytes(frame[3:5], "big")
    samplings = [(frame[at + 1] >> 4, frame[at + 1] & 15) for at in range(6, 6 + 3 * frame[5], 3)]
    across = max(horizontal for horizontal, _ in samplings) or 1
    down = max(vertical for _, vertical in samplings) or 1
    return sum(2 * width * height * horizontal * vertical // (across * down) for horizontal, vertical in samplings)


def _unpacked(note: bytes, packed: bool) -> bytes:
    if not packed:
        return note
    try:
        return zlib.decompressobj().decompress(note[1:], _MOST_NOTE)
    except zlib.error:
        return b""


def _hexadecimal(note: bytes) -> bytes:
    try:
        return bytes.fromhex("".join(note.decode("ascii").split("\n")[3:]))
    except ValueError:
        return b""
