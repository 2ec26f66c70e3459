"""Everything that is not a question about the drawn items: small talk, what was never learnt, no picture yet.

Each answer is one fixed, honest sentence or two; only the questions vary.
"""

from __future__ import annotations

import random

from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.phrases import Text, article, plural_of
from training.embedded.picture_world.question_templates import HALF_WORDS, SIDE_WORDS, SIZE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, SIDE, Scene
from training.embedded.picture_world.unknown_things import HELD_OUT_THINGS, LEARNED_THINGS, NAMES, several
from training.embedded.picture_world.wording import Wordings, dress, template

DO_NOT_KNOW = "I do not know that. I only know simple things in pictures."
NOT_LEARNED = "I have not learned to see that."
NO_PICTURE = "There is no picture yet. Attach one and ask me again."
SMALL_TALK: dict[str, str] = {  # templates -> answer
    "talk_hello": "Hello! Show me a picture and ask me about it.",
    "talk_who": "I am llava, a tiny model that looks at pictures.",
    "talk_can": "I can name, count and place simple shapes and things in a picture.",
    "talk_thanks": "You are welcome.",
    "talk_bye": "Goodbye!",
    "talk_how": "I am fine, thank you.",
    "talk_made": "I was trained from nothing, on drawn pictures.",
    "talk_alive": "I am a small program that has learned to see.",
}

_BEFORE = (
    *("exist", "colour", "colours", "count", "count_all", "kind", "relation", "side", "beside", "where", "verify"),
    *("half", "bigger", "which", "palette", "ground", "describe", "describe", "describe", "describe", "describe"),
)


def unknowable(o: Occasion) -> Exchange | None:
    """What is the weather like?"""
    return _unknown("unknowable", o)


def _unknown(family: str, o: Occasion) -> Exchange:
    rng = o.rng
    slots: dict[str, Text | str] = {name: rng.choice(words) for name, words in NAMES.items()}
    question = dress(template("unknown", rng, o.wordings), slots, rng, o.wordings)
    return o.said(family, question, [(DO_NOT_KNOW, None)])


def unknown_thing(o: Occasion) -> Exchange | None:
    """Is there a dog? It would not know one."""
    held_out = o.wordings == "held_out"
    noun = o.rng.choice(HELD_OUT_THINGS if held_out else LEARNED_THINGS)
    slots: dict[str, Text | str] = {"a": f"{article(noun)} {noun}", "x": noun, "xs": several(noun)}
    return o.exchange("unknown_thing", "unknown_thing", slots, [(NOT_LEARNED, None)])


def chat_with_picture(o: Occasion) -> Exchange | None:
    """Small talk while a picture lies on the table."""
    return small_talk(o.rng, o.wordings)


def small_talk(rng: random.Random, wordings: Wordings = "train") -> Exchange:
    """Small talk; the answer is the same with and without a picture. One in five asks for what was never learnt."""
    occasion = _nothing_shown(rng, wordings)
    if rng.random() < 0.2:
        return _unknown("talk", occasion)
    saying = rng.choice(tuple(SMALL_TALK))
    return occasion.said("talk", _plainly(template(saying, rng, wordings), rng), [(SMALL_TALK[saying], None)])


def no_picture(rng: random.Random, wordings: Wordings = "train") -> Exchange:
    """A question about a picture before there is one."""
    occasion = _nothing_shown(rng, wordings)
    colour, noun = rng.choice(COLOUR_NAMES), rng.choice(KINDS)
    named = f"{colour} {noun}" if rng.random() < 0.4 else noun
    size = rng.choice(SIZE_WORDS[rng.choice(("bigger", "smaller"))])
    slots: dict[str, Text | str] = {
        "a": f"{article(named)} {named}",
        "x": named,
        "xs": plural_of(named),
        "y": rng.choice(KINDS),
        "red": colour,
        "size": size,
        "side": rng.choice(rng.choice(list(SIDE_WORDS.values()))),
        "sides": rng.choice(("left or right of", "above or below")),
        "place": rng.choice(rng.choice(list(HALF_WORDS.values()))),
    }
    question = dress(template(rng.choice(_BEFORE), rng, wordings), slots, rng, wordings)
    return occasion.said("no_picture", question, [(NO_PICTURE, None)])


def _nothing_shown(rng: random.Random, wordings: Wordings) -> Occasion:
    return Occasion(Scene((), SIDE, SIDE, (255, 255, 255)), rng, wordings)


def _plainly(words: str, rng: random.Random) -> Text:
    """Small talk is short: only its case and mark vary."""
    statement = words.endswith(".")
    body = words.removesuffix(".")
    lot = rng.random()
    if lot < 0.5:
        body = body[0].upper() + body[1:]
    elif lot < 0.53:
        body = body.upper()
    elif lot < 0.9:
        body = body.lower()
    if "'" in body and rng.random() < 0.3:
        body = body.replace("'", "")
    mark = rng.choice(("", "", ".", "!", "!!")) if statement else rng.choice(("?", "?", "?", "", "", "??", "."))
    return [(body.rstrip("?.! ") + mark, None)]
