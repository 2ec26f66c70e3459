"""Markdown's tokens without what commands a terminal: parsing decodes `&#27;` and `&#x202e;` after all stripping.

For the app's Markdown and for that of `llava ask`, which have different parsers and the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from llava_engine.terminal_safe import strip_control

if TYPE_CHECKING:
    from markdown_it.token import Token


def strip_tokens(tokens: Iterable[Token]) -> None:
    """Strip what they say, their links and their names of languages, in place."""
    for token in tokens:
        token.content = strip_control(token.content)
        token.info = strip_control(token.info)
        token.attrs = {
            name: strip_control(value) if isinstance(value, str) else value for name, value in token.attrs.items()
        }
        strip_tokens(token.children or ())
