"""Bytes of a known kind -> upright RGB, within a budget of memory and time.

What the usual picture costs is known from its header, and it is decoded here and now. Whatever is large, or can not be
known, is decoded in a process of its own with hard limits (`decoder_process.py`). Knows no files and no network.
"""

from __future__ import annotations

import importlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

from llava_engine.errors import PictureError
from llava_engine.pictures import kinds
from llava_engine.pictures.colours import UnknownColoursError, to_rgb
from llava_engine.pictures.essentials import Essentials, TooManyPartsError, of_jpeg, of_png
from llava_engine.pictures.kinds import Kind
from llava_engine.pictures.orientation import orientation, upright
from llava_engine.pictures.reading import MAX_PIXELS

if TYPE_CHECKING:
    from PIL import Image

BUDGET_BYTES = 880_000_000  # of one decoding: with Python and Pillow below 1 GB
_SMALLER = "Make it smaller, then try again."
_AGAIN = "Get the picture again."
_AS_PNG = "Save it as PNG or JPEG."

# At once, without another process: some 0.4 GB and 2 s at the very most.
_QUICK_PIXELS = 48_000_000  # in RGB 192 MB, and the same for another mode
_QUICK_KEPT_BYTES = 200_000_000
_QUICK_WORK = 400_000_000  # pixels times scans: libjpeg goes over 200 million a second
_QUICK_FILE = 1_000_000  # bytes of a kind whose inside we do not look at: enough for tricks, too little for harm
_QUICK_FILE_PIXELS = 16_000_000  # WebP takes 20 bytes for each
_LEAST_BYTES = {"WEBP": 16, "AVIF": 8}
"""For a pixel, of libraries that decode all at once, and may call it damage when they run out of memory. Measured."""
_LARGEST_RESULT = 24_000_000  # pixels that another process gives of a picture above _QUICK_PIXELS

# Beyond this nobody waits. Programs write up to 20 scans; libjpeg-turbo's own tools advise to stop at 500.
_MOST_SCANS = 500


class NotQuickError(Exception):
    """It takes another process."""


@dataclass(frozen=True)
class Decoded:
    """A decoded picture.

    Attributes:
        image: RGB, upright, maybe at a reduced size.
        size: (width, height) of the original, upright.
    """

    image: Image.Image
    size: tuple[int, int]


def known_size(data: bytes, kind: Kind, name: str, max_pixels: int) -> tuple[int, int] | None:
    """(width, height), upright, of a file that can be decoded at any time: all that it costs was looked at, and is
    within limits. None for one of which that can be said only by decoding it.

    Raises:
        PictureError: it is known to be too large, or to take too much memory or time.
    """
    try:
        essentials = _essentials(data, kind)
    except TooManyPartsError as error:
        raise too_much_time(name) from error
    if essentials is None:
        return None
    _check(essentials, name, max_pixels)
    width, height = essentials.size
    return (width, height) if essentials.turn < 5 else (height, width)


def decode(data: bytes, kind: Kind, name: str, draft_to: int, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode a file.

    Args:
        data: all of it.
        kind: what it is; one that is read here.
        name: what errors call it.
        draft_to, max_pixels: as for `open_picture`.

    Raises:
        PictureError: damaged, too large, or made so that it would take too much memory or time.
    """
    try:
        essentials = _essentials(data, kind)
    except TooManyPartsError as error:
        raise too_much_time(name) from error
    if essentials is not None:
        _check(essentials, name, max_pixels)
    try:
        if _is_quick(data, kind, essentials, draft_to):
            kept = data if essentials is None else essentials.data
            return decode_here(kept, kind, name, draft_to, essentials, max_pixels)
    except NotQuickError:
        pass
    from llava_engine.pictures.decoder_process import decode_apart

    return decode_apart(data, kind, name, draft_to, max_pixels)


def decode_whatever_it_takes(data: bytes, kind: Kind, name: str, draft_to: int, max_pixels: int) -> Decoded:
    """The same, for the process whose limits are set by the system."""
    essentials = _essentials(data, kind)
    kept = data if essentials is None else essentials.data
    return decode_here(kept, kind, name, draft_to, essentials, max_pixels, quick_pixels=None)


def decode_here(
    data: bytes,
    kind: Kind,
    name: str,
    draft_to: int,
    essentials: Essentials | None,
    max_pixels: int = MAX_PIXELS,
    quick_pixels: int | None = _QUICK_FILE_PIXELS,
) -> Decoded:
    """Decode in this process.

    Raises:
        NotQuickError: it has more pixels than `quick_pixels`, and nobody looked at its inside.
        PictureError: as for `decode`.
    """
    from PIL import Image, UnidentifiedImageError

    # Our own limits come first, and nobody would see it.
    warnings.simplefilter("ignore", Image.DecompressionBombWarning)
    try:
        _load_plugin(kind)
        image = Image.open(io.BytesIO(data), formats=(kind.pillow,))
        size = image.size
        check_pixels(size, name, max_pixels)
        least = _tiff_bytes(image) if kind is kinds.TIFF else size[0] * size[1] * _LEAST_BYTES.get(kind.pillow, 0)
        if least > BUDGET_BYTES:
            raise MemoryError
        if essentials is None and quick_pixels is not None and size[0] * size[1] > quick_pixels:
            raise NotQuickError
        image.draft(None, (draft_to, draft_to))
        image.load()
        if essentials is not None:
            turn = essentials.turn
        elif kind is kinds.TIFF:
            turn = 1  # Pillow turns it while loading
        else:
            turn = orientation(_note(image, "exif"), _note(image, "xmp"))
        result = upright(to_rgb(image, _factor(image.size)), turn)
    except (PictureError, NotQuickError):
        raise
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} is {kind.what}, and damaged or incomplete.", _AGAIN) from error
    except Image.DecompressionBombError as error:
        raise _too_many_pixels(name, max_pixels) from error
    except MemoryError as error:
        raise too_much_memory(name) from error
    except UnknownColoursError as error:
        raise PictureError(f"{name} has colours of a kind that we can not read ({error}).", _AS_PNG) from error
    except Exception as error:  # decoders meet broken data with errors of every kind
        raise PictureError(f"{name} is damaged or incomplete.", _AGAIN) from error
    return Decoded(result, size if turn < 5 else (size[1], size[0]))


def check_pixels(size: tuple[int, int], name: str, max_pixels: int) -> None:
    """Raises PictureError when there are too many, or none."""
    if size[0] * size[1] > max_pixels:
        raise _too_many_pixels(name, max_pixels)
    if 0 in size:
        raise PictureError(f"{name} has no pixels.", _AGAIN)


def too_much_memory(name: str) -> PictureError:
    """The error for a picture that does not fit."""
    return PictureError(f"{name} does not fit in the memory that a picture may take.", _SMALLER)


def too_much_time(name: str) -> PictureError:
    """The error for a picture that nobody should wait for."""
    return PictureError(f"{name} takes too long to decode.", "Save it anew in a picture program, then try again.")


def _essentials(data: bytes, kind: Kind) -> Essentials | None:
    if kind is kinds.PNG:
        return of_png(data)
    return of_jpeg(data) if kind is kinds.JPEG else None


def _check(essentials: Essentials, name: str, max_pixels: int) -> None:
    """Refuse what is known to be too much before anything is decoded."""
    check_pixels(essentials.size, name, max_pixels)
    if essentials.scans > _MOST_SCANS:
        raise too_much_time(name)
    if essentials.kept_bytes > BUDGET_BYTES:
        raise too_much_memory(name)


def _is_quick(data: bytes, kind: Kind, essentials: Essentials | None, draft_to: int) -> bool:
    if essentials is None:
        if kind is kinds.BMP and data[30:34] in (b"\1\0\0\0", b"\2\0\0\0"):
            return False  # run lengths: Pillow unpacks them in Python
        return kind in (kinds.GIF, kinds.WEBP, kinds.BMP) and len(data) <= _QUICK_FILE
    pixels = essentials.size[0] * essentials.size[1]
    drafted = pixels
    if kind is kinds.JPEG:
        shrink = max(min(side // draft_to for side in essentials.size), 1) if draft_to > 0 else 1
        drafted //= max(step for step in (1, 2, 4, 8) if step <= shrink) ** 2
    return (
        essentials.plain
        and drafted <= _QUICK_PIXELS
        and essentials.kept_bytes <= _QUICK_KEPT_BYTES
        and pixels * essentials.scans <= _QUICK_WORK
    )


def _factor(size: tuple[int, int]) -> int:
    """By what a picture is made smaller while it is converted: 1 for all that fit whole."""
    pixels = size[0] * size[1]
    factor = 1
    while pixels > _QUICK_PIXELS and pixels > _LARGEST_RESULT * factor**2:
        factor += 1
    return factor


def _tiff_bytes(image: Image.Image) -> int:
    """What a TIFF takes: its pixels, and one of the strips or tiles that they come in."""
    tags = image.tag_v2  # type: ignore[attr-defined]
    width, height = image.size
    bits = tags.get(277, 1) * max(tags.get(258, (1,)))  # SamplesPerPixel, BitsPerSample
    across, down = tags.get(322, width), tags.get(323, min(tags.get(278, height), height))  # a tile's, or RowsPerStrip
    pixel_bytes = 1 if image.mode in ("1", "L", "P") else 2 if image.mode.startswith("I;16") else 4
    return int(width * height * pixel_bytes + across * down * bits // 8)


def _note(image: Image.Image, name: str) -> bytes:
    note = image.info.get(name, b"")
    return note if isinstance(note, bytes) else b""


def _load_plugin(kind: Kind) -> None:
    """Only the one that is needed: Pillow would import all forty to find it."""
    if kind is kinds.HEIC:
        import pillow_heif

        pillow_heif.register_heif_opener(thumbnails=False)
    else:
        importlib.import_module(kind.plugin)


def _too_many_pixels(name: str, most: int) -> PictureError:
    return PictureError(f"{name} has more than {most // 1_000_000 or most / 1e6} megapixels.", _SMALLER)
