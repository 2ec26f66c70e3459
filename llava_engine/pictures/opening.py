"""Anything that may be a picture -> RGB, safely.

In: a path, a `file:`, `data:` or http(s) URL, bytes, a PIL image. Out: a `Picture`. Everything from outside is
distrusted: size, kind and pixel count are checked before anything is decoded. Knows no model and no torch.
"""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import PurePath
from typing import TYPE_CHECKING

from llava_engine.errors import PictureError
from llava_engine.pictures.reading import MAX_BYTES as MAX_BYTES
from llava_engine.pictures.reading import MAX_PIXELS, label, read, too_large

if TYPE_CHECKING:
    from PIL import Image

_REMEDY = "Use a PNG, JPEG, WebP, GIF, BMP or TIFF picture."


@dataclass(frozen=True, eq=False)
class Picture:
    """An opened picture.

    Attributes:
        name: what to call it (file name, last part of the URL, "pasted picture").
        decode: makes `image`; raises PictureError for what is damaged behind its header.
        size: (width, height) of the original, upright, in pixels.
        sha256: hex digest of `data`; the identity of the picture everywhere.
        media_type: "image/png", "image/jpeg", …
        data: the original bytes (PNG-encoded for a PIL image).
    """

    name: str
    decode: Callable[[], Image.Image]
    size: tuple[int, int]
    sha256: str
    media_type: str
    data: bytes

    @cached_property
    def image(self) -> Image.Image:
        """RGB, upright (EXIF applied), alpha over white; a large picture may be decoded at a reduced size."""
        return self.decode()


def open_picture(
    source: str | os.PathLike[str] | bytes | Image.Image,
    *,
    name: str | None = None,
    draft_to: int = 672,
    timeout_s: float = 15.0,
    max_pixels: int = MAX_PIXELS,
    later: bool = False,
) -> Picture:
    """Open a picture.

    Args:
        source: a path (`~` is the home folder), a `file:`, `data:`, http or https URL, the bytes of a file, or a PIL
            image.
        name: what to call it; otherwise the file's name, the URL's last part, or a word for what it is.
        draft_to: a JPEG that is more than twice as large on both sides may be decoded at a half, a quarter or an
            eighth, never below this, in pixels: give twice what the model sees. Any picture of more than 48
            megapixels may be decoded at a half or a third.
        timeout_s: how long a URL may take in all.
        max_pixels: how many a file may say that it has.
        later: decode only when `image` is asked for, where all that decoding costs is known without it (PNG, JPEG).
            What is damaged behind its header is found then.

    Raises:
        PictureError: it can not be found, fetched, read or trusted.
    """
    if isinstance(source, bytes):
        return _from_bytes(source, label(name or "pasted picture"), draft_to, max_pixels, later)
    if not isinstance(source, (str, os.PathLike)):
        return _from_image(source, label(name or "picture"))
    data, found_name = read(source, timeout_s)
    return _from_bytes(data, label(name or found_name), draft_to, max_pixels, later)


def _from_bytes(data: bytes, name: str, draft_to: int, max_pixels: int, later: bool) -> Picture:
    from llava_engine.pictures.decoding import decode, known_size
    from llava_engine.pictures.kinds import is_read, kind_of

    if not data:
        raise PictureError(f"{name} is empty.", _REMEDY)
    if len(data) > MAX_BYTES:
        raise too_large(name)
    kind = kind_of(data)
    if kind is None:
        raise PictureError(f"{name} is not a picture that we can read.", _REMEDY)
    if not is_read(kind):
        suffix = PurePath(name).suffix.lower()
        misnamed = ", whatever its name says" if suffix and suffix not in kind.suffixes else ""
        raise PictureError(f"{name} is {kind.what}{misnamed}, and not a picture that we can read.", kind.remedy)
    size = known_size(data, kind, name, max_pixels) if later else None
    if size is not None:

        def image() -> Image.Image:
            decoded = decode(data, kind, name, draft_to, max_pixels)
            if decoded.size != size:  # two headers: tokens were counted by the other
                raise PictureError(f"{name} is damaged or incomplete.", "Get the picture again.")
            return decoded.image

    else:
        decoded = decode(data, kind, name, draft_to, max_pixels)
        size = decoded.size

        def image() -> Image.Image:
            return decoded.image

    return Picture(
        name=name,
        decode=image,
        size=size,
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=kind.media_type,
        data=data,
    )


def _from_image(source: Image.Image, name: str) -> Picture:
    from llava_engine.pictures.colours import UnknownColoursError, to_rgb
    from llava_engine.pictures.orientation import orientation, upright

    try:
        source.load()
        if 0 in source.size:
            raise PictureError(f"{name} is empty.", "Give a picture with at least one pixel.")
        exif, xmp = (source.info.get(note) for note in ("exif", "xmp"))
        turn = orientation(exif if isinstance(exif, bytes) else b"", xmp if isinstance(xmp, bytes) else b"")
        image = upright(to_rgb(source, 1), turn)
        file = io.BytesIO()
        image.save(file, "PNG", compress_level=1)
    except PictureError:
        raise
    except MemoryError as error:
        raise PictureError(f"{name} does not fit in memory.", "Make it smaller, then try again.") from error
    except UnknownColoursError as error:
        raise PictureError(f"{name} has colours of a kind that we can not read ({error}).", _REMEDY) from error
    except Exception as error:  # a file that was opened lazily: decoders meet broken data with errors of every kind
        raise PictureError(f"{name} is damaged or incomplete.", "Get the picture again.") from error
    data = file.getvalue()
    return Picture(name, lambda: image, image.size, hashlib.sha256(data).hexdigest(), "image/png", data)
