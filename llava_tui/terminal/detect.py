"""What this terminal can show, and why we think so.

Environment and one short probe go in, `TerminalFacts` come out. The decision is pure; the probe is `probe.py`.
It never raises, and draws nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

ImageProtocol = Literal["tgp", "sixel", "halfcell", "none"]
"""kitty's graphics protocol · Sixel · two coloured half-blocks a cell (nearly everywhere) · pictures by name only."""

Colours = Literal["none", "16", "256", "truecolor"]

_PLACEHOLDERS = ("kitty", "ghostty")
"""Terminals that draw TGP pictures at Unicode placeholders, which is how pictures scroll with the text. Others that
answer yes to TGP (WezTerm, Konsole, Warp) leave the place empty."""

_ANSWER_BUT_LACK_PLACEHOLDERS = {"wezterm": "WezTerm", "konsole": "Konsole", "warp": "Warp"}


@dataclass(frozen=True)
class ProbeAnswer:
    """What the terminal said.

    Attributes:
        sixel: its device attributes name Sixel.
        tgp: it answered a kitty graphics query.
        name: its own name and version (XTVERSION); "" when it did not say.
    """

    sixel: bool
    tgp: bool
    name: str = ""


@dataclass(frozen=True)
class TerminalFacts:
    """What to use.

    Attributes:
        image_protocol: see `ImageProtocol`.
        colours: how many colours are sure.
        tmux: inside tmux.
        ssh: on another machine than the screen.
        web: in a browser tab (textual-serve).
        why: the reasons, a sentence each, for `llava doctor`.
    """

    image_protocol: ImageProtocol
    colours: Colours
    tmux: bool
    ssh: bool
    web: bool
    why: tuple[str, ...]


def detect(env: Mapping[str, str], probe: Callable[[], ProbeAnswer | None]) -> TerminalFacts:
    """Decide for this environment. `probe` is called once at most; None means that nobody answered.

    LLAVA_IMAGES=tgp|sixel|halfcell|none overrides everything about pictures.
    """
    web = "web_driver" in env.get("TEXTUAL_DRIVER", "")
    tmux = bool(env.get("TMUX")) or env.get("TERM", "").startswith("tmux")
    ssh = any(env.get(name) for name in ("SSH_CONNECTION", "SSH_CLIENT", "SSH_TTY"))
    colours, colours_why = _colours(env, web)
    why = [colours_why]
    wish = env.get("LLAVA_IMAGES", "").strip().lower()
    protocol: ImageProtocol
    if wish in get_args(ImageProtocol):
        protocol = next(known for known in get_args(ImageProtocol) if known == wish)
        why.append(f"Pictures: {protocol}, since LLAVA_IMAGES says so.")
    else:
        if wish not in ("", "auto"):
            why.append(f"LLAVA_IMAGES={wish} is none of {', '.join(get_args(ImageProtocol))}: not used.")
        protocol, images_why = _images(env, probe, web=web, tmux=tmux)
        why.append(f"Pictures: {images_why}")
    return TerminalFacts(protocol, colours, tmux, ssh, web, tuple(why))


def _colours(env: Mapping[str, str], web: bool) -> tuple[Colours, str]:
    term = env.get("TERM", "")
    if env.get("NO_COLOR"):
        return "none", "Colours: none, since NO_COLOR is set."
    if web:
        return "truecolor", "Colours: all, in a browser."
    if term == "dumb":
        return "none", "Colours: none, since TERM is dumb."
    if env.get("COLORTERM", "").lower() in ("truecolor", "24bit") or term.endswith("-direct"):
        return "truecolor", "Colours: all, since COLORTERM or TERM says so."
    if env.get("WT_SESSION"):
        return "truecolor", "Colours: all, since this is Windows Terminal."
    if "256color" in term:
        return "256", f"Colours: 256, since TERM is {term} and COLORTERM promises no more."
    return "16", f"Colours: 16, since TERM is {term or 'not set'} and COLORTERM promises no more."


def _images(
    env: Mapping[str, str], probe: Callable[[], ProbeAnswer | None], *, web: bool, tmux: bool
) -> tuple[ImageProtocol, str]:
    term = env.get("TERM", "")
    if web:
        return "halfcell", "half cells, in a browser."
    if term == "dumb":
        return "none", "by name only, since TERM is dumb."
    if tmux or env.get("STY") or term.startswith("screen"):
        return "halfcell", "half cells, which are sure to pass tmux and screen."
    if term == "linux" or env.get("TERM_PROGRAM") == "Apple_Terminal":
        return "halfcell", "half cells; this terminal would print our questions instead of answering."
    for name, shown in _ANSWER_BUT_LACK_PLACEHOLDERS.items():
        if name in env.get("TERM_PROGRAM", "").lower() or env.get(f"{name.upper()}_VERSION"):
            return "halfcell", f"half cells, since {shown} lacks the placeholders that pictures need to scroll."
    try:
        answer = probe()
    except Exception as error:  # a terminal is what the user has; the app starts in any
        return "halfcell", f"half cells, since the terminal could not be asked ({type(error).__name__})."
    return _from_answer(answer)


def _from_answer(answer: ProbeAnswer | None) -> tuple[ImageProtocol, str]:
    if answer is None:
        return "halfcell", "half cells, since the terminal did not answer when asked."
    name = answer.name.lower()
    shown = "".join(c for c in answer.name if c.isprintable())[:40] or "the terminal"
    for known, lacking in _ANSWER_BUT_LACK_PLACEHOLDERS.items():
        if name.startswith(known):
            return "halfcell", f"half cells, since {lacking} lacks the placeholders that pictures need to scroll."
    if answer.tgp and name.startswith(_PLACEHOLDERS):
        return "tgp", f"kitty's graphics protocol, since {shown} answered that it has it."
    if answer.sixel:
        return "sixel", f"Sixel, since {shown} answered that it has it."
    if answer.tgp:
        return "halfcell", f"half cells, since {shown} is not known to have the placeholders that TGP needs."
    return "halfcell", f"half cells, since {shown} has no picture protocol."
