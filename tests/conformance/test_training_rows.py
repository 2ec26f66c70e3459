"""Training reads the goldens' samples as the original's data code does: its ids, whatever stands in their texts.

Such as begin with an answer, which is dropped; white space and separators within; an answer that speaks of the tag of
a picture. What the two read differently on purpose is in test_default_labels.py.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.pictures.processing import Preprocessing
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.odd_pictures import plain_pictures
from tests.conformance.test_default_labels import IMAGE, is_ordinary, ours, template_of, told, turns_of
from tests.conformance.test_labels import name_of, samples
from training.data.llava_json import read_rows
from training.data.samples import Samples

pytestmark = needs_fixtures

NEWEST = [group for group in ours() if group["commit"] == "c121f04" and told(group) != "llava_v0"]


@cache
def preprocessing() -> Preprocessing:
    """Of any tower: pixels play no part."""
    return Preprocessing.from_file(next((FIXTURES / "vision").glob("*/preprocessor_config.json")))


def is_row(sample: dict[str, Any], group: dict[str, Any]) -> bool:
    """Whether it is a row of ours, with a picture for each tag and an answer at the end, and none of it left open."""
    turns = turns_of(sample, group)
    tags = sum(turn["value"].count("<image>") for turn in turns if turn["from"] == "human")
    return (
        is_ordinary(sample, group)
        and tags == ("image" in sample)
        and len(turns) % 2 == 0
        and all(turn["value"] for turn in turns)
    )


@pytest.mark.parametrize("group", NEWEST, ids=name_of)
def test_a_row_has_the_originals_ids(group: dict[str, Any], tmp_path: Path) -> None:
    marks = ["<im_start>", "<im_end>"] if group["mm_use_im_start_end"] else []
    tokenizer = Tokenizer.from_folder(FIXTURES / group["tokenizer"], added=[*group["extra_added_tokens"], *marks])
    chosen = [name for name, found in group["results"].items() if "error" not in found]
    chosen = [name for name in chosen if is_row(samples()[name], group)]
    file = tmp_path / "rows.json"
    # Labels were made without looking at pictures, which need not be there.
    there = {"image": plain_pictures()[0].name}
    data = [samples()[name] | there if "image" in samples()[name] else samples()[name] for name in chosen]
    file.write_text(json.dumps(data), "utf-8")
    template = template_of(group)
    rows = Samples(
        rows=tuple(read_rows(file)),
        images=FIXTURES / "images",
        encoder=PromptEncoder(tokenizer, template, None, IMAGE, lambda size: 1),
        preprocessing=preprocessing(),
        context=1_000_000,
    )
    for place, name in enumerate(chosen):
        said = "".join(turn["value"] for turn in samples()[name]["conversations"]).replace("<image>", "")
        if any(token in said for token in tokenizer.special_ids):
            continue
        theirs = group["results"][name]["input_ids"]
        ids = rows[place].ids.tolist()
        assert (ids[: len(theirs)] if len(theirs) == group["model_max_length"] else ids) == theirs, name
