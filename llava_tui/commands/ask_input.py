"""What `llava ask` is given -> a question, and the names of pictures.

In: the words of the command line and standard input. Out: what is asked. A word that is a picture is never a question.
Opens no picture.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path, PurePath

import typer

from llava_tui.commands import standard_input

DESCRIBE = "Describe this picture."
DESCRIBE_MANY = "Describe these pictures."
INPUT = "-"

_URL = re.compile(r"(?:https?|file|data):\S+", re.IGNORECASE)


def what_is_asked(words: Sequence[str], images: Sequence[str], query: str | None) -> tuple[str, list[str]]:
    """The question, and the pictures in order: those of --image first, then those among the words.

    The question is a word, or --query. Text that comes on standard input is the question where there is none, and is
    added to it where there is one; `-` in either place waits for it.

    Raises:
        typer.BadParameter: there is no question, or more than one, or the order of the pictures is lost.
        ConversationError: standard input is no text, or too long.
    """
    among = _pictures(words, images)
    pictures = [*images, *among]
    asked = [word for word in words if word != INPUT and word not in among]
    asked += [query] if query not in (None, INPUT) else []
    waits = INPUT in words or query == INPUT
    if len(asked) > 1:
        if query is not None and len(asked) == 2:
            raise typer.BadParameter("the question is given twice, as an argument and as --query")
        raise typer.BadParameter(f"the question is in {len(asked)} pieces: put it in quotes")
    if pictures.count(INPUT) > 1:
        raise typer.BadParameter("only one picture can come from standard input", param_hint="--image")
    if INPUT in pictures and waits:
        raise typer.BadParameter("standard input is asked to be both the picture and the question")
    if waits or not (asked or pictures or standard_input.is_terminal()):
        asked.append(standard_input.read())
    elif INPUT not in pictures:
        asked.append(standard_input.read_if_brought())
    question = "\n\n".join(text.strip() for text in asked if text.strip())
    if question:
        return question, pictures
    if pictures:
        return (DESCRIBE if len(pictures) == 1 else DESCRIBE_MANY), pictures
    raise typer.BadParameter("there is no question: llava ask -i PICTURE -q QUESTION")


def _pictures(words: Sequence[str], images: Sequence[str]) -> list[str]:
    """Those of the words that are pictures: a shell writes `-i a.png b.png` for `-i *.png`."""
    found = [word for word in words if _is_picture(word)]
    if found and images:
        option = next((at for at, word in enumerate(sys.argv) if word.startswith(("-i", "--image"))), len(sys.argv))
        if len(images) > 1 or found[0] in sys.argv[:option]:
            raise typer.BadParameter(
                f"{found[0]} is a picture: give it with -i too (-i a.png -i b.png), or all without (a.png b.png)",
                param_hint="--image",
            )
    return found


def _is_picture(word: str) -> bool:
    """Whether a word names something to be seen: a URL, a file that is there, or a name like a picture's."""
    from llava_engine.pictures.kinds import SUFFIXES

    if word == INPUT or not word.strip():
        return False
    if _URL.fullmatch(word):
        return True
    try:
        there = Path(word).expanduser()
        if there.is_file() or ("/" in word and there.exists()):
            return True
    except (OSError, ValueError, RuntimeError):  # too long for a name, a null byte, nobody's home
        return False
    return PurePath(word).suffix.lower() in SUFFIXES and len(word.split()) == 1
