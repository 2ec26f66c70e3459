"""Which letter a key types. Textual asks `str.isprintable`, which says no to letters that many keyboards have.

Those are U+200C and U+200D (Persian, family emoji), the direction marks, the soft hyphen, and every blank but the plain
one: the no-break space of French keyboards, the wide space of Japanese ones.
"""

from __future__ import annotations

from textual.events import Key

from llava_engine.terminal_safe import strip_control


def letter(event: Key) -> str:
    """The letter that the key types; "" when it types none."""
    character = event.character or ""
    if event.is_printable:
        return character
    return character if character not in ("\t", "\n") and strip_control(character) == character else ""
