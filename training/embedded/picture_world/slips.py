"""Typing errors and careless spellings, never such that one known word could be read as another.

A slip in a word that matters (a kind, a colour, a side, a number …) is nearer to that word than to any other of
these.
"""

from __future__ import annotations

import random
import re
from functools import lru_cache

from training.embedded.picture_world.phrases import MATTERING, Text

_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_BESIDE = {
    letter: "".join(row[at - 1 : at] + row[at + 1 : at + 2] for row in (_ROWS[line],))
    for line in range(3)
    for at, letter in enumerate(_ROWS[line])
}
_CARELESS = (
    *(("please", "pls"), ("please", "plz"), ("please", "plese"), ("thanks", "thx"), ("you", "u"), ("what", "wat")),
    *(("are there", "r there"), ("is there", "is ther"), ("picture", "pictur"), ("colour", "color")),
    *(("there", "ther"), ("which", "wich"), ("where", "were"), ("than", "then"), ("because", "cos"), ("the ", "teh ")),
    *(("the ", ""), ("of the", "of"), ("do you", "do u"), ("can you", "can u"), ("describe", "discribe")),
    *(("and", "n"), ("with", "w/"), ("tell me", "tel me"), ("what is", "whats"), ("what is", "what")),
    *(("is the", "is"), ("the ", "this "), ("I ", "i "), ("want to", "wanna"), ("how many", "howmany"), ("see", "c")),
    *(("background", "back ground"), ("biggest", "bigest"), ("how many", "how much"), ("exactly", "exacly")),
)  # fmt: skip
_BY_LENGTH = {size: [word for word in MATTERING if len(word) == size] for size in range(1, 12)}
_WORD = re.compile(r"[a-z]{4,}")


def careless(words: str, rng: random.Random) -> str:
    """With one careless spelling, where there is room for it."""
    if "'" in words and rng.random() < 0.6:
        return words.replace("'", "")
    for _ in range(4):
        said, typed = rng.choice(_CARELESS)
        at = words.find(said)
        if at >= 0 and (at == 0 or words[at - 1] == " ") and not words[at + len(said) :][:1].isalpha():
            return words[:at] + typed + words[at + len(said) :]
    return words


def slip(text: Text, rng: random.Random) -> Text:
    """One typing error in one word: letters exchanged, one lost, one doubled, or the key beside."""
    index = rng.randrange(len(text))
    words, items = text[index]
    found = list(_WORD.finditer(words))
    if not found:
        return text
    match = rng.choice(found)
    typed = _slipped(match[0], rng)
    if typed is None:
        return text
    changed = list(text)
    changed[index] = (words[: match.start()] + typed + words[match.end() :], items)
    return changed


def _slipped(word: str, rng: random.Random) -> str | None:
    """The word with an error; None where every error would be another word that matters."""
    for _ in range(4):
        at, lot = rng.randrange(1, len(word)), rng.random()
        if lot < 0.3:
            typed = word[: at - 1] + word[at] + word[at - 1] + word[at + 1 :]
        elif lot < 0.55:
            typed = word[:at] + word[at + 1 :]
        elif lot < 0.8:
            typed = word[:at] + word[at - 1] + word[at:]
        else:
            typed = word[:at] + rng.choice(_BESIDE.get(word[at], word[at])) + word[at + 1 :]
        if typed != word and _clear(word, typed):
            return typed
    return None


@lru_cache(maxsize=100_000)
def _clear(word: str, typed: str) -> bool:
    """Whether `typed` can only be `word` misspelt: no other word that matters is one step from it."""
    if typed in MATTERING:
        return False
    sizes = (len(typed) - 1, len(typed), len(typed) + 1)
    near = (other for size in sizes for other in _BY_LENGTH.get(size, ()))
    return not any(other != word and _one_step(typed, other) for other in near)


def _one_step(one: str, other: str) -> bool:
    """Whether one letter lost, added or changed, or two neighbours exchanged, makes one of the other."""
    if abs(len(one) - len(other)) > 1:
        return False
    start = 0
    while start < min(len(one), len(other)) and one[start] == other[start]:
        start += 1
    a, b = one[start:], other[start:]
    if len(a) == len(b):
        return a[1:] == b[1:] or (a[:2] == b[1::-1] and a[2:] == b[2:])
    return a[1:] == b if len(a) > len(b) else a == b[1:]
