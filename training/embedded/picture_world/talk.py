"""Everything that is not a question about the drawn items: small talk, what can not be known, no picture yet.

Each answer is one fixed, honest sentence; only the questions vary.
"""

from __future__ import annotations

import random

from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.phrases import Text, article, plural_of
from training.embedded.picture_world.question_templates import ASKED, HELD_OUT, SIDE_WORDS
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS, SIDE, Scene
from training.embedded.picture_world.wording import Wordings, dress

CAN_NOT_TELL = "I can't tell that from the picture."
NOT_LEARNED = "I have not learned to see that."
NO_PICTURE = "There is no picture yet. Attach one and ask me again."
ONLY_PICTURES = "I only know about pictures of simple things."

UNKNOWABLE = (
    *("who painted it", "who drew this", "who made this {picture}", "when was it drawn", "when was it painted"),
    *(
        "who is the artist",
        "how old is it",
        "how old is this {picture}",
        "where was this {picture} taken",
        "how much does it cost",
    ),
    *(
        "what is it worth",
        "why was it drawn",
        "what does it mean",
        "what is the title",
        "what is its name",
        "who owns it",
    ),
    *(
        "when was this {picture} taken",
        "what is the name of the artist",
        "who took this {picture}",
        "where was it drawn",
    ),
    *(
        "what happened before",
        "what will happen next",
        "how heavy is it",
        "what does it smell like",
        "what does it taste like",
    ),
    *(
        "what is it made of",
        "what time is it@",
        "what day is it@",
        "who lives here",
        "is it for sale",
        "how did they draw it",
    ),
    *(
        "what was the artist thinking",
        "which program was used to draw it",
        "what year is it from",
        "in which country was it drawn",
    ),
    *(
        "how long did it take to draw",
        "who is the painter",
        "what is behind it",
        "where can I buy it",
        "who drew it",
        "why",
    ),
    *(
        "when was this made",
        "who made it",
        "where does it come from",
        "what is the story behind it",
        "what is the weather@",
    ),
)
UNKNOWABLE_HELD_OUT = (
    "who created this {picture}",
    "how old is the artist",
    "in what year was it painted",
    "what is the price",
)
UNKNOWN_THINGS = (
    *("dog", "person", "man", "woman", "child", "bird", "flower", "sun", "apple", "banana", "train", "plane", "table"),
    *(
        "chair",
        "book",
        "horse",
        "cow",
        "face",
        "clock",
        "cup",
        "bottle",
        "hat",
        "shoe",
        "phone",
        "computer",
        "bus",
        "bike",
    ),
    *("mountain", "river", "cloud", "door", "window", "lamp", "robot", "rabbit", "mouse", "elephant", "cake", "pizza"),
    *(
        "letter",
        "word",
        "number",
        "sign",
        "road",
        "bridge",
        "rocket",
        "snowman",
        "guitar",
        "key",
        "umbrella",
        "butterfly",
    ),
    *(
        "human",
        "girl",
        "boy",
        "baby",
        "animal",
        "plant",
        "truck",
        "spider",
        "snake",
        "dragon",
        "monster",
        "sheep",
        "pig",
    ),
)
_THING_TEMPLATES = (
    *("is there {a}@", "do you see {a}@", "are there any {xs}@", "how many {xs} are there@", "what colour is the {x}"),
    *(
        "where is the {x}",
        "can you see {a}@",
        "what is the {x} doing",
        "can you find {a}@",
        "is the {x} big",
        "any {xs}@",
    ),
    *(
        "what is to the left of the {x}",
        "is there any {x}@",
        "what color is the {x}",
        "where's the {x}",
        "how many {xs}@",
    ),
)

# (what a person may say, what llava answers); the last two ways of each are held out
SMALL_TALK: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        (
            *("hello.", "hi.", "hey.", "good morning.", "good evening.", "hi there.", "hello there.", "hallo."),
            *("hey you.",),
            *("hello llava.", "hi llava.", "good day.", "greetings.", "howdy.", "hey there.", "good afternoon.", "yo."),
        ),
        "Hello! Show me a picture and ask me about it.",
    ),
    (
        (
            *("who are you", "what are you", "what is your name", "what's your name", "introduce yourself."),
            *("who is this",),
            *("tell me about yourself.", "are you llava", "what model are you", "what kind of model are you"),
            *("your name",),
            *("are you chatgpt", "who am I talking to", "what should I call you", "say who you are."),
        ),
        "I am llava, a tiny model that looks at pictures.",
    ),
    (
        (
            *("what can you do", "what do you do", "help.", "how can you help me", "what can I ask you"),
            *("what do you know",),
            *("what are you good at", "how do you work", "what can I ask", "what questions can I ask"),
            *("can you help me",),
            *("what are you able to do", "how do I use you", "what are your skills", "what are you for"),
        ),
        "I can name, count and place simple shapes and things in a picture.",
    ),
    (
        (
            *("thanks.", "thank you.", "thanks a lot.", "thank you very much.", "great, thanks.", "thx.", "cheers."),
            *("nice, thank you.",),
            *("many thanks.", "well done.", "good job.", "great.", "very good.", "nice.", "perfect.", "cool."),
            *("thank you so much.", "good work."),
        ),
        "You are welcome.",
    ),
    (
        (
            *("bye.", "goodbye.", "see you.", "see you later.", "good night.", "bye bye.", "that is all.", "farewell."),
            *("have a nice day.", "I am leaving.", "until tomorrow.", "so long."),
        ),
        "Goodbye!",
    ),
    (
        (
            *("how are you", "how are you doing", "how do you feel", "are you fine", "how is it going"),
            *("how's it going",),
            *("are you well", "what's up", "how do you do", "are you ok"),
        ),
        "I am fine, thank you.",
    ),
    (
        (
            *("who made you", "who trained you", "how were you trained", "where do you come from", "who built you"),
            *("what were you trained on", "how did you learn", "who created you", "how old are you", "who wrote you"),
        ),
        "I was trained from nothing, on drawn pictures.",
    ),
    (
        (
            *("are you human", "are you a human", "are you a person", "are you real", "are you alive"),
            *("are you a robot",),
            *("are you an AI", "are you intelligent", "do you have feelings", "are you conscious"),
            *("are you a machine", "are you a bot"),
        ),
        "I am a small program that has learned to see.",
    ),
    (
        (
            *("what is the capital of France", "tell me a joke.", "what is two plus two", "how is the weather"),
            *("write a poem.",),
            *("what time is it now", "who is the president", "tell me a story.", "sing a song.", "what is love"),
            *("do my homework.",),
            *("write some code.", "what is the meaning of life", "translate this.", "do you speak German"),
            *("what is your favourite colour",),
            *("who won the game", "what do you think about politics", "tell me something.", "what is 3 + 4"),
            *("speak French.",),
            *("what is the largest city", "give me a recipe."),
        ),
        ONLY_PICTURES,
    ),
)  # fmt: skip


def unknowable(o: Occasion) -> Exchange | None:
    """Who painted it?"""
    ways = UNKNOWABLE_HELD_OUT if o.wordings == "held_out" else UNKNOWABLE
    return o.said("unknowable", dress(o.rng.choice(ways), {}, o.rng, o.wordings), [(CAN_NOT_TELL, None)])


def unknown_thing(o: Occasion) -> Exchange | None:
    """Is there a dog? It would not know one."""
    noun = o.rng.choice(UNKNOWN_THINGS)
    slots: dict[str, Text | str] = {"a": f"{article(noun)} {noun}", "x": noun, "xs": _plural(noun)}
    question = dress(o.rng.choice(_THING_TEMPLATES), slots, o.rng, o.wordings)
    return o.said("unknown_thing", question, [(NOT_LEARNED, None)])


def _plural(noun: str) -> str:
    irregular = {
        "person": "people",
        "man": "men",
        "woman": "women",
        "child": "children",
        "mouse": "mice",
        "sheep": "sheep",
    }
    if noun in irregular:
        return irregular[noun]
    if noun == "butterfly" or noun == "baby":
        return noun[:-1] + "ies"
    return noun + "es" if noun == "bus" else plural_of(noun)


def chat_with_picture(o: Occasion) -> Exchange | None:
    """Small talk while a picture lies on the table."""
    return small_talk(o.rng, o.wordings)


def small_talk(rng: random.Random, wordings: Wordings = "train") -> Exchange:
    """Small talk; the answer is the same with and without a picture."""
    ways, answer = rng.choice(SMALL_TALK)
    ways = ways[-2:] if wordings == "held_out" else ways[:-2]
    occasion = Occasion(Scene((), SIDE, SIDE, (255, 255, 255)), rng, wordings)
    return occasion.said("talk", _plainly(rng.choice(ways), rng), [(answer, None)])


def no_picture(rng: random.Random, wordings: Wordings = "train") -> Exchange:
    """A question about a picture before there is one."""
    occasion = Occasion(Scene((), SIDE, SIDE, (255, 255, 255)), rng, wordings)
    lot, colour, noun = rng.random(), rng.choice(COLOUR_NAMES), rng.choice(KINDS)
    named = f"{colour} {noun}" if rng.random() < 0.4 else noun
    slots: dict[str, Text | str] = {
        "a": f"{article(named)} {named}",
        "x": named,
        "xs": plural_of(named),
        "y": rng.choice(KINDS),
        "red": colour,
        "side": rng.choice(rng.choice(list(SIDE_WORDS.values()))),
        "sides": rng.choice(("left or right of", "above or below")),
    }
    families = (
        "exist",
        "colour",
        "colours",
        "count",
        "count_all",
        "kind",
        "relation",
        "side",
        "beside",
        "where",
        "verify",
    )
    family = "describe" if lot < 0.35 else rng.choice(families)
    templates = HELD_OUT[family] if wordings == "held_out" else ASKED[family]
    question = dress(rng.choice(templates), slots, rng, wordings)
    return occasion.said("no_picture", question, [(NO_PICTURE, None)])


def _plainly(words: str, rng: random.Random) -> Text:
    """Small talk is short: only its case and mark vary."""
    statement = words.endswith(".")
    body = words.removesuffix(".")
    if rng.random() < 0.5:
        body = body[0].upper() + body[1:]
    elif rng.random() < 0.1:
        body = body.upper()
    elif rng.random() < 0.7:
        body = body.lower()
    mark = rng.choice(("", ".", "!")) if statement else rng.choice(("?", "?", "?", "", "??", "."))
    return [(body + mark, None)]
