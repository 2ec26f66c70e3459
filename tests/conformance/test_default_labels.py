"""Our ids and labels of the goldens' samples: the ids of training, and labels that are exact.

Every template's ids are the original's. So are the labels where the original's say what the assistant says and its end:
v0's drift by a token a turn, the newest ChatML's learn nothing, a separator within a text shifts or masks the others.
Samples differ on purpose where a user types a special token, which is letters to us, where an answer is empty, which is
an answer to us, where v0's begin with an answer, which is left out as in the others; and v0's trainer wrote one more
space at the very end.
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
from llava_engine.errors import ConversationError
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


def turns_of(sample: dict[str, Any], group: dict[str, Any]) -> list[dict[str, Any]]:
    """Without the assistant's first words, which the original's data code drops; captions have none."""
    turns: list[dict[str, Any]] = sample["conversations"]
    drops = told(group) != "plain" and turns[0]["from"] == "gpt"
    return turns[1:] if drops else turns


def is_ordinary(sample: dict[str, Any], group: dict[str, Any]) -> bool:
    """Human and gpt in turn, nobody else; the human says or shows something; no answer shows a picture."""
    turns = turns_of(sample, group)
    in_turn = all(turn["from"] == ("gpt" if place % 2 else "human") for place, turn in enumerate(turns))
    said = all(turn["value"] for turn in turns if turn["from"] == "human")
    if told(group) == "plain" and "image" not in sample:
        return False  # a tag alone is no picture to caption
    shown = "image" in sample and any("<image>" in turn["value"] for turn in turns if turn["from"] == "gpt")
    return bool(turns) and in_turn and said and not shown


def conversation_of(sample: dict[str, Any], group: dict[str, Any]) -> Conversation:
    """A sample as data readers hand it on: June leaves pictures where their tags stand, newest puts one in front."""
    messages = []
    for turn in turns_of(sample, group):
        # A tag in a sample without a picture is letters.
        first, *rest = turn["value"].split("<image>") if "image" in sample else [turn["value"]]
        role: Role = "user" if turn["from"] == "human" else "assistant"
        if group["commit"] == "c121f04" and rest:
            messages.append(Message(role, "".join([first, *rest]).strip(), (cast(Picture, None),)))
        else:
            places = tuple(len(first) + sum(map(len, rest[:count])) for count in range(len(rest)))
            shown = (cast(Picture, None),) * len(places)
            messages.append(Message(role, "".join([first, *rest]), shown, places or None))
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


def spelled(ids: list[int], tokenizer: Tokenizer) -> bytes:
    """What ids say, special tokens by their names."""
    names = {token_id: text.encode() for text, token_id in tokenizer.special_ids.items()}
    return b"".join(names.get(token) or tokenizer.token_bytes(token) for token in ids)


def to_be_learned(conversation: Conversation, template: Template, tokenizer: Tokenizer) -> bytes:
    """Exactly what the assistant says, and its end."""
    lead = template.answer_lead
    if template.captions_only and tokenizer.strips_space:
        lead = " "  # a caption is the first text after a picture: SentencePiece puts its space before it
    answers = [message.text for message in conversation.messages if message.role == "assistant"]
    return "".join(lead + text + template.answer_end for text in answers).encode()


@pytest.mark.parametrize("group", ours(), ids=name_of)
def test_ids_are_those_of_training_and_so_are_labels_where_those_are_right(group: dict[str, Any]) -> None:
    template = template_of(group)
    drifts = template.name == "v0-trained"
    learns_nothing = template.name == "mpt-later"
    checked = same = 0
    for name, expected in group["results"].items():
        sample = samples()[name]
        if "error" in expected or not is_ordinary(sample, group):
            continue
        tokenizer, conversation, prompt = made(sample, group)
        turns = sample["conversations"]
        typed = "".join(turn["value"] for turn in turns).replace("<image>", "")
        if any(token in typed for token in tokenizer.special_ids) or (drifts and turns[0]["from"] == "gpt"):
            continue
        if not drifts and not all(turn["value"] for turn in turns):
            continue  # an empty answer, which the original leaves open
        theirs, written = expected["input_ids"], list(prompt.ids)
        if drifts and len(theirs) == len(written) + 1:  # one more space at the end
            theirs = theirs[:-1]
        is_cut = len(theirs) == group["model_max_length"]
        assert theirs == (written[: len(theirs)] if is_cut else written), name
        checked += 1
        learned = spelled([token for token in expected["labels"] if token != IGNORED], tokenizer)
        right = to_be_learned(conversation, template, tokenizer)
        masked = bool(expected.get("mismatch_warning"))
        if drifts or masked or (not right.startswith(learned) if is_cut else right != learned):
            continue
        labels = [token if flag else IGNORED for token, flag in zip(prompt.ids, prompt.supervised, strict=True)]
        assert labels[: len(theirs)] == expected["labels"], name
        same += 1
    assert checked
    assert same or drifts or learns_nothing


@pytest.mark.parametrize("group", ours(), ids=name_of)
def test_learned_is_exactly_what_the_assistant_says_and_its_end(group: dict[str, Any]) -> None:
    template = template_of(group)
    for name, expected in group["results"].items():
        if "error" in expected or not is_ordinary(samples()[name], group):
            continue
        tokenizer, conversation, prompt = made(samples()[name], group)
        learned = [token for token, flag in zip(prompt.ids, prompt.supervised, strict=True) if flag]
        if tokenizer.special_ids.get("<unk>") in learned:
            continue  # letters that a vocabulary without bytes has no piece for
        assert spelled(learned, tokenizer) == to_be_learned(conversation, template, tokenizer), name


@pytest.mark.parametrize("group", ours(), ids=name_of)
def test_a_chat_says_why_it_can_not_begin_with_the_assistant(group: dict[str, Any]) -> None:
    """Where training drops a turn, a chat would lose words."""
    for name in group["results"]:
        first, *rest = (Message("assistant" if turn["from"] == "gpt" else "user", turn["value"] or " ")
                        for turn in samples()[name]["conversations"])  # fmt: skip
        if first.role == "assistant":
            with pytest.raises(ConversationError, match="begins with") as caught:
                spans(Conversation((first, *rest)), template_of(group))
            assert caught.value.remedy, name
