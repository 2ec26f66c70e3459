"""The name of a picture -> its bytes: paths, and `file:`, `data:`, http and https URLs.

Sizes are limited before anything is read or decoded. Knows nothing of what is in the bytes.
"""

from __future__ import annotations

import base64
import binascii
import os
import re
import stat
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes, urlsplit

from llava_engine.errors import PictureError
from llava_engine.network.addresses import shown
from llava_engine.terminal_safe import strip_control

MAX_BYTES = 50_000_000
MAX_PIXELS = 178_956_970  # twice Pillow's own warning limit: where Pillow refuses, too
# A Windows drive has one letter; a file's name may have a colon in it, so other schemes need their slashes.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(?=://)|(?:data|file|https?)(?=:)", re.IGNORECASE)
_THIS_MACHINE = ("", "localhost")  # RFC 8089, 2
_LONGEST_LABEL = 100  # letters: a line of a terminal and a little


def read(source: str | os.PathLike[str], timeout_s: float) -> tuple[bytes, str]:
    """The bytes that a path or URL names, and what to call them.

    Args:
        source: a path or, where it is a text, a URL.
        timeout_s: how long the network may take in all.

    Raises:
        PictureError: it can not be found, fetched or trusted, or has more than `MAX_BYTES`.
    """
    text = os.fspath(source)
    if not text:  # to a path it would be the folder that we are in
        raise PictureError("The name of the picture is empty.", "Give a file or a URL.")
    scheme = match.group().lower() if isinstance(source, str) and (match := _SCHEME.match(text)) else None
    if scheme is None:
        path = Path(text)
        return _read_file(path), path.name
    if scheme == "file":
        path = _file_url_path(text)
        return _read_file(path), path.name
    if scheme == "data":
        return read_data_url(text), "picture of a data: URL"
    from llava_engine.pictures.fetching import fetch
    from llava_engine.pictures.kinds import accepted

    data = fetch(text, max_bytes=MAX_BYTES, timeout_s=timeout_s, accept=accepted())
    parts = urlsplit(text)
    return data, unquote(Path(parts.path).name) or parts.hostname or "picture"


def label(text: str) -> str:
    """A name or path as it may be shown on one line."""
    text = " ".join(strip_control(text).split("\n"))
    return text if len(text) <= _LONGEST_LABEL else "…" + text[1 - _LONGEST_LABEL :]


def too_large(name: str) -> PictureError:
    """The error for more bytes than are read."""
    return PictureError(f"{name} is larger than {MAX_BYTES / 1e6:.0f} MB.", "Make it smaller, then try again.")


def _file_url_path(url: str) -> Path:
    from urllib.request import url2pathname  # here, for it brings half the network library with it

    try:
        parts = urlsplit(url)
        here = parts.netloc.lower() in _THIS_MACHINE
    except ValueError:  # brackets that are no IPv6 address
        here = False
    if not here:
        raise PictureError(f"{shown(url)} names another machine.", "Use file:/// and a path on this machine.")
    if not parts.path.startswith("/"):
        raise PictureError(f"{label(url)} has no whole path.", "Write file:/ and the path from the root on.")
    return Path(url2pathname(parts.path))


def read_data_url(url: str) -> bytes:
    """RFC 2397: `data:[type][;base64],` and the content, in base64 or with %20 and its kin.

    Raises:
        PictureError: it is damaged, or more than `MAX_BYTES`.
    """
    head, comma, content = url.partition(",")
    if not comma:
        raise PictureError("The data: URL has no comma, so nothing is in it.", "Copy it anew, from data: to its end.")
    if not head.strip().lower().endswith(";base64"):
        # Three letters stand for one byte at most.
        if len(content) > 3 * MAX_BYTES:
            raise too_large("The data: URL")
        return unquote_to_bytes(content)
    content = re.sub(r"[ \t\r\n\f]+", "", unquote(content) if "%" in content else content).rstrip("=")
    if len(content) * 3 // 4 > MAX_BYTES:
        raise too_large("The data: URL")
    try:
        return base64.b64decode(content + "=" * (-len(content) % 4), validate=True)
    except (binascii.Error, ValueError) as error:
        raise PictureError("The data: URL is damaged: it is not base64.", "Copy it anew, to its end.") from error


def _read_file(path: Path) -> bytes:
    """A regular file's bytes. Anything that could wait for ever (a pipe, a device) is refused unread."""
    name = label(str(path))
    try:
        path = path.expanduser()
        # Without waiting, so that a pipe that nobody writes to opens at once and can be looked at.
        with open(path, "rb", opener=lambda p, flags: os.open(p, flags | getattr(os, "O_NONBLOCK", 0))) as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode):
                raise PictureError(f"{name} is not a file with a picture in it.", "Give a regular file.")
            if about.st_size > MAX_BYTES:
                raise too_large(name)
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError as error:
        raise PictureError(f"There is no file {name}.", "Check the path.") from error
    except IsADirectoryError as error:
        raise PictureError(f"{name} is a folder.", "Give a picture in it.") from error
    except PermissionError as error:
        raise PictureError(f"{name} may not be read.", "Check its permissions.") from error
    except MemoryError as error:
        raise PictureError(f"{name} does not fit in memory.", "Close other programs, then try again.") from error
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, a null byte, no home folder
        why = getattr(error, "strerror", None) or str(error)
        raise PictureError(f"{name} can not be read: {label(why)}.", "Check the path.") from error
