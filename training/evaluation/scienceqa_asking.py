"""How ScienceQA is asked: for the option's letter, as version 1.5 was trained; or in two steps, as June's.

In two steps the model first writes its lecture and solution, up to ###; then that text, with the beginning of an answer
after it, is gone on with (June 2023, the script for ScienceQA with its answer prompter).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation
from llava_engine.questions import Question
from training.evaluation.answering import SECOND, MakeQuestion, plainly
from training.evaluation.asked import Asked
from training.evaluation.scienceqa_rows import LETTER_INSTRUCTION

PROMPTER = " ###\nANSWER:"
JOINT = "\n The answer is "
MOST_OF_ANSWER = 64  # tokens of the second step

_END = "###"


def for_a_letter(asked: Asked, images: Path) -> Question[str]:
    """The question with the instruction to answer by a letter."""
    return plainly(replace(asked, text=asked.text + LETTER_INSTRUCTION), images)


def in_two_steps(sampling: Sampling) -> MakeQuestion:
    """The question, and once its reasoning is there the answer that follows from it; both drawn as `sampling` says."""
    reasoning = replace(sampling, stops=(_END,))
    answering = replace(reasoning, max_new_tokens=MOST_OF_ANSWER)

    def make(asked: Asked, images: Path) -> Question[str]:
        first = plainly(asked, images)

        def answer(conversation: Conversation, reply: Reply) -> Question[str]:
            begun = reply.text + PROMPTER
            return Question(asked.key + SECOND, lambda opening: conversation, begun, answering, first.place)

        return replace(first, sampling=reasoning, then=answer)

    return make


def both_steps() -> Callable[[str, Reply], str | None]:
    """What an answer's text is: the reasoning, and after it what the second step said."""
    reasons: dict[str, str] = {}

    def said(key: str, reply: Reply) -> str | None:
        if not key.endswith(SECOND):
            reasons[key] = reply.text
            return None
        return reasons.pop(key.removesuffix(SECOND)) + JOINT + reply.text

    return said
