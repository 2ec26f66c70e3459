"""Texts for the first stages: captions for the projector, sentences alone for the language model."""

from __future__ import annotations

import random

from training.embedded.picture_world.answers import description
from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.exchanges import Exchange, Occasion
from training.embedded.picture_world.phrases import spelled
from training.embedded.picture_world.questions import FAMILIES, exchanges
from training.embedded.picture_world.scenes import Scene, random_scene
from training.embedded.picture_world.talk import no_picture, small_talk


def captions(scene: Scene, rng: random.Random) -> tuple[str, str]:
    """(instruction, caption): the whole picture in one sentence."""
    exchange = FAMILIES["describe"][1](Occasion(scene, rng))
    assert exchange is not None
    return exchange.question, exchange.answer


def sentences(rng: random.Random) -> str:
    """One line of the world's language without a picture: a caption, a question with its answer, a small dialogue."""
    lot = rng.random()
    if lot < 0.08:
        said = [small_talk(rng) if rng.random() < 0.5 else no_picture(rng)]
    else:
        scene = random_scene(rng)
        if lot < 0.3:
            return spelled(description(scene), "answer")[0]
        said = dialogue(scene, rng) if lot < 0.5 else exchanges(scene, rng, n=1, families=list(FAMILIES))
    return " ".join(f"{exchange.question} {exchange.answer}" for exchange in said)


def without_picture(rng: random.Random) -> Exchange:
    """What is said before there is a picture: small talk, or a question that needs one."""
    return small_talk(rng) if rng.random() < 0.5 else no_picture(rng)
