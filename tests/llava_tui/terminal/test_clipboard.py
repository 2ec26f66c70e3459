"""The clipboard, through stand-ins for the system's tools: small scripts on a PATH of their own."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest

from llava_engine.errors import PictureError
from llava_tui.terminal.clipboard import copy_text, paste_picture
from tests.fakes.fake_picture import png_bytes

if sys.platform != "linux":
    pytest.skip("the stand-ins are for the tools of Linux", allow_module_level=True)

TEXT = "Grüße, \U0001f431\n"
PNG = png_bytes()


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A PATH with nothing on it."""
    (tmp_path / "bin").mkdir()
    return {"PATH": str(tmp_path / "bin")}


def install(tmp_path: Path, tool: str, script: str) -> None:
    path = tmp_path / "bin" / tool
    path.write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
    path.chmod(0o755)


class Terminal:
    """What is written to it."""

    def __init__(self) -> None:
        self.written = ""

    def __call__(self, text: str) -> None:
        self.written += text


WAYLAND, X11, SSH, TMUX = {"WAYLAND_DISPLAY": "w"}, {"DISPLAY": ":0"}, {"SSH_TTY": "/dev/pts/0"}, {"TMUX": "x,1,0"}


# Text out


@pytest.mark.parametrize(
    ("where", "installed", "via"),
    [
        (WAYLAND, ["wl-copy", "xclip"], "wl-copy"),
        (WAYLAND | X11, ["xclip"], "xclip"),
        (X11, ["wl-copy", "xclip", "xsel"], "xclip"),
        (X11, ["xsel"], "xsel"),
        (X11 | SSH, ["xclip"], "xclip"),  # X is forwarded
        ({"WSL_DISTRO_NAME": "Ubuntu"}, ["clip.exe"], "clip.exe"),
    ],
)
def test_a_system_tool_gets_the_text(
    tmp_path: Path, env: dict[str, str], where: dict[str, str], installed: list[str], via: str
) -> None:
    for tool in installed:
        install(tmp_path, tool, f"cat > {tmp_path}/{tool}.got")
    terminal = Terminal()
    copied = copy_text(TEXT, env | where, terminal)
    assert (copied.via, copied.sure, copied.characters) == (via, True, len(TEXT))
    assert copied.message == f"Copied {len(TEXT)} characters with {via}."
    encoding = "utf-16le" if via == "clip.exe" else "utf-8"
    assert (tmp_path / f"{via}.got").read_bytes().decode(encoding) == TEXT
    assert [path.name for path in tmp_path.glob("*.got")] == [f"{via}.got"]
    assert terminal.written == ""


def test_a_tool_that_stays_behind_to_serve_the_clipboard_is_not_waited_for(tmp_path: Path, env: dict[str, str]) -> None:
    install(tmp_path, "xclip", "cat > /dev/null; sleep 1.5 &")
    assert copy_text(TEXT, env | X11, Terminal()).sure


@pytest.mark.parametrize(
    ("where", "installed"),
    [
        ({}, ["wl-copy", "xclip", "xsel", "pbcopy", "clip.exe", "tmux"]),  # no screen that they would reach
        (WAYLAND | SSH, ["wl-copy"]),  # it would be the other machine's clipboard
        (WAYLAND, []),
    ],
)
def test_without_a_tool_the_terminal_gets_it(
    tmp_path: Path, env: dict[str, str], where: dict[str, str], installed: list[str]
) -> None:
    for tool in installed:
        install(tmp_path, tool, "cat > /dev/null")
    terminal = Terminal()
    copied = copy_text(TEXT, env | where, terminal)
    assert (copied.via, copied.sure) == ("OSC 52", False)
    assert "may refuse" in copied.message
    assert terminal.written == "\x1b]52;c;" + base64.b64encode(TEXT.encode()).decode() + "\x07"


def test_a_tool_that_fails_is_passed_over(tmp_path: Path, env: dict[str, str]) -> None:
    install(tmp_path, "wl-copy", "exit 1")
    install(tmp_path, "xclip", "cat > /dev/null")
    assert copy_text("x", env | WAYLAND | X11, Terminal()).via == "xclip"


def test_what_to_install_is_told(env: dict[str, str]) -> None:
    assert "install wl-clipboard" in copy_text("x", env | WAYLAND, Terminal()).message
    assert "install xclip" in copy_text("x", env | X11, Terminal()).message
    assert "install" not in copy_text("x", env | SSH, Terminal()).message


def test_tmux_is_asked_to_hand_it_on_and_is_not_sure(tmp_path: Path, env: dict[str, str]) -> None:
    install(tmp_path, "tmux", f"echo $@ > {tmp_path}/arguments; cat > {tmp_path}/got")
    terminal = Terminal()
    copied = copy_text(TEXT, env | TMUX | SSH, terminal)
    assert not copied.sure
    assert "tmux" in copied.message
    assert (tmp_path / "got").read_text() == TEXT
    assert (tmp_path / "arguments").read_text() == "load-buffer -w -\n"


def test_in_tmux_the_sequence_goes_plain_and_wrapped(env: dict[str, str]) -> None:
    terminal = Terminal()
    copy_text("hi", env | TMUX, terminal)
    assert terminal.written == "\x1b]52;c;aGk=\x07\x1bPtmux;\x1b\x1b]52;c;aGk=\x07\x1b\\"


def test_one_character_is_one_character(env: dict[str, str]) -> None:
    assert "1 character " in copy_text("x", env, Terminal()).message


# Pictures in


def wl_paste(tmp_path: Path, types: str) -> None:
    (tmp_path / "picture").write_bytes(PNG)
    install(
        tmp_path,
        "wl-paste",
        f"""case "$*" in
            *--list-types*) printf "{types}";;
            *"--type image/png"*) cat {tmp_path}/picture;;
            *) exit 1;;
        esac""",
    )


def test_wayland_gives_the_picture(tmp_path: Path, env: dict[str, str]) -> None:
    wl_paste(tmp_path, "text/html\\nimage/bmp\\nimage/png\\n")
    assert paste_picture(env | WAYLAND) == PNG


def test_x11_gives_the_picture(tmp_path: Path, env: dict[str, str]) -> None:
    (tmp_path / "picture").write_bytes(PNG)
    install(
        tmp_path,
        "xclip",
        f'case "$*" in *TARGETS*) printf "TIMESTAMP\\nimage/png\\n";; *image/png*) cat {tmp_path}/picture;; esac',
    )
    assert paste_picture(env | X11) == PNG


def test_windows_gives_the_picture_into_wsl(tmp_path: Path, env: dict[str, str]) -> None:
    install(tmp_path, "powershell.exe", f"printf {base64.b64encode(PNG).decode()}")
    assert paste_picture(env | {"WSL_DISTRO_NAME": "Ubuntu"}) == PNG


def test_a_mac_gives_the_picture(tmp_path: Path, env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    install(tmp_path, "osascript", f"printf '\u00abdata PNGf{PNG.hex().upper()}\u00bb'")
    assert paste_picture(env) == PNG
    install(tmp_path, "osascript", "exit 1")
    with pytest.raises(PictureError, match="no picture"):
        paste_picture(env)


@pytest.mark.parametrize("types", ["text/plain\\n", ""])
def test_a_clipboard_without_a_picture_says_so(tmp_path: Path, env: dict[str, str], types: str) -> None:
    wl_paste(tmp_path, types)
    with pytest.raises(PictureError, match="no picture in the clipboard"):
        paste_picture(env | WAYLAND)


@pytest.mark.parametrize(
    ("where", "cause", "remedy"),
    [
        (WAYLAND, "missing", "Wayland: install wl-clipboard."),
        (X11, "missing", "X11: install xclip."),
        ({"WSL_DISTRO_NAME": "Ubuntu"}, "missing", "powershell.exe"),
        (SSH, "other side of ssh", "URL"),
        ({}, "no screen", "path"),
    ],
)
def test_why_it_can_not_be_read_and_what_helps(
    env: dict[str, str], where: dict[str, str], cause: str, remedy: str
) -> None:
    with pytest.raises(PictureError) as caught:
        paste_picture(env | where)
    assert cause in caught.value.cause
    assert remedy in caught.value.remedy


def test_a_tool_that_talks_nonsense_is_told(tmp_path: Path, env: dict[str, str]) -> None:
    install(tmp_path, "powershell.exe", "echo error: no such thing!")
    with pytest.raises(PictureError, match=r"powershell\.exe: an answer that is no picture"):
        paste_picture(env | {"WSL_DISTRO_NAME": "Ubuntu"})
