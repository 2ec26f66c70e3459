"""What an answer in words says, by each benchmark's published rule: yes or no, an option's letter, a short answer.

Pure functions of text. Where a rule reads nothing it says so; nothing is ever drawn by chance.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path

REFUSALS = (
    "Sorry, I can't help with images of people yet.",
    "I can't process this file.",
    "I'm sorry, but without the image provided",
    "Cannot determine the answer",
)
"""What the judged systems of MMBench's leaderboard say instead of an answer: part of its rule."""


def pope_yes(text: str) -> bool:
    """POPE's reading: no where No, no or not stands among the words of the first sentence; all else is yes."""
    words = text.partition(".")[0].replace(",", "").split(" ")
    return not {"No", "no", "not"} & set(words)


def mme_reading(text: str) -> str:
    """MME's reading: "yes", "no" or "other", by the first four letters."""
    text = text.lower()
    if text in ("yes", "no"):
        return text
    return next((word for word in ("yes", "no") if word in text[:4]), "other")


def grade(reply: str) -> float | None:
    """MM-Vet's reading of its judge: the first word, a number from 0 to 1; None for anything else."""
    try:
        value = float(reply.split(" ")[0].strip())
    except ValueError:
        return None
    return value if 0 <= value <= 1 else None


# ---- options (MMBench; VLMEvalKit's matching, without its draw) ----


def option(text: str, choices: Mapping[str, str]) -> str | None:
    """The option that an answer names: its letter, or its text. "Z" for a refusal, None where nothing is read.

    Args:
        text: the answer.
        choices: letter -> text.
    """
    return _by_letter(text, choices) or _by_phrase(text, choices) or _by_text(text, choices)


def _by_letter(text: str, choices: Mapping[str, str]) -> str | None:
    if any(refusal in text for refusal in REFUSALS):
        return "Z"
    spaced = text
    for mark in ".()[],:;!*#{}":
        spaced = spaced.replace(mark, " ")
    words = [word.strip() for word in spaced.split()]
    named = [letter for letter in choices if letter in words]
    if len(named) == 1:
        letter = named[0]
        # An English "A" at the beginning of a sentence is no option.
        return letter if words.index(letter) > len(words) - 5 else None
    return None


def _by_phrase(text: str, choices: Mapping[str, str]) -> str | None:
    named = re.search(r"answer is:?\s*\**\(?([A-Z])\b", text, re.IGNORECASE)
    return named[1].upper() if named and named[1].upper() in choices else None


def _by_text(text: str, choices: Mapping[str, str]) -> str | None:
    said = text.lower()
    if len(said) > 2 * sum(len(choice) for choice in choices.values()):
        return None
    named = [letter for letter, choice in choices.items() if choice.lower() in said]
    return named[0] if len(named) == 1 else None


# ---- short answers (VQA v2, TextVQA, VizWiz) ----


@cache
def _tables() -> tuple[list[str], frozenset[str], dict[str, str], dict[str, str]]:
    tables = json.loads(Path(__file__).with_name("short_answer_words.json").read_text(encoding="utf-8"))
    return tables["punctuation"], frozenset(tables["articles"]), tables["numbers"], tables["contractions"]


def short_answer(text: str) -> str:
    """The VQA answer processor as LLaVA's evaluation uses it: lower case, no marks, no articles, numbers as digits."""
    text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's").strip()
    return words_of(without_marks(text.replace("\n", " ").replace("\t", " ").strip()))


def without_marks(text: str) -> str:
    """Marks out: removed beside a blank, or where a comma parts digits; otherwise they become a blank."""
    marks, _, _, _ = _tables()
    whole = text
    glued = re.search(r"\d,\d", whole) is not None
    for mark in marks:
        alone = glued or f"{mark} " in whole or f" {mark}" in whole
        text = text.replace(mark, "" if alone else " ")
    # At most 32 full stops: a flag stands where a count belongs in the published code.
    return re.sub(r"\.(?!\d)", "", text, count=32)


def words_of(text: str) -> str:
    """Number words become digits, articles go, contractions get their apostrophe."""
    _, articles, numbers, contractions = _tables()
    words = (numbers.get(word, word) for word in text.lower().split())
    return " ".join(contractions.get(word, word) for word in words if word not in articles)


def soft_score(answer: str, truths: list[str]) -> float:
    """Antol et al. 2015, section 4: over each truth left out, how many of the others agree, three being enough."""
    if not truths:
        return 0.0
    agreed = sum(answer == truth for truth in truths)
    shares = (min(1.0, (agreed - (answer == truth)) / 3) for truth in truths)
    return sum(shares) / len(truths)
