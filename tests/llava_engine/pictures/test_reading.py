"""`file:` and `data:` URLs: read as their specifications say, refused before they are large."""

from __future__ import annotations

import base64
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import PictureError
from llava_engine.pictures import reading
from llava_engine.pictures.opening import open_picture
from tests.llava_engine.pictures.samples import encoded, halves, refused

PNG = encoded(halves())
BASE64 = base64.b64encode(PNG).decode()


@pytest.mark.parametrize("begin", ["file:", "file://", "file://localhost", "FILE:", "File://LOCALHOST"])
def test_a_file_url_in_every_form_of_its_rfc(begin: str, tmp_path: Path) -> None:
    path = tmp_path / "a b%#é.png"
    path.write_bytes(PNG)
    picture = open_picture(begin + quote(str(path)))
    assert (picture.name, picture.data) == (path.name, PNG)


@pytest.mark.parametrize("url", ["file://elsewhere/a.png", "file://127.0.0.1/a.png", "file://localhost:80/a.png"])
def test_another_machine_is_refused(url: str) -> None:
    assert "another machine" in refused(url).cause


def test_file_urls_that_name_nothing() -> None:
    assert "no whole path" in refused("file:a.png").cause
    assert "no whole path" in refused("file:").cause
    assert "no file /none/a b.png" in refused("file:/none/a%20b.png").cause
    assert "can not be read" in refused("file:///a%00b.png").cause


@pytest.mark.parametrize(
    "url",
    [
        f"data:image/png;base64,{BASE64}",
        f"DATA:image/png;charset=x;BASE64,{BASE64.rstrip('=')}",
        f"data:;base64,{quote(BASE64)}",
        f"data:;base64,{BASE64[:50]}\n {BASE64[50:]}",
        f"data:text/plain,{quote(PNG)}",
        f"data:,{quote(PNG)}",
    ],
)
def test_a_data_url_is_read(url: str) -> None:
    picture = open_picture(url)
    assert (picture.data, picture.media_type) == (PNG, "image/png")
    assert picture.name == "picture of a data: URL"
    assert open_picture(url, name="mine").name == "mine"


def test_data_urls_that_are_none() -> None:
    assert "no comma" in refused("data:image/png;base64").cause
    assert "not base64" in refused("data:;base64,§§§").cause
    assert "empty" in refused("data:,").cause
    assert "is a text file" in refused("data:,hello").cause


def test_a_large_data_url_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "MAX_BYTES", 1000)
    monkeypatch.setattr(base64, "b64decode", lambda *_, **__: pytest.fail("it was decoded"))
    monkeypatch.setattr(reading, "unquote_to_bytes", lambda _: pytest.fail("it was decoded"))
    assert "larger than" in refused("data:;base64," + "A" * 1500).cause
    assert "larger than" in refused("data:," + "A" * 3500).cause


@given(st.text(max_size=60))
def test_any_data_url_is_a_picture_or_a_users_error(rest: str) -> None:
    with pytest.raises(PictureError):
        open_picture(f"data:{rest}")


def test_a_name_with_a_colon_is_a_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("Screenshot 10:30.png").write_bytes(PNG)
    Path("about:me.png").write_bytes(PNG)
    assert open_picture("Screenshot 10:30.png").data == open_picture("about:me.png").data == PNG
