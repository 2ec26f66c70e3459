"""How people ask: a template of the family, what they put around it, and how carelessly they type.

The templates come from ways*.py (training) and held_out_templates.py (only evaluation).
"""

from __future__ import annotations

import random
from typing import Literal

from training.embedded.picture_world.patterns import expand, parsed
from training.embedded.picture_world.phrases import PICTURES, THINGS, Text, fill, plural_of
from training.embedded.picture_world.question_templates import ASKED, HELD_OUT
from training.embedded.picture_world.slips import careless, slip

Wordings = Literal["train", "held_out", "plain"]

_OPENINGS = (
    "(please |pls |please, |)(tell me(:|,)|look(:|,|.)|say(:|,)|answer me(:|,)) ",
    "(so|ok|okay|now|well|and|hmm|um|uh|oh|alright|all right|right|next|then|also|but|listen)(, | )",
    "(hey|hi|hello|hello there|hi there|good morning|dear llava|llava|hey llava|hi llava)(, |! | )",
    "(one|a|quick|a quick|one more|another|my|last|simple|next) question(: |, |. )",
    "(look at|here is|this is|see|check|take a look at|have a look at|I have) (the|this|my|a) {picture}(. |: |, |; )",
    "(in|on|from|looking at|about|for|regarding) (the|this|that|my) {picture}(, |: | )",
    "(I wonder|just curious|out of curiosity|I am curious|if you can see it|if you know|help me|help)(, |: |; )",
    "(please|excuse me|sorry|sorry to ask|be honest|quickly|in short|in one sentence|in a few words)(, | )",
    "(I can't see well|my eyes are bad|I am blind|I forgot my glasses|my kid asks|my daughter wants to know)(, |: |. )",
    "(ok so|ok now|and now|so now|well then|let's see|let me ask|let me ask you|tell me now|once more)(, |: | )",
    "(q|question|Q)(: |. )",
)
_PLACES = (
    *(" in the {picture}", " in this {picture}", " here", " in the {picture}", " on the {picture}", " in it", " there"),
    *(" in my {picture}", " in that {picture}", " on this {picture}", " in the {picture}", " on it", " in this one"),
    *(" on screen", " in the whole {picture}", " in the {picture} above", " in the {picture} I sent", " in here"),
)
_ENDINGS = (
    "(, please| please| pls|, pls| plz|, thanks| thanks| thx|, thank you| thank you)",
    "(, do you think|, would you say|, can you tell|, can you see|, in your opinion|, what do you think|, you think)",
    "(, llava|, my friend|, mate|, buddy|, dear)",
    "( then| now| exactly| again|, exactly| please tell me|, tell me|, say)",
    "(, quickly|, just say it|, be honest|, if you can| ^^)",
)
_MARKS = ("?", "?", "?", "?", "?", "?", "?", "", "", "", "", "", "??", " ?", ".", "?!", "...")


def ask(family: str, slots: dict[str, Text | str], rng: random.Random, wordings: Wordings) -> Text:
    """One way to ask, with its slots filled."""
    return dress(template(family, rng, wordings), slots, rng, wordings)


def template(family: str, rng: random.Random, wordings: Wordings) -> str:
    """One template of a family (a key of `ASKED`)."""
    if wordings == "held_out":
        return expand(parsed(rng.choice(HELD_OUT[family])), rng)
    ways = ASKED[family]
    return ways.plain[rng.random() < 0.5] if wordings == "plain" else ways.draw(rng)


def dress(template: str, slots: dict[str, Text | str], rng: random.Random, wordings: Wordings) -> Text:
    """A template as some person would type it: opening, ending, case, mark, now and then a slip."""
    statement = template.endswith(".")
    body = template.removesuffix(".")
    if wordings == "plain":
        text = fill(body.replace("@", ""), _PLAIN | slots)
        text[0] = (text[0][0][:1].upper() + text[0][0][1:], text[0][1])
        return [*text, ("." if statement else "?", None)]
    if "@" in body:
        body = body.replace("@", rng.choice(_PLACES) if rng.random() < 0.35 else "")
    lot = rng.random()
    body = body.strip()
    if lot < 0.17:
        body = (expand(parsed(rng.choice(_OPENINGS)), rng) + body).lstrip()
    if 0.1 < lot < 0.22:
        body += expand(parsed(rng.choice(_ENDINGS)), rng)
    mark = rng.choice(_MARKS)
    if statement and "?" in mark:
        mark = rng.choice(("", ".", "!"))
    lot = rng.random()
    if lot < 0.1:
        body = careless(body, rng)
    text = fill((body + mark).replace("  ", " "), _choices(rng) | slots)
    if 0.08 < lot < 0.16:
        text = slip(text, rng)
        if lot < 0.1:
            text = slip(text, rng)
    return _cased(text, rng)


def _cased(text: Text, rng: random.Random) -> Text:
    lot = rng.random()
    if lot < 0.47:
        text[0] = (text[0][0][:1].upper() + text[0][0][1:], text[0][1])
    elif lot < 0.49:
        text = [(words.upper(), items) for words, items in text]
    elif lot < 0.9:
        text = [(words.lower(), items) for words, items in text]
    return text


_PLAIN: dict[str, Text | str] = {"colour": "colour", "thing": "thing", "things": "things", "picture": "picture"}


def _choices(rng: random.Random) -> dict[str, Text | str]:
    lot = rng.random()
    thing = THINGS[int(lot * 3)] if rng.random() < 0.75 else rng.choice(THINGS)
    return {
        "colour": "colour" if lot < 0.5 else "color",
        "thing": thing,
        "things": plural_of(thing),
        "picture": "picture" if rng.random() < 0.45 else rng.choice(PICTURES),
    }
