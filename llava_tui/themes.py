"""The two looks of our own: warm charcoal and warm paper, both with an ember accent.

Only colours live here; the sheets beside the screens name them by their roles and never by value.
"""

from __future__ import annotations

from textual.theme import Theme

EMBER = Theme(
    name="llava",
    primary="#ff8b5c",
    secondary="#c9a27a",
    accent="#ffb38f",
    success="#9fc98b",
    warning="#e6b860",
    error="#f07a72",
    foreground="#e9e2da",
    background="#161311",
    surface="#1e1a17",
    panel="#2b2521",
    dark=True,
    variables={
        "border": "#4a4039",
        "border-blurred": "#352e29",
        "block-cursor-background": "#3a2c24",
        "block-cursor-foreground": "#ffd9c6",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#2b2521",
        "footer-key-foreground": "#ff8b5c",
        "input-cursor-background": "#ff8b5c",
        "input-selection-background": "#ff8b5c 30%",
        "scrollbar": "#352e29",
        "scrollbar-hover": "#4a4039",
        "scrollbar-active": "#ff8b5c",
        "scrollbar-background": "#161311",
        "scrollbar-background-hover": "#161311",
        "scrollbar-background-active": "#161311",
        "scrollbar-corner-color": "#161311",
    },
)

PAPER = Theme(
    name="llava-light",
    primary="#b8481b",
    secondary="#7b5c3c",
    accent="#c65f2f",
    success="#4b7a3a",
    warning="#96690c",
    error="#b3322b",
    foreground="#2b2420",
    background="#faf6f1",
    surface="#f3ece4",
    panel="#e8ddd1",
    dark=False,
    variables={
        "border": "#cdbfb0",
        "border-blurred": "#ddd1c4",
        "block-cursor-background": "#f0d9cb",
        "block-cursor-foreground": "#7c2d0c",
        "block-cursor-text-style": "none",
        "block-cursor-blurred-background": "#e8ddd1",
        "footer-key-foreground": "#b8481b",
        "scrollbar": "#d8cabb",
        "scrollbar-background": "#faf6f1",
        "scrollbar-background-hover": "#faf6f1",
        "scrollbar-background-active": "#faf6f1",
        "scrollbar-corner-color": "#faf6f1",
    },
)
