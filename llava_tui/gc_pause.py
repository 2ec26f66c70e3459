"""Python's garbage collector, at rest while a program starts.

While objects come that stay (modules, screens, torch), it looks through all of them again and again: a fifth of the
time to the first frame, and with torch an eighth of a second at a time in which no key is answered. Knows nothing else.
"""

from __future__ import annotations

import gc


def rest() -> None:
    """From here on, what is made stays."""
    gc.disable()


def resume() -> None:
    """All is made: look from now on, but only through what comes."""
    gc.freeze()
    gc.enable()
