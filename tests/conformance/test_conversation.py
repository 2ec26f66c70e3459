"""The whole way in default: a conversation becomes the original's prompt, its ids, and its answer.

June's checkpoints are read as they were trained, by the slow tokenizer; their goldens' answers belong to the fast one,
which the original asked them with. So there the answer to the slow ids is found in parity, and ours must be the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import pytest

import llava_engine
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation import templates
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import prompt_text, spans
from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import assemble
from llava_engine.engine import Engine
from llava_engine.errors import ContextOverflowError
from llava_engine.parity.embedding import PICTURE
from llava_engine.parity.generation import generated, script_text
from llava_engine.pictures.opening import Picture
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import (
    allowed,
    as_the_original_saw,
    case_of,
    forward,
    forward_cases,
    is_open,
    is_sure,
    new_ids,
    original_of,
    pictures,
    shows_its_pictures,
    tag_turns,
    template_of,
)
from tests.conformance.test_prompts import SAME

pytestmark = needs_fixtures

CASES = [pair for pair in forward_cases() if shows_its_pictures(case_of(*pair))]
NAMES = {(commit, theirs): ours for ours, commit, theirs in SAME} | {("c121f04", "plain"): "plain"}


def conversation_of(case: Any, shown: Sequence[Picture], system: str | None = None) -> Conversation:
    """The golden's turns, each <image> a picture where it stands."""
    left, messages = list(shown), []
    for role, text in tag_turns(case):
        if text is None:
            continue
        pieces = text.split("<image>") if role == 0 else [text]
        places = tuple(sum(map(len, pieces[: count + 1])) for count in range(len(pieces) - 1))
        here = tuple(left.pop(0) for _ in places)
        messages.append(Message("user" if role == 0 else "assistant", "".join(pieces), here, places or None))
    return Conversation(tuple(messages), system)


def our_template(name: str, case: Any) -> Template | None:
    """What stands for a case's template here; None where we have none, and only parity can ask it.

    A checkpoint's own is its own: 1.5 and 1.6 learned another system text than the original's command line asks with.
    """
    original, theirs = original_of(name), template_of(name, case)
    if theirs == original.template:
        return original.checkpoint.template
    ours = NAMES.get((original.commit, case["conv_template"]))
    if ours is None:
        return None
    return replace(templates.get(ours), wrap_pictures=original.checkpoint.template.wrap_pictures)


def system_of(name: str, case: Any, template: Template) -> str | None:
    """Of 1.5 and 1.6, and of a template that is not the checkpoint's: as the case has it."""
    if template.captions_only:
        return None
    return template_of(name, case).system.removeprefix(template.system_tag)


def ours(name: str, case: Any, template: Template) -> tuple[str, list[int]]:
    """Prompt and ids as the engine makes them; the ids with one placeholder for a picture where the golden has one."""
    original = original_of(name)
    checkpoint = original.checkpoint
    conversation = conversation_of(case, pictures(case["images"]), system_of(name, case, template))
    parts = spans(conversation, template, open_answer=is_open(case))
    lengths = [checkpoint.config.picture_tokens if original.commit == "b4be90b" else 1] * len(case["images"])
    ids = assemble(parts, checkpoint.tokenizer, lengths, checkpoint.config.image_token_id).ids
    return prompt_text(parts), [PICTURE if token < 0 else token for token in ids]


def has_marks(name: str, case: Any) -> bool:
    """Whether somebody typed a special token: to the original it is one, to us it is letters."""
    said = "".join(text or "" for _, text in tag_turns(case)).replace("<image>", "")
    return any(token in said for token in original_of(name).tokenizer.special_ids)


@pytest.mark.parametrize(("name", "case_name"), CASES)
def test_prompt_and_ids_are_the_originals(name: str, case_name: str) -> None:
    case, template = case_of(name, case_name), our_template(name, case_of(name, case_name))
    if template is None or _is_refused(case, template):
        return
    prompt, ids = ours(name, case, template)
    patches = "<im_patch>" * forward(name).get("image_token_len", 0) or "<image>"
    expected = case["prompt"].replace(patches, "<image>") if case["images"] else case["prompt"]
    if template.captions_only:
        # The command line ends the user's turn as if it were a caption; in training nothing stood there.
        assert expected == f"{prompt}\n"
        return
    assert prompt == expected
    if not has_marks(name, case):
        assert ids == case.get("slow_tokenizer_input_ids", case["input_ids"])


def _is_refused(case: Any, template: Template) -> bool:
    """What a chat does not take, or takes otherwise: a wrong order, nothing said; test_prompts.py looks at those."""
    turns = tag_turns(case)
    said = turns[:-1] if is_open(case) else turns
    in_turn = all(role == place % 2 and text for place, (role, text) in enumerate(said))
    return not in_turn or bool(template.captions_only and case["turns"][0][1] != "<image>")


@cache
def engine(name: str, template: str) -> Engine:
    golden = forward(name)
    base = FIXTURES / golden["base"] if golden.get("base") else None
    own = original_of(name).checkpoint.template.name
    return llava_engine.load(
        FIXTURES / golden["checkpoint"],
        base=base,
        device="cpu",
        dtype="float32",
        template=None if template == own else template,
    )


@pytest.mark.parametrize(("name", "case_name"), [pair for pair in CASES if is_open(case_of(*pair))])
def test_the_answer_is_the_originals(name: str, case_name: str) -> None:
    case, original = case_of(name, case_name), original_of(name)
    template = our_template(name, case)
    if template is None or _is_refused(case, template):
        return
    if template.captions_only:
        case = case | {"prompt": case["prompt"].removesuffix("\n")}
    seen = as_the_original_saw(case["images"])
    conversation = conversation_of(case, seen, system_of(name, case, template))
    asked, most = engine(name, template.name), allowed(name)
    length = asked.count(conversation).total
    if length >= asked.card.context_length:
        with pytest.raises(ContextOverflowError):
            list(asked.stream(conversation, Sampling(max_new_tokens=most)))
        return
    *_, reply = asked.stream(conversation, Sampling(max_new_tokens=most))
    assert isinstance(reply, Reply)

    # June saw the last picture only, and newest cut what is longer than training's longest.
    if (original.commit == "b4be90b" and len(case["images"]) > 1) or length != case.get("embedded_length", length):
        return
    _, ids = ours(name, case, template)
    if ids == case["input_ids"]:
        there = new_ids(name, case)
        if not is_sure(name, case):
            return
    else:  # June's slow ids, whose answer is found in parity
        embeddings = original.embeddings(ids, pictures(case["images"]))
        there = generated(original, embeddings, case["stop"], most)
        there = there[1:] if original.commit == "c121f04" else there
    made = list(reply.token_ids)
    there = there[: asked.card.context_length - length]
    # Ours may end before the original's: it knows every stop of a template, in the first token too.
    assert made == there[: len(made)]
    text = script_text(original, there, case["stop"])
    for stop in template.stops:
        text = text.partition(stop)[0]
    ends = original.checkpoint.tokenizer.stop_ids(template.stops)
    if len(made) < len(there) and there[len(made)] in ends:
        text = script_text(original, made, case["stop"])
    # The scripts take white space around an answer away, and MPT's tokenizer tidies it within; ours says what was said.
    assert reply.text.split() == text.split() or _squeezed(reply.text) == _squeezed(text)


def _squeezed(text: str) -> str:
    return "".join(text.split())
