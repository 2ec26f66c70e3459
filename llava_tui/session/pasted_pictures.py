"""Pasted or typed text -> the pictures that it names, and the rest of the text.

What a person gives to be seen counts, whether or not we can read it: opening it tells what it is and what to do. Files
are asked whether they exist and how they begin through two functions; nothing is decoded, nothing is fetched.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from llava_engine.pictures.kinds import SUFFIXES, is_to_be_seen, kind_of

_SUFFIX = f"(?:{'|'.join(map(re.escape, sorted(SUFFIXES, key=len, reverse=True)))})"
_NAMED_TO_BE_SEEN = re.compile(rf".*{_SUFFIX}", re.IGNORECASE | re.DOTALL)
_ENDS = re.compile(rf"{_SUFFIX}(?!\w)", re.IGNORECASE)
_WRITTEN_AS_A_PATH = re.compile(r"/|~|\.{1,2}/|file:/|[A-Za-z]:[\\/]", re.IGNORECASE)
_PICTURE_URL = re.compile(r".*\.(?:png|jpe?g|webp|gif|bmp|tiff?|avif|heic)", re.IGNORECASE | re.DOTALL)
_DATA = re.compile(r"data:image/[^\s,<>\"'`]*,[^\s<>\"'`)]+", re.IGNORECASE)
_WEB = re.compile(r"https?://[^\s<>\"'`]+", re.IGNORECASE)
_DRIVE = re.compile(r"([A-Za-z]):[\\/]")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
# Only ASCII blanks part words: macOS writes a narrow no-break space into the names of its screenshots.
_BLANKS = " \t\r\n"
_CLOSERS = ".,;:!?)]}"
_OPENERS = _BLANKS + "([{<\"'`"
_LONGEST_PATH = 4096
_MOST_ENDS = 16  # how many places after one start are tried; a pasted page may name many pictures


@dataclass(frozen=True)
class FoundSource:
    """A picture that a text names.

    Attributes:
        location: an absolute path, an http(s) URL or a `data:` URL, without quoting.
        start: where its quoted form begins in the text.
        end: where it ends (exclusive).
    """

    location: str
    start: int
    end: int

    @property
    def fetched(self) -> bool:
        """Whether looking at it asks another machine."""
        return _WEB.match(self.location) is not None


def is_to_be_seen_by_its_bytes(path: Path) -> bool:
    """Whether a file begins as pictures, documents or videos do."""
    with path.open("rb") as file:
        return is_to_be_seen(kind_of(file.read(4096)))  # more than any signature needs


def is_data_url(text: str) -> bool:
    """Whether the text is a picture written out, which may be as long as a picture."""
    return _DATA.fullmatch(text) is not None


def find_sources(
    text: str,
    is_file: Callable[[Path], bool] = Path.is_file,
    begins_so: Callable[[Path], bool] = is_to_be_seen_by_its_bytes,
) -> list[FoundSource]:
    """The pictures that `text` names, in order.

    Understands paths bare (blanks and all), in single or double quotes, with backslash-escaped blanks, `~`, `file:/`
    and `file://` with %20, Windows paths (in WSL too), and several at once; http(s) URLs whose path ends like a
    picture; `data:` URLs of pictures. A path counts only when the file exists, and is named or begins like something to
    be seen.
    """
    disk = _Disk(is_file, begins_so)
    found: list[FoundSource] = []
    start = 0
    while start < len(text):
        source = None
        if text[start] not in _BLANKS and (start == 0 or text[start - 1] in _OPENERS):
            source = _at(text, start, disk)
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


@dataclass(frozen=True)
class _Disk:
    is_file: Callable[[Path], bool]
    begins_so: Callable[[Path], bool]


def _at(text: str, start: int, disk: _Disk) -> FoundSource | None:
    """The source that begins just here."""
    if web := _WEB.match(text, start):
        url = web.group().rstrip(_CLOSERS)
        named = _PICTURE_URL.fullmatch(urlsplit(url).path) if _parses(url) else None
        return FoundSource(url, start, start + len(url)) if named else None
    if data := _DATA.match(text, start):
        return FoundSource(data.group(), start, data.end())
    for written, end in _candidates(text, start):
        path = _existing(written, disk)
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
    as_path = _WRITTEN_AS_A_PATH.match(text, start)
    if as_path and line_end - start <= _LONGEST_PATH:
        line = text[start:line_end].rstrip(_BLANKS)
        yield line, start + len(line)
    if word is not None and word[0] != text[start : word[1]]:  # a quote or an escape in it
        yield word
    for end in reversed(ends):
        yield text[start:end], end
        yield _ESCAPED.sub(r"\1", text[start:end]), end
    if as_path and word is not None:
        yield word
        yield word[0].rstrip(_CLOSERS), word[1] - (len(word[0]) - len(word[0].rstrip(_CLOSERS)))


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


def _existing(written: str, disk: _Disk) -> Path | None:
    """The file that is meant, if it is there and something to be seen."""
    named = _NAMED_TO_BE_SEEN.fullmatch(written)
    if not named and not _WRITTEN_AS_A_PATH.match(written):
        return None
    for name in _readings(written):
        try:
            path = Path(name).expanduser().absolute()
            if disk.is_file(path) and (named or disk.begins_so(path)):
                return path
        except (OSError, ValueError, RuntimeError):  # too long, a null byte, nobody's home: then it names nothing
            continue
    return None


def _readings(written: str) -> Iterator[str]:
    if written.lower().startswith("file:/"):
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
