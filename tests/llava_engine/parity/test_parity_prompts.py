"""What the goldens' conversations do not show of the original's prompts and labels."""

from __future__ import annotations

from dataclasses import replace

import pytest

from llava_engine.parity.labels import Said, Trainer, labelled
from llava_engine.parity.original_templates import TEMPLATES
from llava_engine.parity.prompts import Turn, WebMessage, prompt
from tests.llava_engine.parity.letters import Letters

JUNE, NEWEST = TEMPLATES["b4be90b"], TEMPLATES["c121f04"]
V1 = replace(NEWEST["v1"], system="")


def test_an_empty_message_is_an_open_slot() -> None:
    assert prompt(V1, [(0, "a"), (1, ""), (0, "b"), (1, None)], "c121f04") == " USER: a ASSISTANT:USER: b ASSISTANT:"


def test_only_a_first_message_with_a_picture_is_rewritten() -> None:
    turns: list[Turn] = [(0, WebMessage("x <image>")), (1, "y"), (0, WebMessage("<image> z"))]
    assert prompt(V1, turns, "c121f04") == " USER: <image>\nx ASSISTANT: y</s>USER: <image> z "
    assert prompt(V1, turns, "b4be90b") == " USER: x <image> ASSISTANT: y</s>USER: <image> z "


@pytest.mark.parametrize("turns", [[(0, "")], [(0, None)], [(1, "hello")]])
def test_llama_2_refuses_to_begin_with_nothing_or_the_assistant(turns: list[tuple[int, str | None]]) -> None:
    with pytest.raises(AssertionError):
        prompt(NEWEST["llama_2"], list(turns), "c121f04")


def test_llama_2_takes_leading_characters_off_not_the_separator() -> None:
    odd = replace(NEWEST["llama_2"], system="", sep="[<s>")
    assert prompt(odd, [(0, "a")], "c121f04") == "INST] a [/INST]"


def trainer(template: str, *, start_end: bool = False, front: bool = False, longest: int = 1000) -> Trainer:
    return Trainer(
        "b4be90b", JUNE[template], Letters(), pad_id=0, max_length=longest, start_end=start_end, patches=2,
        picture_before_conversation=front,
    )  # fmt: skip


def test_an_unknown_speaker_is_written_so_by_v0_and_breaks_v1_and_mpt() -> None:
    said = [Said("system", "x"), Said("GPT", "y")]
    written = labelled(said, False, trainer("default")).ids
    assert Letters.read(written).endswith("\n\n### unknown: x\n### Assistant: y\n### ")
    for template in ("vicuna_v1_1", "mpt"):
        with pytest.raises(KeyError):
            labelled(said, False, trainer(template))


def test_a_speaker_out_of_turn_is_refused() -> None:
    with pytest.raises(AssertionError):
        labelled([Said("human", "a"), Said("human", "b")], False, trainer("vicuna_v1_1"))


def test_a_tag_within_an_answer_ends_the_count_and_nothing_is_learned() -> None:
    said = [Said("human", "a"), Said("gpt", "b"), Said("human", "c"), Said("gpt", "d ASSISTANT: e")]
    made = labelled(said, False, trainer("vicuna_v1_1"))
    assert made.mismatch
    assert set(made.labels) == {-100}


def test_a_sample_that_is_cut_keeps_its_labels_since_nobody_counts() -> None:
    said = [Said("human", "a"), Said("gpt", "b" * 100)]
    whole = labelled(said, False, trainer("vicuna_v1_1"))
    cut = labelled(said, False, trainer("vicuna_v1_1", longest=len(whole.ids) - 40))
    assert not cut.mismatch
    assert cut.labels == whole.labels[:-40]
    # The mask of the request ends two tokens early, for a begin token and a space; by letters the space is none's.
    assert Letters.read([token for token in cut.labels if token != -100]) == " " + "b" * 61


def test_v0_drifts_by_one_token_a_turn() -> None:
    """Each turn is measured with a begin token of its own, and the mask of each question begins two tokens late."""
    said = [Said("human", "a"), Said("gpt", "b"), Said("human", "c"), Said("gpt", "d")]
    made = labelled(said, False, trainer("default"))
    header = len(JUNE["default"].system) + 2
    # By letters "### Human: a\n" is 13 and "### Assistant: b\n" 17, measured as 14 and 18: the second question begins
    # at 30, its mask at 34 instead of 32, and it ends three letters into the answer at 43.
    text = Letters.read(made.ids[1 + header :])
    masked = [place for place in range(len(text)) if made.labels[1 + header + place] == -100]
    assert masked == [*range(2, 14), *range(34, 46)]
