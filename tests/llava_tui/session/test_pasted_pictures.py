"""Every way in which a terminal or a person writes a file's name is understood; other text is left alone."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from llava_tui.session.pasted_pictures import find_sources, without_sources

HOME = Path.home()


def there(*paths: str) -> Callable[[Path], bool]:
    """A disk that holds these files."""
    return lambda path: str(path) in paths


def locations(text: str, *paths: str) -> list[str]:
    return [source.location for source in find_sources(text, there(*paths))]


@pytest.mark.parametrize(
    "text",
    [
        "/d/my cat.png",
        "/d/my cat.png\n",
        "  /d/my cat.png \r\n",
        "'/d/my cat.png'",
        '"/d/my cat.png"',
        "/d/my\\ cat.png",
        "'/d/my cat.png'\n",
        "file:///d/my%20cat.png",
        "file://localhost/d/my%20cat.png",
        "'file:///d/my%20cat.png'",
        "/d/'my cat'.png",
        "/d/my' 'cat.png",
        "what is in /d/my cat.png?",
        "what is in (/d/my cat.png)?",
        'what is in "/d/my cat.png"?',
        'look at "/d/my cat.png", please',
        "look at /d/my\\ cat.png, please",
        "don't look at /d/my cat.png",
    ],
)
def test_one_file_in_every_quoting(text: str) -> None:
    assert locations(text, "/d/my cat.png") == ["/d/my cat.png"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("~/cat.png", str(HOME / "cat.png")),
        ("'~/cat.png'", str(HOME / "cat.png")),
        ("cat.png", str(Path("cat.png").absolute())),
        ("./cat.png", str(Path("cat.png").absolute())),
        ("IMG.JPEG", str(Path("IMG.JPEG").absolute())),
        ("C:\\Users\\me\\my cat.png", "/mnt/c/Users/me/my cat.png"),
        ('"C:\\Users\\me\\my cat.png"', "/mnt/c/Users/me/my cat.png"),
        ("file:///d/100%25%20%23%3F.png", "/d/100% #?.png"),
        ("/d/Screenshot 9.41\u202fAM.png", "/d/Screenshot 9.41\u202fAM.png"),
        ("'/d/it'\\''s.png'", "/d/it's.png"),
        ("/d/it\\'s.png", "/d/it's.png"),
        ("/d/it's.png", "/d/it's.png"),
        ("/d/a.png (1).png", "/d/a.png (1).png"),
    ],
)
def test_other_forms(text: str, expected: str) -> None:
    assert locations(text, expected) == [expected]


@pytest.mark.parametrize(
    "text",
    [
        "/d/a.png /d/b c.jpg",
        "/d/a.png '/d/b c.jpg'",
        "/d/a.png\n/d/b c.jpg\n",
        "'/d/a.png' '/d/b c.jpg' ",
        "/d/a.png /d/b\\ c.jpg",
        "file:///d/a.png\r\nfile:///d/b%20c.jpg\r\n",
        "compare /d/a.png, and then (/d/b c.jpg)!",
    ],
)
def test_several_at_once(text: str) -> None:
    assert locations(text, "/d/a.png", "/d/b c.jpg") == ["/d/a.png", "/d/b c.jpg"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://example.org/cat.png", ["https://example.org/cat.png"]),
        ("see https://example.org/a/cat.JPG?w=3&h=4#x.", ["https://example.org/a/cat.JPG?w=3&h=4#x"]),
        ("'https://example.org/cat.png'", ["https://example.org/cat.png"]),
        ("![](https://example.org/cat.png)", ["https://example.org/cat.png"]),
        ("https://example.org/page.html", []),
        ("https://example.org/?cat.png", []),
        ("ftp://example.org/cat.png", []),
        ("https://[/cat.png", []),
    ],
)
def test_urls(text: str, expected: list[str]) -> None:
    assert locations(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "no picture here",
        "/d/gone.png",
        "/d/notes.txt",
        "'/d/cat.png",
        "x/d/cat.png",
        "'",
        '"',
        "\\",
        "~nobody9/a.png",
    ],
)
def test_other_text_names_nothing(text: str) -> None:
    assert locations(text, "/d/notes.txt") == []


def test_a_name_that_no_disk_can_have_names_nothing() -> None:
    assert find_sources("/" + "a" * 5000 + ".png") == []
    assert find_sources("/d/\x00.png") == []


@pytest.mark.parametrize(
    ("text", "rest"),
    [
        ("/d/a.png", ""),
        ("/d/a.png\n", ""),
        ("what is in /d/a.png?", "what is in?"),
        ("/d/a.png what is it?", "what is it?"),
        ("what is it? /d/a.png", "what is it?"),
        ("compare /d/a.png with '/d/a.png' please", "compare with please"),
        ("one line\n/d/a.png\nanother", "one line\nanother"),
        ("nothing", "nothing"),
    ],
)
def test_the_rest_stays_text(text: str, rest: str) -> None:
    assert without_sources(text, find_sources(text, there("/d/a.png"))) == rest


NAMES = st.text(
    st.characters(blacklist_categories=["Cs"], blacklist_characters="/\x00\r\n"), min_size=1, max_size=20
).map(lambda stem: f"{stem}.png")


@given(folder=NAMES, name=NAMES)
@example(folder=" .png", name="'\"\\.png")
@example(folder="a.png", name="-.png ;.png")
def test_any_existing_file_in_any_shell_quoting_is_found(folder: str, name: str) -> None:
    path = str(Path(f"/{folder}/{name}"))
    escaped = "".join(f"\\{c}" if not c.isalnum() and c not in "/" else c for c in path)
    doubled = '"' + "".join(f"\\{c}" if c in '"\\$`' else c for c in path) + '"'
    for written in (shlex.quote(path), escaped, doubled, "file://" + quote(path)):
        assert locations(written, path) == [path], written
        assert locations(f"{written}\n", path) == [path], written
        before, after = find_sources(f"see {written} {written}", there(path))
        assert (before.location, after.location) == (path, path)


@given(name=NAMES)
def test_any_existing_file_alone_on_its_line_is_found_without_quoting(name: str) -> None:
    path = str(Path(f"/d/{name}"))
    assert locations(path, path) == [path]


@given(text=st.text(st.sampled_from("a/\\'\"~ .png:%\n(https"), max_size=40))
def test_no_text_breaks_it_and_spans_never_overlap(text: str) -> None:
    def always(path: Path) -> bool:
        return True

    found = find_sources(text, always)
    edges = [edge for source in found for edge in (source.start, source.end)]
    assert edges == sorted(edges)
    without_sources(text, found)
