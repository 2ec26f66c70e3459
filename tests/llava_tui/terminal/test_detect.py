"""What is chosen for each terminal, and that the reason is told."""

from __future__ import annotations

import pytest

from llava_tui.terminal.detect import Colours, ImageProtocol, ProbeAnswer, detect

XTERM = {"TERM": "xterm-256color", "COLORTERM": "truecolor"}
KITTY = ProbeAnswer(sixel=False, tgp=True, name="kitty(0.40.1)")
SIXEL = ProbeAnswer(sixel=True, tgp=False, name="foot(1.16.2)")
NOTHING = ProbeAnswer(sixel=False, tgp=False, name="XTerm(390)")


def never() -> ProbeAnswer:
    raise AssertionError("the terminal must not be asked here")


@pytest.mark.parametrize(
    ("answer", "protocol", "reason"),
    [
        (KITTY, "tgp", "kitty"),
        (ProbeAnswer(False, True, "ghostty 1.1.0"), "tgp", "ghostty"),
        (SIXEL, "sixel", "foot"),
        (NOTHING, "halfcell", "XTerm"),
        (None, "halfcell", "did not answer"),
        (ProbeAnswer(True, True, "WezTerm 20240203"), "halfcell", "WezTerm"),
        (ProbeAnswer(True, True, "Konsole 23.08.1"), "halfcell", "Konsole"),
        (ProbeAnswer(False, True, "Warp(v0.2025)"), "halfcell", "Warp"),
        (ProbeAnswer(False, True, ""), "halfcell", "not known"),
        (ProbeAnswer(True, True, "somebody 1"), "sixel", "somebody"),
    ],
)
def test_the_probe_decides_where_nothing_else_does(
    answer: ProbeAnswer | None, protocol: ImageProtocol, reason: str
) -> None:
    facts = detect(XTERM, lambda: answer)
    assert facts.image_protocol == protocol
    assert reason in facts.why[-1]


@pytest.mark.parametrize(
    ("env", "protocol"),
    [
        ({"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, "halfcell"),
        ({"TMUX": "/tmp/tmux-0/default,1,0"}, "halfcell"),
        ({"TERM": "tmux-256color"}, "halfcell"),
        ({"TERM": "screen-256color"}, "halfcell"),
        ({"STY": "1.pts"}, "halfcell"),
        ({"TERM": "linux"}, "halfcell"),
        ({"TERM": "dumb"}, "none"),
        ({"TERM_PROGRAM": "Apple_Terminal"}, "halfcell"),
        ({"TERM_PROGRAM": "WezTerm"}, "halfcell"),
        ({"TERM_PROGRAM": "WarpTerminal"}, "halfcell"),
        ({"KONSOLE_VERSION": "230801"}, "halfcell"),
        ({"LLAVA_IMAGES": "tgp", "TMUX": "x"}, "tgp"),
        ({"LLAVA_IMAGES": "Sixel", "TERM": "dumb"}, "sixel"),
        ({"LLAVA_IMAGES": "none"}, "none"),
    ],
)
def test_some_terminals_are_not_asked(env: dict[str, str], protocol: ImageProtocol) -> None:
    assert detect(XTERM | env, never).image_protocol == protocol


def test_a_wish_that_is_none_is_told_and_not_used() -> None:
    facts = detect(XTERM | {"LLAVA_IMAGES": "jpeg"}, lambda: KITTY)
    assert facts.image_protocol == "tgp"
    assert any("jpeg" in reason for reason in facts.why)
    assert detect(XTERM | {"LLAVA_IMAGES": "auto"}, lambda: SIXEL).image_protocol == "sixel"


def test_a_probe_that_fails_leaves_half_cells() -> None:
    def fail() -> ProbeAnswer:
        raise OSError("no such device")

    assert detect(XTERM, fail).image_protocol == "halfcell"


@pytest.mark.parametrize(
    ("env", "colours"),
    [
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor"}, "truecolor"),
        ({"TERM": "xterm", "COLORTERM": "24bit"}, "truecolor"),
        ({"TERM": "xterm-direct"}, "truecolor"),
        ({"TERM": "xterm-256color"}, "256"),
        ({"TERM": "xterm"}, "16"),
        ({"TERM": "linux"}, "16"),
        ({}, "16"),
        ({"WT_SESSION": "x"}, "truecolor"),
        ({"TERM": "dumb", "COLORTERM": "truecolor"}, "none"),
        ({"TERM": "xterm-256color", "COLORTERM": "truecolor", "NO_COLOR": "1"}, "none"),
        ({"TERM": "xterm-256color", "NO_COLOR": ""}, "256"),  # no-color.org: only when it is not empty
        ({"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, "truecolor"),
    ],
)
def test_colours(env: dict[str, str], colours: Colours) -> None:
    facts = detect(env, lambda: None)
    assert facts.colours == colours
    assert facts.why[0].startswith("Colours:")


def test_where_we_are() -> None:
    facts = detect(XTERM | {"TMUX": "x", "SSH_TTY": "/dev/pts/1"}, never)
    assert (facts.tmux, facts.ssh, facts.web) == (True, True, False)
    assert detect({"TEXTUAL_DRIVER": "textual.drivers.web_driver:WebDriver"}, never).web
