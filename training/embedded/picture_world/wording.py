"""How people ask: for each family many templates, openings and endings; some held out to be asked only in evaluation.

The templates are in templates.py; here is what people put around them.
"""

from __future__ import annotations

import random
from typing import Literal

from training.embedded.picture_world.phrases import PICTURES, THINGS, Text, fill, plural_of
from training.embedded.picture_world.question_templates import ASKED, HELD_OUT

Wordings = Literal["train", "held_out", "plain"]

_OPENINGS = (
    *("please tell me: ", "tell me, ", "so, ", "ok, ", "hey, ", "look at the {picture}. ", "now, ", "well, ", "hi, "),
    *(
        "and ",
        "look: ",
        "one question: ",
        "here is a {picture}. ",
        "I wonder, ",
        "quick question: ",
        "hello! ",
        "hmm, ",
    ),
)
_PLACES = (
    *(" in the {picture}", " in this {picture}", " here", " in the {picture}", " on the {picture}", " in it", " there"),
    *(" in my {picture}", " in that {picture}", " on this {picture}"),
)
_ENDINGS = (", please", " please", ", do you think", ", can you tell", ", thanks", ", would you say")
_MARKS = ("?", "?", "?", "?", "?", "?", "", "", "", "", "??", " ?", ".")


def ask(family: str, slots: dict[str, Text | str], rng: random.Random, wordings: Wordings) -> Text:
    """One way to ask, with its slots filled."""
    templates = HELD_OUT[family] if wordings == "held_out" else ASKED[family]
    template = templates[int(rng.random() * 2)] if wordings == "plain" else rng.choice(templates)
    return dress(template, slots, rng, wordings)


def dress(template: str, slots: dict[str, Text | str], rng: random.Random, wordings: Wordings) -> Text:
    """A template as some person would type it: opening, ending, case, mark, now and then a slip."""
    statement = template.endswith(".")
    body = template.removesuffix(".")
    if wordings == "plain":
        words = _choices(rng, plain=True)
        text = fill(body.replace("@", ""), words | slots)
        text[0] = (text[0][0][:1].upper() + text[0][0][1:], text[0][1])
        return [*text, ("." if statement else "?", None)]
    place = rng.choice(_PLACES) if "@" in body and rng.random() < 0.4 else ""
    body = body.replace("@", place)
    lot = rng.random()
    opening = rng.choice(_OPENINGS) if lot < 0.15 else ""
    ending = rng.choice(_ENDINGS) if 0.1 < lot < 0.2 else ""
    mark = rng.choice(_MARKS)
    if statement and mark.strip() == "?":
        mark = rng.choice(("", ".", "!"))
    text = fill(opening + body + ending + mark, _choices(rng) | slots)
    if rng.random() < 0.04:
        text = _slip(text, rng)
    lot = rng.random()
    if lot < 0.5:
        text[0] = (text[0][0][:1].upper() + text[0][0][1:], text[0][1])
    elif lot < 0.53:
        text = [(words.upper(), items) for words, items in text]
    elif lot < 0.85:
        text = [(words.lower(), items) for words, items in text]
    return text


def _choices(rng: random.Random, *, plain: bool = False) -> dict[str, Text | str]:
    if plain:
        return {"colour": "colour", "thing": "thing", "things": "things", "picture": "picture"}
    thing = rng.choice(THINGS)
    return {
        "colour": "colour" if rng.random() < 0.55 else "color",
        "thing": thing,
        "things": plural_of(thing),
        "picture": "picture" if rng.random() < 0.5 else rng.choice(PICTURES),
    }


def _slip(text: Text, rng: random.Random) -> Text:
    """One light typing error: two letters exchanged, one lost or one doubled."""
    index = rng.randrange(len(text))
    words, items = text[index]
    if len(words) < 5:
        return text
    at = rng.randrange(1, len(words) - 2)
    one, two = words[at], words[at + 1]
    if not (one.isalpha() and two.isalpha()):
        return text
    slipped = rng.choice((two + one, one, one + one + two))
    changed = list(text)
    changed[index] = (words[:at] + slipped + words[at + 2 :], items)
    return changed
