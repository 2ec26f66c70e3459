"""Small files that are made to take much memory or time: `BOMBS`, a maker for each name.

Written from the specifications, by hand where no program writes such a thing.
"""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterable

from PIL import Image

SIDE = 13_000  # 169 megapixels, just under the limit of pixels
AREA = (SIDE, SIDE)
ROOM = 48_000_000  # bytes, just under the limit of a file


def chunk(kind: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def zeros(count: int) -> bytes:
    """Packed zeros, without ever holding them."""
    packer = zlib.compressobj(1)
    block = bytes(2**20)
    parts = [packer.compress(block) for _ in range(count // len(block))]
    return b"".join((*parts, packer.compress(block[: count % len(block)]), packer.flush()))


def png(
    size: tuple[int, int] = AREA,
    depth: int = 8,
    colour: int = 2,
    *,
    interlaced: bool = False,
    before: Iterable[bytes] = (),
    after: Iterable[bytes] = (),
    idat: bytes | None = None,
) -> bytes:
    """A black PNG; `before` and `after` are chunks around its pixels."""
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    width, height = size
    rows = height * (1 + -(-width * channels * depth // 8))
    # Seven passes have at most as many bytes and twice as many rows, and some for the rest of a byte.
    packed = zeros(rows + (3 * height * channels if interlaced else 0)) if idat is None else idat
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced)
    palette = [chunk(b"PLTE", bytes(768))] if colour == 3 else []
    parts = [chunk(b"IHDR", header), *palette, *before, chunk(b"IDAT", packed), *after, chunk(b"IEND")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def small_png(*before: bytes, after: Iterable[bytes] = ()) -> bytes:
    return png((8, 8), before=before, after=after)


def exif(entries: int = 65_535, size: int = 40_000_000) -> bytes:
    """Tags that all point at the same bytes, so that each reader that copies them has `entries` copies."""
    tags = b"".join(struct.pack("<HHII", 1 + tag, 7, size, 8) for tag in range(entries))
    head = b"II*\0" + struct.pack("<IH", 8, entries) + tags + bytes(4)
    return head + bytes(max(size - len(head), 0))


def jpeg_parts(size: tuple[int, int] = (64, 64), **options: object) -> tuple[bytes, bytes]:
    """A JPEG until its first scan, and from there on, made larger by its header alone: its data ends early."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "JPEG", **options)
    data = bytearray(file.getvalue())
    frame = data.find(b"\xff\xc2" if options.get("progressive") else b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", size[1], size[0])
    scan = data.find(b"\xff\xda")
    return bytes(data[:scan]), bytes(data[scan:])


def many_scans(count: int, size: tuple[int, int], *, progressive: bool = True) -> bytes:
    head, scans = jpeg_parts(size, progressive=progressive, subsampling=0)
    second = scans.find(b"\xff\xda", 2) if progressive else len(scans) - 2
    one = scans[:second].partition(b"\xff\xc4")[0]
    return head + scans[:-2] + one * count + b"\xff\xd9"


def padded_jpeg(padding: bytes, *, after_first_scan: bool = False) -> bytes:
    head, scans = jpeg_parts(progressive=True)
    if after_first_scan:
        return head + scans[:-2] + padding + scans[-2:]
    return head[:2] + padding + head[2:] + scans


def segments(marker: int, body: bytes, count: int) -> bytes:
    return (bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body) * count


def tiff(tags: dict[int, tuple[int, list[int]]], pixels: bytes = b"", size: tuple[int, int] = AREA) -> bytes:
    """One directory. Tags: number -> (3 for 16 or 4 for 32 bits, values); the pixels are one strip at the end."""
    width, height = size
    every = {256: (4, [width]), 257: (4, [height]), 259: (3, [8]), 262: (3, [1]), 258: (3, [8]), 277: (3, [1])} | tags
    if 322 not in tags:
        every = {273: (4, [0]), 278: (4, [height]), 279: (4, [len(pixels)])} | every
    start = 8 + 2 + 12 * len(every) + 4
    extra, entries = b"", b""
    where = start + sum(len(values) * (2 if kind == 3 else 4) for kind, values in every.values() if len(values) > 1)
    for tag, (kind, given) in sorted(every.items()):
        values = [where] * len(given) if tag in (273, 324) else given
        raw = b"".join(struct.pack("<H" if kind == 3 else "<I", value) for value in values)
        if len(raw) > 4:
            entries += struct.pack("<HHII", tag, kind, len(values), start + len(extra))
            extra += raw
        else:
            entries += struct.pack("<HHI", tag, kind, len(values)) + raw.ljust(4, b"\0")
    return (
        b"II*\0" + struct.pack("<IH", 8, len(every)) + entries + bytes(4) + extra.ljust(where - start, b"\0") + pixels
    )


def tiff_chain(frames: int, *, loop: bool = False) -> bytes:
    directory = struct.pack("<H", 1) + struct.pack("<HHII", 256, 3, 1, 1)
    parts = [b"II*\0" + struct.pack("<I", 8)]
    for frame in range(frames):
        following = 8 if loop else 8 + (frame + 1) * (len(directory) + 4)
        parts.append(directory + struct.pack("<I", following))
    return b"".join(parts)


def gif(size: tuple[int, int] = (8, 8), blocks: bytes = b"", frames: int = 1) -> bytes:
    head = b"GIF89a" + struct.pack("<HHBBB", *size, 0x80, 0, 0) + bytes(6)
    file = io.BytesIO()
    Image.new("L", size).save(file, "GIF")
    frame = file.getvalue()[:-1]
    frame = frame[frame.index(b"\x2c" + bytes(4)) :]
    return head + blocks + frame * frames + b"\x3b"


def bmp(size: tuple[int, int], compression: int, bits: int, data: bytes) -> bytes:
    info = struct.pack("<IiiHHIIiiII", 40, *size, 1, bits, compression, len(data), 0, 0, 256, 0)
    return b"BM" + struct.pack("<IHHI", 54 + 1024 + len(data), 0, 0, 54 + 1024) + info + bytes(1024) + data


def webp(size: tuple[int, int], frames: int, *extra: bytes) -> bytes:
    """An animation of frames of one pixel on a large canvas."""
    file = io.BytesIO()
    Image.new("RGB", (1, 1)).save(file, "WEBP", lossless=True)
    pixel = file.getvalue()[12:]

    def part(kind: bytes, body: bytes) -> bytes:
        return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)

    sides = b"".join(struct.pack("<I", side - 1)[:3] for side in size)
    frame = part(b"ANMF", bytes(6) + bytes(6) + b"\x64\0\0\0" + pixel)
    flags = 0x02 | (0x08 if extra else 0)
    body = part(b"VP8X", bytes((flags, 0, 0, 0)) + sides) + part(b"ANIM", bytes(6)) + frame * frames
    body += b"".join(part(b"EXIF", note) for note in extra)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


def avif(size: tuple[int, int]) -> bytes:
    """Its boxes promise so many pixels; its data has 64 by 64."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64)).save(file, "AVIF")
    data = bytearray(file.getvalue())
    at = data.find(b"ispe")
    data[at + 8 : at + 16] = struct.pack(">II", *size)
    return bytes(data)


def noise(count: int) -> bytes:
    return random.Random(0).randbytes(count)


BOMBS: dict[str, Callable[[], bytes]] = {
    "png grey 16": lambda: png(depth=16, colour=0),
    "png grey alpha 16": lambda: png(depth=16, colour=4),
    "png rgb": lambda: png(),
    "png rgb 16": lambda: png(depth=16),
    "png rgba": lambda: png(colour=6),
    "png rgba 16": lambda: png(depth=16, colour=6),
    "png one bit": lambda: png(depth=1, colour=0),
    "png palette with alpha": lambda: png(colour=3, before=[chunk(b"tRNS", bytes(256))]),
    "png transparent colour": lambda: png(colour=2, before=[chunk(b"tRNS", bytes(6))]),
    "png interlaced": lambda: png(interlaced=True),
    "png interlaced 16": lambda: png((9000, 9000), depth=16, colour=6, interlaced=True),
    "png one row": lambda: png((170_000_000, 1), colour=6),
    "png one column": lambda: png((1, 170_000_000), colour=0),
    "png grey 16 within what is decoded at once": lambda: png((6900, 6900), depth=16, colour=0),
    "png rgba within what is decoded at once": lambda: png((6900, 6900), colour=6),
    "png header of 2^31": lambda: png((2**31 - 1, 2**31 - 1), idat=b""),
    "png zTXt": lambda: small_png(chunk(b"zTXt", b"a\0\0" + zeros(10**9))),
    "png zTXt raw profile": lambda: small_png(chunk(b"zTXt", b"Raw profile type exif\0\0" + zeros(10**9))),
    "png iTXt": lambda: small_png(*[chunk(b"iTXt", b"a\0\1\0\0\0" + zeros(10**6))] * 5000),
    "png iCCP": lambda: small_png(chunk(b"iCCP", b"a\0\0" + zeros(10**9))),
    "png eXIf": lambda: small_png(chunk(b"eXIf", exif())),
    "png eXIf after the pixels": lambda: small_png(after=[chunk(b"eXIf", exif())]),
    "png of chunks": lambda: small_png(chunk(b"abCd") * (ROOM // 12)),
    "png of empty data": lambda: small_png(chunk(b"IDAT") * (ROOM // 12)),
    "png of frames": lambda: small_png(
        chunk(b"acTL", struct.pack(">II", 10**5, 0)),
        after=[chunk(b"fcTL", struct.pack(">IIIIIHHBB", n, 8, 8, 0, 0, 1, 1, 0, 0)) for n in range(10**5)],
    ),
    "png of too much data": lambda: png((8, 8), idat=zeros(4 * 10**9)),
    "jpeg of 3,000 scans": lambda: many_scans(3000, (4000, 4000)),
    "jpeg of 450 scans": lambda: many_scans(450, (8000, 8000)),
    "jpeg of 450 baseline scans": lambda: many_scans(450, (8000, 8000), progressive=False),
    "jpeg progressive": lambda: b"".join(jpeg_parts((65_000, 2700), progressive=True, subsampling=0)),
    "jpeg of fill bytes": lambda: padded_jpeg(b"\xff" * ROOM),
    "jpeg of fill bytes after a scan": lambda: padded_jpeg(b"\xff" * ROOM, after_first_scan=True),
    "jpeg of zero bytes after a scan": lambda: padded_jpeg(bytes(ROOM), after_first_scan=True),
    "jpeg of empty comments": lambda: padded_jpeg(segments(0xFE, b"", ROOM // 4)),
    "jpeg of empty comments after a scan": lambda: padded_jpeg(segments(0xFE, b"", ROOM // 4), after_first_scan=True),
    "jpeg of restart marks": lambda: padded_jpeg(b"\xff\xd0" * (ROOM // 2), after_first_scan=True),
    "jpeg of tables": lambda: padded_jpeg(segments(0xDB, b"\0" + b"\1" * 64, 700_000)),
    "jpeg exif": lambda: padded_jpeg(segments(0xE1, b"Exif\0\0" + exif(4000, 60_000)[:65_000], 1)),
    "jpeg of exifs": lambda: padded_jpeg(segments(0xE1, b"Exif\0\0" + exif(4000, 60_000)[:65_000], 700)),
    "jpeg of profiles": lambda: padded_jpeg(segments(0xE2, b"ICC_PROFILE\0\1\xff" + bytes(65_000), 700)),
    "jpeg of many pictures": lambda: padded_jpeg(segments(0xE2, b"MPF\0" + exif(4000, 60_000)[:65_000], 1)),
    "tiff float": lambda: tiff({258: (3, [32]), 339: (3, [3])}, zeros(4 * SIDE**2)),
    "tiff 32 bits": lambda: tiff({258: (3, [32])}, zeros(4 * SIDE**2)),
    "tiff 16 bits": lambda: tiff({258: (3, [16])}, zeros(2 * SIDE**2)),
    "tiff 64 bits": lambda: tiff({258: (3, [64]), 339: (3, [3])}, zeros(8 * 10**8)),
    "tiff of one strip": lambda: tiff({258: (3, [8] * 3), 277: (3, [3]), 262: (3, [2])}, zeros(3 * SIDE**2)),
    "tiff rgb 16": lambda: tiff({258: (3, [16] * 3), 277: (3, [3]), 262: (3, [2])}, zeros(6 * SIDE**2)),
    "tiff predicted": lambda: tiff({258: (3, [32]), 339: (3, [3]), 317: (3, [3])}, zeros(4 * SIDE**2)),
    "tiff of many samples": lambda: tiff({277: (3, [65_535]), 258: (3, [8])}, zeros(10**8), (2000, 2000)),
    "tiff of tiles": lambda: tiff(
        {322: (4, [16]), 323: (4, [16]), 324: (4, [0] * 660_000), 325: (4, [12] * 660_000)}, zeros(256)
    ),
    "tiff of strips": lambda: tiff(
        {278: (4, [1]), 273: (4, [0] * 10**6), 279: (4, [12] * 10**6)}, zeros(170), (170, 10**6)
    ),
    "tiff of wide tags": lambda: exif(60_000),
    "tiff of directories": lambda: tiff_chain(2_000_000),
    "tiff in a loop": lambda: tiff_chain(1, loop=True),
    "gif of frames": lambda: gif(frames=10**5),
    "gif of comments": lambda: gif(blocks=b"\x21\xfe" + (b"\xff" + b"a" * 255) * (ROOM // 256) + b"\0"),
    "gif of short comments": lambda: gif(blocks=b"\x21\xfe\1a\0" * (ROOM // 5)),
    "gif of one-byte blocks": lambda: gif(blocks=b"\x21\xfe" + b"\1a" * (ROOM // 2) + b"\0"),
    "gif large": lambda: gif((65_500, 2700)),
    "webp large": lambda: webp((16_380, 10_900), 1),
    "webp of frames": lambda: webp((4000, 4000), 10**5),
    "webp exif": lambda: webp((8, 8), 1, exif()),
    "bmp run lengths": lambda: bmp(AREA, 1, 8, b"\xff\0" * 27_000),
    "bmp run lengths to its end": lambda: bmp(AREA, 1, 8, b"\xff\0" * 700_000),
    "bmp run lengths of short rows": lambda: bmp(AREA, 1, 8, b"\1\0\0\0" * 13_000),
    "bmp jumps": lambda: bmp(AREA, 1, 8, b"\0\2\xff\xff" * 2600),
    "bmp short run lengths": lambda: bmp((8000, 8000), 2, 4, b"\xff\0" * 260_000),
    "bmp promises": lambda: bmp(AREA, 0, 32, bytes(100)),
    "bmp upside down": lambda: bmp((SIDE, -SIDE), 0, 8, bytes(100)),
    "avif promises": lambda: avif((16_000, 11_000)),
}

FAST = (
    "png grey 16 within what is decoded at once",
    "png zTXt raw profile",
    "png eXIf",
    "jpeg of 3,000 scans",
    "jpeg of fill bytes",
    "jpeg of exifs",
    "tiff of wide tags",
    "gif of frames",
    "webp large",
    "bmp promises",
    "avif promises",
)
