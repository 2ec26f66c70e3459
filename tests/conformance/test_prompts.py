"""Prompts as the original wrote them, letter for letter: every case by the parity module, and what our templates share.

Our templates write what the original's do, save for three things on purpose: an empty answer is an answer (there, an
open slot), tags that a user types are text (there, a web page's picture takes them all out), and a conversation that
a template can not write is refused instead of being written somehow.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

import pytest

from llava_engine.conversation import templates
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import prompt_text, spans
from llava_engine.conversation.templates import Template
from llava_engine.errors import ConversationError
from llava_engine.parity.original_templates import TEMPLATES, Commit, OriginalTemplate
from llava_engine.parity.prompts import Turn, WebMessage, copied, prompt, with_patches
from llava_engine.pictures.opening import Picture
from tests.conformance.fixtures import FIXTURES, error_of, golden, needs_fixtures

pytestmark = needs_fixtures

COMMITS: tuple[Commit, ...] = ("b4be90b", "c121f04")

# Ours, and the original's that it stands for.
SAME: list[tuple[str, Commit, str]] = [
    ("v0", "b4be90b", "multimodal"),
    ("sqa", "b4be90b", "simple"),
    ("v1-june", "b4be90b", "llava_v1"),
    ("v1", "b4be90b", "vicuna_v1_1"),
    ("v1", "c121f04", "v1"),
    ("v1", "c121f04", "vicuna_v1"),
    ("v1-human", "c121f04", "llava_v1"),
    ("mistral", "c121f04", "mistral_instruct"),
    ("chatml", "c121f04", "chatml_direct"),
    ("chatml", "c121f04", "mistral_direct"),
    ("llama2", "c121f04", "llava_llama_2"),
    ("mpt", "b4be90b", "mpt_multimodal"),
    ("mpt-later", "c121f04", "mpt"),
]


def turns_of(conversation: list[list[Any]]) -> list[Turn]:
    """Turns as the goldens write them."""
    return [(role, WebMessage(text["text"]) if isinstance(text, dict) else text) for role, text in conversation]


def outcome(template: OriginalTemplate, turns: list[Turn], commit: Commit) -> dict[str, str]:
    """What a case of the goldens says of it: a prompt, or the class of an error."""
    error = error_of(partial(prompt, template, turns, commit))
    return {"error": error} if error else {"prompt": prompt(template, turns, commit)}


@pytest.mark.parametrize("commit", COMMITS)
def test_every_prompt_is_the_originals(commit: Commit) -> None:
    prompts = golden("prompts.json")
    for case in prompts[commit]["cases"]:
        template = TEMPLATES[commit][case["template"]]
        made = outcome(template, turns_of(prompts["conversations"][case["conversation"]]), commit)
        made |= {"stop": cast(str, template.stop)}
        if "stop_ui" in case:
            made |= {"stop_ui": cast(str, template.web_stop)}
        named = {key: case[key] for key in ("template", "conversation")}
        assert made | named == case


@pytest.mark.parametrize("commit", COMMITS)
def test_every_template_is_the_originals(commit: Commit) -> None:
    fields = golden("prompts.json")[commit]["templates"]
    assert set(fields) == set(TEMPLATES[commit])
    for name, expected in fields.items():
        ours = TEMPLATES[commit][name]
        said = [[ours.roles[place % 2], text] for place, text in enumerate(ours.examples)]
        assert (ours.system, list(ours.roles), ours.style) == (
            expected["system"],
            expected["roles"],
            expected["sep_style"],
        )
        assert (ours.sep, ours.sep2, ours.version, said) == (
            expected["sep"],
            expected["sep2"],
            expected["version"],
            expected["builtin_messages"],
        )
        assert copied(ours, commit).version == expected["version_after_copy"]


def conversation_of(turns: list[list[Any]]) -> Conversation:
    """Turns as the goldens write them, a user's <image> being a picture where it stands."""
    messages = []
    for role, text in turns:
        if text is None:
            continue
        pieces = [text] if role else text.split("<image>")
        places = [sum(map(len, pieces[: count + 1])) for count in range(len(pieces) - 1)]
        pictures = (cast(Picture, None),) * len(places)
        messages.append(Message("assistant" if role else "user", "".join(pieces), pictures, tuple(places) or None))
    return Conversation(tuple(messages))


def is_ordinary(turns: list[list[Any]]) -> bool:
    """User and assistant in turn, each saying something, at most the last slot open."""
    said = turns[:-1] if turns and turns[-1] == [1, None] else turns
    return bool(said) and all(
        role == place % 2 and isinstance(text, str) and text for place, (role, text) in enumerate(said)
    )


def is_refused(turns: list[list[Any]]) -> bool:
    """What nothing of ours writes: another order, or a user who says nothing. (An empty answer is an answer to us.)"""
    said = turns[:-1] if turns and turns[-1] == [1, None] else turns
    return not said or any(role != place % 2 or (role == 0 and text == "") for place, (role, text) in enumerate(said))


@pytest.mark.parametrize(("ours", "commit", "theirs"), SAME)
def test_our_template_writes_the_same(ours: str, commit: Commit, theirs: str) -> None:
    prompts = golden("prompts.json")
    template = replace(templates.get(ours), wrap_pictures=False)  # the goldens have the bare tag
    checked = 0
    for case in prompts[commit]["cases"]:
        turns = prompts["conversations"][case["conversation"]]
        if case["template"] != theirs or not is_ordinary(turns):
            continue
        written = spans(conversation_of(turns), template, open_answer=turns[-1][1] is None)
        assert prompt_text(written) == case["prompt"]
        assert case.get("stop_ui", case["stop"]) in template.stops
        checked += 1
    assert checked


@pytest.mark.parametrize("ours", sorted({ours for ours, _, _ in SAME}))
def test_what_a_chat_can_not_hold_is_refused_with_a_remedy(ours: str) -> None:
    """The original writes these somehow; its data code leaves the assistant's first words out."""
    for turns in golden("prompts.json")["conversations"].values():
        if is_refused(turns) and all(not isinstance(text, dict) for _, text in turns):
            with pytest.raises(ConversationError) as caught:
                spans(conversation_of(turns), templates.get(ours))
            assert caught.value.remedy


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        (ours, theirs)
        for ours, commit, theirs in SAME
        # A name that newest gave another meaning has that one; a name of ours is ours.
        if theirs not in templates.TEMPLATES and (commit == "c121f04" or theirs not in TEMPLATES["c121f04"])
    ],
)
def test_the_originals_name_finds_ours(ours: str, theirs: str) -> None:
    assert templates.get(theirs) is templates.get(ours)


def checkpoints() -> list[str]:
    """Every checkpoint with prompts of its own, by its file of goldens."""
    return sorted(path.stem for path in (FIXTURES / "goldens").glob("forward_*.json"))


@pytest.mark.parametrize("name", checkpoints())
def test_every_checkpoints_prompts_are_the_originals(name: str) -> None:
    forward = golden(f"{name}.json")
    commit: Commit = forward["commit"]
    for case in forward["cases"]:
        template = TEMPLATES[commit][case["conv_template"]]
        turns = [
            (role, text and with_patches(text, forward["image_token_len"], start_end=forward["mm_use_im_start_end"]))
            if "turns_with_tag" in case
            else (role, text)
            for role, text in case.get("turns_with_tag", case["turns"])
        ]
        if turns != [tuple(turn) for turn in case["turns"]]:  # tags that nobody took for pictures
            assert not case["images"]
            turns = [(role, text) for role, text in case["turns"]]
        assert prompt(template, turns, commit) == case["prompt"]


@pytest.mark.parametrize("name", checkpoints())
def test_pictures_stand_where_the_original_put_them(name: str) -> None:
    """Pictures given beside the text, not as tags in it: the template decides on the side."""
    forward = golden(f"{name}.json")
    patches = "<im_patch>" * forward.get("image_token_len", 0)
    names = {(commit, theirs): ours for ours, commit, theirs in SAME}
    for case in forward["cases"]:
        ours = names.get((forward["commit"], case["conv_template"]))
        turns = case.get("turns_with_tag", case["turns"])
        if ours is None or not case["images"] or not is_ordinary(turns):
            continue
        template = replace(templates.get(ours), wrap_pictures=forward.get("mm_use_im_start_end", False))
        messages = []
        for role, text in turns:
            if text is not None:
                pictures = [cast(Picture, None)] * text.count("<image>")
                bare = text.replace("<image>", "").strip("\n")
                messages.append(Message.assistant(text) if role else Message.user(bare, pictures))
        said = [text for role, text in turns if role == 0]
        if said != [_placed(message, template) for message in messages if message.role == "user"]:
            continue  # somebody placed them elsewhere
        written = spans(Conversation(tuple(messages)), template, open_answer=turns[-1][1] is None)
        expected = case["prompt"].replace(patches, "<image>") if patches else case["prompt"]
        assert prompt_text(written) == expected, case["case"]


def _placed(message: Message, template: Template) -> str:
    """A user's text with its tags where the original's command line put them."""
    tags = ["<image>"] * len(message.pictures)
    parts = [*tags, message.text] if template.pictures_first else [message.text, *tags]
    return "\n".join(part for part in parts if part)


def test_some_pictures_stand_where_a_template_puts_them() -> None:
    """So that the test before this one looks at something."""
    texts = [
        case.get("turns_with_tag", case["turns"])[0][1] or ""
        for name in checkpoints()
        for case in golden(f"{name}.json")["cases"]
    ]
    assert any(text.startswith("<image>\n") or text.endswith("\n<image>") for text in texts)
