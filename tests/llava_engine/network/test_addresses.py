"""No secret of a URL is shown, and a private address is known in every dress."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import PictureError
from llava_engine.network.addresses import is_private, names_private, shown
from llava_engine.pictures.opening import open_picture

SECRET = "hunter2"


def test_what_is_shown_of_an_address_tells_no_secret() -> None:
    assert shown("https://me:secret@a.example/x.png?key=secret#x") == "https://a.example/x.png"
    assert shown("https://a.example/@me/x.png") == "https://a.example/@me/x.png"
    assert len(shown("https://a.example/" + "x" * 500)) == 100
    assert "\x1b" not in shown("https://a.example/\x1b[31m")


@pytest.mark.parametrize(
    "url",
    [
        "http://me:hunter2@[::1/x.png",  # brackets that do not close
        "http://me:hunter2@host:port/x.png",
        "http://me:hun/hunter2@host/x.png",
        "http://me:hunter2?@host/x.png",
        "http://me:hunter2#@host/x.png",
        "http:/me:hunter2@host/x.png",
        "http:me:hunter2@host/x.png",
        "HTTPS://me:hunter2@host:99999999/x.png",
        "http://me:hunter2@\u2100.example/x.png",  # becomes a/c when it is normalised: urlsplit refuses
        "file://me:hunter2@elsewhere/x.png",
        "ftp://me:hunter2@host/x.png",
        "s3://hunter2@host/x.png",
    ],
)
def test_a_password_is_in_no_error_whatever_is_wrong_with_the_address(url: str) -> None:
    with pytest.raises(PictureError) as caught:
        open_picture(url, timeout_s=5)
    assert SECRET not in str(caught.value)


@given(
    st.sampled_from(["http://", "https://", "http:/", "file://"]),
    st.text(alphabet="ab:/?#[]@%\\ \u2100", max_size=8),
    st.text(alphabet="ab:/?#[]%\\.0", max_size=12),
)
def test_nothing_before_the_last_at_sign_is_shown_where_an_address_does_not_parse(
    scheme: str, user: str, host: str
) -> None:
    text = shown(f"{scheme}x:{SECRET}{user}@[{host}")
    assert SECRET not in text


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.9.9.9", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0",
        "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1%eth0", "fd00::1", "ff02::1", "::ffff:127.0.0.1",
        "::ffff:192.168.0.1", "64:ff9b::7f00:1", "2002:7f00:1::",
    ],
)  # fmt: skip
def test_private_addresses(address: str) -> None:
    assert is_private(address)
    assert names_private(address)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"])
def test_public_addresses(address: str) -> None:
    assert not is_private(address)
    assert not names_private(address)


def test_names() -> None:
    for name in ("localhost", "LOCALHOST.", "a.localhost", "[::1]"):
        assert names_private(name)
    for name in ("example.com", "localhost.example.com", ""):
        assert not names_private(name)
