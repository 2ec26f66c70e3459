"""Pasted or typed text -> the pictures that it names, and the rest of the text.

Pure: what exists is asked through `is_file`. It opens nothing and fetches nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

_SUFFIX = r"\.(?:png|jpe?g|webp|gif|bmp|tiff?)"
_NAMED_LIKE_A_PICTURE = re.compile(rf".*{_SUFFIX}", re.IGNORECASE | re.DOTALL)
_ENDS = re.compile(rf"{_SUFFIX}(?!\w)", re.IGNORECASE)
_WEB = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_DRIVE = re.compile(r"([A-Za-z]):[\\/]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Only ASCII blanks part words: macOS writes a narrow no-break space into the names of its screenshots.
_BLANKS = " \t\r\n"
_OPENERS = _BLANKS + "([{<\"'`"
_LONGEST_PATH = 4096
_MOST_ENDS = 16  # how many places after one start are tried; a pasted page may name many pictures


@dataclass(frozen=True)
class FoundSource:
    """A picture that a text names.

    Attributes:
        location: an absolute path or an http(s) URL, without quoting.
        start: where its quoted form begins in the text.
        end: where it ends (exclusive).
    """

    location: str
    start: int
    end: int


def find_sources(text: str, is_file: Callable[[Path], bool] = Path.is_file) -> list[FoundSource]:
    """The pictures that `text` names, in order.

    Understands paths bare (blanks and all), in single or double quotes, with backslash-escaped blanks, `~`, `file://`
    with %20, Windows paths (in WSL too), and several at once; http(s) URLs whose path ends like a picture. A path
    counts only when the file exists and is named like a picture.
    """
    found: list[FoundSource] = []
    start = 0
    while start < len(text):
        source = None
        if text[start] not in _BLANKS and (start == 0 or text[start - 1] in _OPENERS):
            source = _at(text, start, is_file)
        if source is None:
            start += 1
        else:
            found.append(source)
            start = source.end
    return found


def without_sources(text: str, found: list[FoundSource]) -> str:
    """The rest of the text, its ends stripped, no gap where a source stood."""
    rest = ""
    position = 0
    for source in found:
        rest = _join(rest, text[position : source.start])
        position = source.end
    return _join(rest, text[position:]).strip()


def _join(before: str, after: str) -> str:
    if before.endswith(tuple(_BLANKS)) or not before:
        after = after.lstrip(_BLANKS)
    if after.lstrip(_BLANKS).startswith((".", ",", ";", ":", "!", "?")):
        before, after = before.rstrip(_BLANKS), after.lstrip(_BLANKS)
    return before + after


def _at(text: str, start: int, is_file: Callable[[Path], bool]) -> FoundSource | None:
    """The source that begins just here."""
    if web := _WEB.match(text, start):
        url = web.group().rstrip(".,;:!?)]}")
        named = _NAMED_LIKE_A_PICTURE.fullmatch(urlsplit(url).path) if _parses(url) else None
        return FoundSource(url, start, start + len(url)) if named else None
    for written, end in _candidates(text, start):
        path = _existing(written, is_file)
        if path is not None:
            return FoundSource(str(path), start, end)
    return None


def _candidates(text: str, start: int) -> Iterator[tuple[str, int]]:
    """What may be meant by the text from `start` on, without its quoting, and where it ends; the longest first."""
    word = _shell_word(text, start)
    if word is not None and text[start] in "\"'":
        yield word
        closing = text.find(text[start], start + 1)
        if closing > 0:
            yield text[start + 1 : closing], closing + 1
        return
    line_end = min((at for at in (text.find("\n", start), text.find("\r", start)) if at >= 0), default=len(text))
    ends = [match.end() for match in _ENDS.finditer(text, start, min(line_end, start + _LONGEST_PATH))][:_MOST_ENDS]
    if word is not None and word[0] != text[start : word[1]]:  # a quote or an escape in it
        yield word
    for end in reversed(ends):
        yield text[start:end], end
        yield _ESCAPED.sub(r"\1", text[start:end]), end


def _shell_word(text: str, start: int) -> tuple[str, int] | None:
    """The word that a POSIX shell would read here, and where it ends; None when a quote stays open."""
    word = ""
    at = start
    while at < len(text) and text[at] not in _BLANKS:
        character = text[at]
        if character == "'":
            closing = text.find("'", at + 1)
            if closing < 0:
                return None
            word += text[at + 1 : closing]
            at = closing + 1
        elif character == '"':
            at += 1
            while at < len(text) and text[at] != '"':
                if text[at] == "\\" and text[at + 1 : at + 2] in tuple('"\\$`'):
                    at += 1
                word += text[at : at + 1]
                at += 1
            if at >= len(text):
                return None
            at += 1
        elif character == "\\" and at + 1 < len(text):
            word += text[at + 1]
            at += 2
        else:
            word += character
            at += 1
    return word, at


def _existing(written: str, is_file: Callable[[Path], bool]) -> Path | None:
    """The file that is meant, if it is there and named like a picture."""
    if not _NAMED_LIKE_A_PICTURE.fullmatch(written):
        return None
    for name in _readings(written):
        try:
            path = Path(name).expanduser().absolute()
            if is_file(path):
                return path
        except (OSError, ValueError, RuntimeError):  # too long, a null byte, nobody's home: then it names nothing
            continue
    return None


def _readings(written: str) -> Iterator[str]:
    if written.lower().startswith("file://"):
        if _parses(written):
            address = urlsplit(written.replace("#", "%23").replace("?", "%3F"))
            path = unquote(address.path)
            yield path[1:] if _DRIVE.match(path, 1) else path
        return
    yield written
    if drive := _DRIVE.match(written):  # WSL shows drive C as /mnt/c
        yield f"/mnt/{drive.group(1).lower()}/" + written[3:].replace("\\", "/")


def _parses(url: str) -> bool:
    try:
        urlsplit(url)
    except ValueError:
        return False
    return True
