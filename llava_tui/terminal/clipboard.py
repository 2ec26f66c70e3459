"""Text to the clipboard and pictures from it, by the system's own tools or through the terminal (OSC 52).

The answer always says which way it went, or why not and what would help. No shell, no screen.
"""

from __future__ import annotations

import base64
import binascii
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from llava_engine.errors import PictureError
from llava_engine.terminal_safe import SafeText, one_line

_COPY_TIMEOUT_S = 2.0
_PASTE_TIMEOUT_S = 10.0  # PowerShell takes seconds to begin
_KINDS = ("image/png", "image/jpeg", "image/webp", "image/bmp", "image/gif", "image/tiff")

_POWERSHELL = """
Add-Type -AssemblyName System.Windows.Forms, System.Drawing
$image = [Windows.Forms.Clipboard]::GetImage()
if ($image -ne $null) {
    $stream = New-Object IO.MemoryStream
    $image.Save($stream, [Drawing.Imaging.ImageFormat]::Png)
    [Console]::Out.Write([Convert]::ToBase64String($stream.ToArray()))
}
"""


@dataclass(frozen=True)
class Copied:
    """What became of a text.

    Attributes:
        characters: how many were copied.
        via: "wl-copy", "xclip", …, or "OSC 52".
        sure: the tool said so; False where a terminal has the last word, which may refuse without one.
        advice: what would make it sure; may be empty.
    """

    characters: int
    via: str
    sure: bool
    advice: str = ""

    @property
    def message(self) -> SafeText:
        """For the user, in one or two sentences."""
        count = f"{self.characters:,} character{'' if self.characters == 1 else 's'}"
        if self.sure:
            return one_line(f"Copied {count} with {self.via}.")
        return one_line(f"Sent {count} to the terminal by {self.via}; it may refuse them. {self.advice}")


def copy_text(text: SafeText, env: Mapping[str, str], write: Callable[[str], None]) -> Copied:
    """Copy by a system tool, or else write an OSC 52 sequence to the terminal with `write`. Up to 2 s: off-thread."""
    for tool, *arguments in _copy_tools(env):
        encoded = text.encode("utf-16le" if tool == "clip.exe" else "utf-8", "replace")
        if _feed([tool, *arguments], encoded, env):
            # tmux hands it on by OSC 52, and can not know what became of it.
            return Copied(len(text), tool, True) if tool != "tmux" else Copied(len(text), "tmux and OSC 52", False)
    write(_osc52(text, env))
    return Copied(len(text), "OSC 52", False, _missing_tool(env, copying=True))


def paste_picture(env: Mapping[str, str]) -> bytes:
    """The picture in the clipboard, as file bytes (PNG mostly). Up to some seconds: off-thread.

    Raises PictureError: no picture in it, or no tool that could tell, with what to install.
    """
    problems: list[str] = []
    asked = False
    for tool, read in (
        ("powershell.exe", _from_powershell),
        ("pngpaste", _from_pngpaste),
        ("osascript", _from_osascript),
        ("wl-paste", _from_wl_paste),
        ("xclip", _from_xclip),
    ):
        if not _applies(tool, env) or _find(tool, env) is None:
            continue
        try:
            data = read(env)
        except (OSError, subprocess.SubprocessError, ValueError) as error:
            problems.append(f"{tool}: {_reason(error)}")
            continue
        asked = True
        if data:
            return data
    if asked:
        raise PictureError("There is no picture in the clipboard.", "Copy one, or paste the path or URL of one.")
    if problems:
        raise PictureError(f"The clipboard could not be read ({'; '.join(problems)}).", "Paste the path of a picture.")
    advice = _missing_tool(env, copying=False)
    if advice:
        raise PictureError("The clipboard can not be read: the tool for it is missing.", advice)
    if _ssh(env):
        raise PictureError(
            "The clipboard is on the other side of ssh.", "Copy the picture's file over, or paste its URL."
        )
    raise PictureError("There is no clipboard here, since there is no screen.", "Paste the path or URL of a picture.")


# Which tools


def _ssh(env: Mapping[str, str]) -> bool:
    return any(env.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))


def _windows(env: Mapping[str, str]) -> bool:
    return sys.platform == "win32" or bool(env.get("WSL_DISTRO_NAME") or env.get("WSL_INTEROP"))


def _applies(tool: str, env: Mapping[str, str]) -> bool:
    """Whether the tool reaches the clipboard of the screen that the user looks at."""
    if tool in ("xclip", "xsel"):
        return bool(env.get("DISPLAY"))  # over ssh, too: then it is the forwarded one
    if tool == "tmux":
        return bool(env.get("TMUX"))
    if _ssh(env):
        return False
    if tool in ("wl-copy", "wl-paste"):
        return bool(env.get("WAYLAND_DISPLAY"))
    if tool in ("clip.exe", "powershell.exe"):
        return _windows(env)
    return sys.platform == "darwin"  # pbcopy, pngpaste, osascript


def _copy_tools(env: Mapping[str, str]) -> list[tuple[str, ...]]:
    tools = [
        ("clip.exe",),
        ("pbcopy",),
        ("wl-copy",),
        ("xclip", "-selection", "clipboard", "-in"),
        ("xsel", "--clipboard", "--input"),
        ("tmux", "load-buffer", "-w", "-"),  # where a sequence of ours would meet set-clipboard external
    ]
    return [tool for tool in tools if _applies(tool[0], env) and _find(tool[0], env) is not None]


def _missing_tool(env: Mapping[str, str], *, copying: bool) -> str:
    """What to install, when a screen is there and nothing that reaches its clipboard."""
    if _applies("wl-copy", env):
        return "Wayland: install wl-clipboard."
    if _applies("xclip", env):
        return "X11: install xclip."
    if copying or _ssh(env):
        return ""
    if _windows(env):
        return "Windows: put powershell.exe on the PATH."
    return "macOS: install pngpaste." if sys.platform == "darwin" else ""


def _find(tool: str, env: Mapping[str, str]) -> str | None:
    return shutil.which(tool, path=env.get("PATH"))


# Running them


def _feed(command: Sequence[str], data: bytes, env: Mapping[str, str]) -> bool:
    """Whether the tool took the data."""
    utf8 = {**env, "LC_CTYPE": "UTF-8"} if command[0] == "pbcopy" else dict(env)  # pbcopy reads by the locale
    try:
        # Nothing is captured: xclip and wl-copy stay behind to serve the clipboard, and would hold a pipe open.
        done = subprocess.run(
            [_find(command[0], env) or command[0], *command[1:]],
            input=data,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=utf8,
            timeout=_COPY_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return False
    return done.returncode == 0


def _output(command: Sequence[str], env: Mapping[str, str]) -> bytes:
    """What the tool prints; nothing when it fails, which is how most of them say that the clipboard is empty."""
    done = subprocess.run(
        [_find(command[0], env) or command[0], *command[1:]],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=dict(env),
        timeout=_PASTE_TIMEOUT_S,
        check=False,
    )
    return done.stdout if done.returncode == 0 else b""


def _from_wl_paste(env: Mapping[str, str]) -> bytes:
    kind = _first_kind(_output(["wl-paste", "--list-types"], env))
    return _output(["wl-paste", "--no-newline", "--type", kind], env) if kind else b""


def _from_xclip(env: Mapping[str, str]) -> bytes:
    ask = ["xclip", "-selection", "clipboard", "-out", "-target"]
    kind = _first_kind(_output([*ask, "TARGETS"], env))
    return _output([*ask, kind], env) if kind else b""


def _from_pngpaste(env: Mapping[str, str]) -> bytes:
    return _output(["pngpaste", "-"], env)


def _from_osascript(env: Mapping[str, str]) -> bytes:
    printed = _output(["osascript", "-e", "the clipboard as \u00abclass PNGf\u00bb"], env)
    data = re.search(rb"PNGf([0-9A-Fa-f]+)", printed)
    return bytes.fromhex(data.group(1).decode()) if data else b""


def _from_powershell(env: Mapping[str, str]) -> bytes:
    printed = _output(["powershell.exe", "-NoProfile", "-NonInteractive", "-STA", "-Command", _POWERSHELL], env)
    return base64.b64decode(printed.strip(), validate=True)


def _first_kind(types: bytes) -> str | None:
    offered = types.decode("utf-8", "replace").split()
    return next((kind for kind in _KINDS if kind in offered), None)


def _reason(error: Exception) -> str:
    if isinstance(error, subprocess.TimeoutExpired):
        return f"no answer in {_PASTE_TIMEOUT_S:.0f} s"
    if isinstance(error, binascii.Error):
        return "an answer that is no picture"
    return (isinstance(error, OSError) and error.strerror) or type(error).__name__


def _osc52(text: str, env: Mapping[str, str]) -> str:
    encoded = base64.b64encode(text.encode("utf-8", "replace")).decode()
    sequence = f"\x1b]52;c;{encoded}\x07"
    if not env.get("TMUX"):
        return sequence
    # tmux takes the plain one with set-clipboard on, and lets the wrapped one pass with allow-passthrough on.
    doubled = sequence.replace("\x1b", "\x1b\x1b")
    return f"{sequence}\x1bPtmux;{doubled}\x1b\\"
