"""Patterns of questions: one line that stands for many templates.

"(do|can) you see {a}@" is two templates; "(a|b|)" has an empty choice too, and brackets may hold brackets. Knows no
world.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from functools import lru_cache

Line = tuple["str | tuple[Line, ...]", ...]  # words, and choices between lines


@lru_cache(maxsize=8192)
def parsed(pattern: str) -> Line:
    """The pattern as nested choices.

    Raises:
        ValueError: its brackets do not match, or a bar stands outside of them.
    """
    choices, end = _choices(pattern, 0)
    if end != len(pattern) or len(choices) != 1:
        raise ValueError(f"brackets do not match in {pattern!r}")
    return choices[0]


def _choices(pattern: str, at: int) -> tuple[tuple[Line, ...], int]:
    """The choices from `at` to the bracket that closes them, or to the end; and where that is."""
    choices: list[Line] = []
    line: list[str | tuple[Line, ...]] = []
    start = at
    while True:
        letter = pattern[at : at + 1]
        if letter and letter not in "(|)":
            at += 1
            continue
        if at > start:
            line.append(pattern[start:at])
        if letter == "(":
            inner, at = _choices(pattern, at + 1)
            if pattern[at : at + 1] != ")":
                raise ValueError(f"brackets do not match in {pattern!r}")
            line.append(inner)
        elif letter == "|":
            choices.append(tuple(line))
            line = []
        else:
            return (*choices, tuple(line)), at
        at += 1
        start = at


def expand(line: Line, rng: random.Random) -> str:
    """One of the templates, each choice by lot."""
    if len(line) == 1 and isinstance(line[0], str):
        return line[0]
    lot = rng.random
    return "".join([part if isinstance(part, str) else expand(part[int(lot() * len(part))], rng) for part in line])


def ways_in(line: Line) -> int:
    """How many templates it stands for."""
    product = 1
    for part in line:
        if not isinstance(part, str):
            product *= sum(map(ways_in, part))
    return product


def all_of(line: Line) -> Iterator[str]:
    """Every template that it stands for."""
    if not line:
        yield ""
        return
    first, rest = line[0], line[1:]
    for begin in (first,) if isinstance(first, str) else (way for choice in first for way in all_of(choice)):
        for end in all_of(rest):
            yield begin + end
