"""Our ids and labels of the goldens' samples: the ids of training, and labels that are exact.

Every template's ids are the original's. So are the labels, but for v0's, which drift by a token a turn there, and the
newest ChatML's, which learn nothing. Three samples differ on purpose: what a user types is no special token, an answer
before every question is left out in v0 too, and v0's trainer wrote one more space at the very end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import pytest

from llava_engine.conversation import templates
from llava_engine.conversation.conversation import Conversation, Message, Role
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import Prompt, Tokenizer, assemble
from llava_engine.parity.labels import IGNORED
from llava_engine.parity.original_templates import TEMPLATES
from llava_engine.pictures.opening import Picture
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.test_labels import JUNE, groups, name_of, samples

pytestmark = needs_fixtures

IMAGE = -200
# Ours, by what the original's trainers were told; system texts are compared in test_prompts.py.
OURS = {
    "b4be90b": {"v0": "v0-trained", "v1": "v1", "mpt": "mpt"},
    "c121f04": {
        "v1": "v1",
        "llava_v1": "v1-human",
        "plain": "plain",
        "llava_llama_2": "llama2",
        "llama_2": "llama2",
        "mpt": "mpt-later",
        "mistral_instruct": "mistral",
        "llava_v0": "v0-trained",
    },
}


def told(group: dict[str, Any]) -> str:
    return cast(str, group["version"] if group["commit"] == "b4be90b" else group["template"])


def ours() -> list[Any]:
    """All groups but those of forms that no checkpoint has (mmtag, a picture in a turn of its own), and one where the
    newest trainer goes on with a June tokenizer and marks, which the two of them split differently.
    """
    return [
        group
        for group in groups()
        if told(group) in OURS[group["commit"]]
        and not group.get("sep_image_conv_front")
        and not (group["mm_use_im_start_end"] and group.get("tokenizer_legacy") and told(group) != "plain")
    ]


def template_of(group: dict[str, Any]) -> Template:
    template = templates.get(OURS[group["commit"]][told(group)])
    if template.captions_only:
        return template
    name = JUNE[told(group)] if group["commit"] == "b4be90b" else told(group)
    system = TEMPLATES[group["commit"]][name].system.removeprefix(template.system_tag)
    return replace(template, system=system, wrap_pictures=group["mm_use_im_start_end"], pictures_first=True)


def conversation_of(sample: dict[str, Any], group: dict[str, Any]) -> Conversation:
    """A sample as data readers hand it on: June leaves a picture where its tag stands, newest puts it in front."""
    turns = sample["conversations"]
    messages = []
    for turn in turns[1:] if turns[0]["from"] == "gpt" else turns:
        before, tag, after = turn["value"].partition("<image>")
        shown = (cast(Picture, None),) if tag else ()
        role: Role = "user" if turn["from"] == "human" else "assistant"
        if group["commit"] == "c121f04" and tag:
            messages.append(Message(role, (before + after).strip(), shown))
        else:
            messages.append(Message(role, before + after, shown, (len(before),) if tag else None))
    return Conversation(tuple(messages))


def made(sample: dict[str, Any], group: dict[str, Any]) -> tuple[Tokenizer, Conversation, Prompt]:
    june = group["commit"] == "b4be90b"
    marks = ["<im_start>", "<im_end>"] if group["mm_use_im_start_end"] else []
    added = [group["pad_token"], "<im_patch>", *marks] if june else [*group["extra_added_tokens"], *marks]
    tokenizer = Tokenizer.from_folder(FIXTURES / group["tokenizer"], added=added)
    conversation = conversation_of(sample, group)
    placeholder = tokenizer.special_ids["<im_patch>"] if june else IMAGE
    lengths = [group.get("image_token_len", 1)] * len(conversation.pictures)
    return tokenizer, conversation, assemble(spans(conversation, template_of(group)), tokenizer, lengths, placeholder)


@pytest.mark.parametrize("group", ours(), ids=name_of)
def test_ids_are_those_of_training_and_so_are_labels_where_those_are_right(group: dict[str, Any]) -> None:
    template = template_of(group)
    drifts = template.name == "v0-trained"
    learns_nothing = template.name == "mpt-later"
    checked = 0
    for name, expected in group["results"].items():
        sample = samples()[name]
        if "error" in expected:
            continue
        tokenizer, _, prompt = made(sample, group)
        typed = "".join(turn["value"] for turn in sample["conversations"]).replace("<image>", "")
        if any(token in typed for token in tokenizer.special_ids) or (
            drifts and sample["conversations"][0]["from"] == "gpt"
        ):
            continue
        theirs = expected["input_ids"]
        cut = group["model_max_length"] if len(theirs) == group["model_max_length"] else len(prompt.ids)
        assert list(prompt.ids[:cut]) == (theirs[:-1] if drifts and cut == len(prompt.ids) else theirs), name
        if not drifts and not learns_nothing:
            labels = [token if flag else IGNORED for token, flag in zip(prompt.ids, prompt.supervised, strict=True)]
            assert not expected.get("mismatch_warning")
            assert labels[:cut] == expected["labels"], name
        checked += 1
    assert checked


@pytest.mark.parametrize("group", ours(), ids=name_of)
def test_learned_is_exactly_what_the_assistant_says_and_its_end(group: dict[str, Any]) -> None:
    template = template_of(group)
    for name, expected in group["results"].items():
        if "error" in expected:
            continue
        tokenizer, conversation, prompt = made(samples()[name], group)
        texts = {token_id: text for text, token_id in tokenizer.special_ids.items()}
        learned = [token for token, flag in zip(prompt.ids, prompt.supervised, strict=True) if flag]
        said = b"".join(texts[token].encode() if token in texts else tokenizer.token_bytes(token) for token in learned)
        answers = [message.text for message in conversation.messages if message.role == "assistant"]
        lead = template.answer_lead
        if template.captions_only and tokenizer.strips_space:
            lead = " "  # a caption is the first text after a picture: SentencePiece puts its space before it
        assert said.decode() == "".join(lead + text + template.answer_end for text in answers), name
