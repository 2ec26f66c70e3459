"""Anything that may be a picture -> RGB, safely.

In: a path, a `file://` or http(s) URL, bytes, a PIL image. Out: a `Picture`. Everything from outside is distrusted:
size, kind and pixel count are checked before anything is decoded. Knows no model and no torch.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from llava_engine.errors import PictureError
from llava_engine.pictures.fetching import fetch
from llava_engine.terminal_safe import strip_control

if TYPE_CHECKING:
    from PIL import Image

MAX_BYTES = 50_000_000
MAX_PIXELS = 178_956_970  # twice Pillow's own warning limit: where Pillow refuses, too
FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")
_REMEDY = "Use a PNG, JPEG, WebP, GIF, BMP or TIFF picture."
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?=://)")
_ORIENTATION_TAG = 0x0112  # EXIF 2.3, table 4


@dataclass(frozen=True, eq=False)
class Picture:
    """An opened picture.

    Attributes:
        name: what to call it (file name, last part of the URL, "pasted picture").
        image: RGB, upright (EXIF applied), alpha over white; a large JPEG may be decoded at a reduced size.
        size: (width, height) of the original, upright, in pixels.
        sha256: hex digest of `data`; the identity of the picture everywhere.
        media_type: "image/png", "image/jpeg", …
        data: the original bytes (PNG-encoded for a PIL image).
    """

    name: str
    image: Image.Image
    size: tuple[int, int]
    sha256: str
    media_type: str
    data: bytes


def open_picture(
    source: str | os.PathLike[str] | bytes | Image.Image,
    *,
    name: str | None = None,
    draft_to: int = 672,
    timeout_s: float = 15.0,
) -> Picture:
    """Open a picture.

    Args:
        source: a path (`~` is the home folder), a `file://`, http or https URL, the bytes of a file, or a PIL image.
        name: what to call it; otherwise the file's name, the URL's last part, or a word for what it is.
        draft_to: a JPEG that is more than twice as large on both sides may be decoded at a half, a quarter or an
            eighth, never below this, in pixels: give twice what the model sees.
        timeout_s: how long a URL may take in all.

    Raises:
        PictureError: it can not be found, fetched, read or trusted.
    """
    if isinstance(source, bytes):
        return _decode(source, _label(name or "pasted picture"), draft_to)
    if not isinstance(source, (str, os.PathLike)):
        return _from_image(source, _label(name or "picture"))
    text = os.fspath(source)
    scheme = match.group().lower() if isinstance(source, str) and (match := _SCHEME.match(text)) else None
    if scheme is None:
        path = Path(text)
    elif scheme == "file":
        path = _file_url_path(text)
    else:
        data = fetch(text, max_bytes=MAX_BYTES, timeout_s=timeout_s)
        parts = urlsplit(text)
        return _decode(data, _label(name or unquote(Path(parts.path).name) or parts.hostname or "picture"), draft_to)
    return _decode(_read(path), _label(name or path.name), draft_to)


def _file_url_path(url: str) -> Path:
    from urllib.request import url2pathname  # here, for it brings half the network library with it

    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise PictureError(f"{_label(url)} names another machine.", "Use file:/// and a path on this machine.")
    return Path(url2pathname(parts.path))


def _read(path: Path) -> bytes:
    """A regular file's bytes. Anything that could wait for ever (a pipe, a device) is refused unread."""
    shown = _label(str(path))
    try:
        path = path.expanduser()
        # Without waiting, so that a pipe that nobody writes to opens at once and can be looked at.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise PictureError(f"{shown} is not a file with a picture in it.", "Give a regular file.")
            if about.st_size > MAX_BYTES:
                raise _too_large(shown)
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PictureError(f"There is no file {shown}.", "Check the path.") from error
    except IsADirectoryError as error:
        raise PictureError(f"{shown} is a folder.", "Give a picture in it.") from error
    except PermissionError as error:
        raise PictureError(f"{shown} may not be read.", "Check its permissions.") from error
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a null byte, no home folder
        why = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"{shown} can not be read: {_label(why)}.", "Check the path.") from error
    return data


def _decode(data: bytes, name: str, draft_to: int) -> Picture:
    from PIL import Image, UnidentifiedImageError

    if not data:
        raise PictureError(f"{name} is empty.", _REMEDY)
    if len(data) > MAX_BYTES:
        raise _too_large(name)
    try:
        image = Image.open(io.BytesIO(data), formats=FORMATS)
        size = image.size
        if size[0] * size[1] > MAX_PIXELS:
            raise Image.DecompressionBombError
        media_type = "image/jpeg" if image.format == "MPO" else Image.MIME[image.format or ""]
        image.draft(None, (draft_to, draft_to))
        image.load()
        turn = _orientation(image)
    except UnidentifiedImageError as error:
        raise PictureError(f"{name} is not a picture that we can read.", _REMEDY) from error
    except Image.DecompressionBombError as error:
        raise PictureError(
            f"{name} has more than {MAX_PIXELS // 1_000_000} megapixels.", "Make it smaller, then try again."
        ) from error
    except MemoryError as error:
        raise PictureError(f"{name} does not fit in memory.", "Make it smaller, then try again.") from error
    except Exception as error:  # decoders meet broken data with errors of every kind
        raise PictureError(f"{name} is damaged or incomplete.", "Get the picture again.") from error
    return Picture(
        name=name,
        image=_upright(_rgb(image, name), turn),
        size=size if turn < 5 else (size[1], size[0]),
        sha256=hashlib.sha256(data).hexdigest(),
        media_type=media_type,
        data=data,
    )


def _from_image(source: Image.Image, name: str) -> Picture:
    try:
        source.load()
    except Exception as error:  # a file that was opened lazily; see _decode
        raise PictureError(f"{name} is damaged or incomplete.", "Get the picture again.") from error
    image = _upright(_rgb(source, name), _orientation(source))
    if 0 in image.size:
        raise PictureError(f"{name} is empty.", "Give a picture with at least one pixel.")
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    data = file.getvalue()
    return Picture(name, image, image.size, hashlib.sha256(data).hexdigest(), "image/png", data)


def _orientation(image: Image.Image) -> int:
    """How the picture is turned, 1 (upright) to 8. Read after loading: Pillow turns a TIFF by itself then."""
    try:
        turn = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # broken EXIF is no reason to refuse a picture
        return 1
    return turn if isinstance(turn, int) and 1 <= turn <= 8 else 1


def _upright(image: Image.Image, turn: int) -> Image.Image:
    from PIL import Image

    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    image = image.transpose(undo[turn]) if turn in undo else image
    image.info = {}  # or whoever reads EXIF from it would turn it again
    return image


def _rgb(image: Image.Image, name: str) -> Image.Image:
    """Any mode -> a new RGB image: deep greys scaled, transparency over white."""
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return _eight_bits(image).convert("RGB")
    try:
        if not image.has_transparency_data:
            return image.convert("RGB")
        layer = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    except ValueError as error:
        raise PictureError(f"{name} has colours of a kind that we can not read ({image.mode}).", _REMEDY) from error
    ground = Image.new("RGBA", layer.size, "white")
    return Image.alpha_composite(ground, layer).convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """16 bits, 32 bits or floating point -> 8-bit grey. Pillow's own conversion would clip at 255."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0.0, neginf=0.0)
    # Wider numbers do not say where white is: the smallest usual range that holds them.
    ranges = {"F": (1.0, 255.0, 65535.0)}.get(image.mode, (65535.0,))
    highest = float(values.max(initial=0.0))
    white = next((limit for limit in ranges if highest <= limit), highest)
    return Image.fromarray(np.clip(np.rint(values * (255.0 / white)), 0, 255).astype(np.uint8))


def _label(text: str) -> str:
    """A name or path as it may be shown on one line."""
    text = " ".join(strip_control(text).split("\n"))
    return text if len(text) <= 100 else "…" + text[-99:]


def _too_large(shown: str) -> PictureError:
    return PictureError(f"{shown} is larger than {MAX_BYTES / 1e6:.0f} MB.", "Make it smaller, then try again.")
