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
from tests.fakes.fake_picture import png_bytes

HOME = Path.home()


def there(*paths: str) -> Callable[[Path], bool]:
    """A disk that holds these files."""
    return lambda path: str(path) in paths


def locations(text: str, *paths: str, seen: tuple[str, ...] = ()) -> list[str]:
    """What is found on a disk that holds these files; those in `seen` begin like pictures."""
    return [source.location for source in find_sources(text, there(*paths, *seen), there(*seen))]


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


@pytest.mark.parametrize(
    "name", ["photo.HEIC", "x.svg", "scan.pdf", "film.mp4", "a.avif", "d.psd", "my raw.dng", "p.html"]
)
def test_what_is_to_be_seen_is_found_whether_we_read_it_or_not(name: str) -> None:
    path = f"/d/{name}"
    for text in (path, f"'{path}'\n", f"what is in {path}?", "file:" + quote(path)):
        assert locations(text, path) == [path], text


@pytest.mark.parametrize("path", ["/d/photo", "/d/my photo", "/d/photo.old", "/d/a.ts", "/d/photo (1)"])
def test_a_file_of_another_name_counts_when_its_bytes_say_so(path: str) -> None:
    for text in (path, f"'{path}'", shlex.quote(path) + " \n", f"{path}\r\n"):
        assert locations(text, seen=(path,)) == [path], text
        assert locations(text, path) == [], text


def test_bytes_are_asked_inside_a_text_too_but_only_of_what_is_written_as_a_path() -> None:
    assert locations("see /d/photo, please", seen=("/d/photo",)) == ["/d/photo"]
    assert locations("photo", seen=(str(Path("photo").absolute()),)) == []


def test_files_on_this_disk_are_told_by_their_bytes(tmp_path: Path) -> None:
    (tmp_path / "drawn").write_bytes(png_bytes())
    (tmp_path / "said").write_text("words")
    (tmp_path / "empty").touch()
    text = " ".join(str(tmp_path / name) for name in ("drawn", "said", "empty", "gone"))
    assert [source.location for source in find_sources(text)] == [str(tmp_path / "drawn")]


def test_a_data_url_is_a_picture_that_nobody_has_to_fetch() -> None:
    url = "data:image/png;base64,iVBORw0KGgo="
    (source,) = find_sources(f"this ({url}) one")
    assert source.location == url
    assert not source.fetched
    assert find_sources("https://example.org/a.png")[0].fetched


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
    assert without_sources(text, find_sources(text, there("/d/a.png"), there())) == rest


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
        before, after = find_sources(f"see {written} {written}", there(path), there())
        assert (before.location, after.location) == (path, path)


@given(name=NAMES)
def test_any_existing_file_alone_on_its_line_is_found_without_quoting(name: str) -> None:
    path = str(Path(f"/d/{name}"))
    assert locations(path, path) == [path]


@given(text=st.text(st.sampled_from("a/\\'\"~ .png:%\n(https"), max_size=40))
def test_no_text_breaks_it_and_spans_never_overlap(text: str) -> None:
    def always(path: Path) -> bool:
        return True

    found = find_sources(text, always, always)
    edges = [edge for source in found for edge in (source.start, source.end)]
    assert edges == sorted(edges)
    without_sources(text, found)
