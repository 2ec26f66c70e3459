"""Labels: the original's of every group and sample, by the parity module; and ours, which are exact."""

from __future__ import annotations

import json
from functools import cache, partial
from typing import Any

import pytest

from llava_engine.parity.labels import Said, Trainer, labelled
from llava_engine.parity.original_templates import TEMPLATES
from llava_engine.parity.tokens import original_tokenizer
from tests.conformance.fixtures import FIXTURES, error_of, golden, needs_fixtures

pytestmark = needs_fixtures

# What --version of June's trainer stood for.
JUNE = {"v0": "default", "v1": "vicuna_v1_1", "mpt": "mpt"}


def groups() -> list[Any]:
    return golden("labels.json")["groups"] if (FIXTURES / "manifest.json").exists() else []


@cache
def samples() -> dict[str, Any]:
    data = json.loads((FIXTURES / golden("labels.json")["samples"]).read_text("utf-8"))
    return {sample["id"]: sample for sample in data}


def trainer(group: dict[str, Any]) -> Trainer:
    """A group's settings; June's trainer added the padding and the patch token too."""
    june = group["commit"] == "b4be90b"
    marks = ["<im_start>", "<im_end>"] if group["mm_use_im_start_end"] else []
    added = [group["pad_token"], "<im_patch>", *marks] if june else [*group["extra_added_tokens"], *marks]
    tokenizer = original_tokenizer(
        FIXTURES / group["tokenizer"],
        group["commit"],
        fast=group["use_fast"],
        added=added,
        renewed=group.get("version") == "v0",
    )
    name = JUNE[group["version"]] if june else group["template"]
    return Trainer(
        commit=group["commit"],
        template=TEMPLATES[group["commit"]][name],
        tokenizer=tokenizer,
        pad_id=group["pad_token_id"],
        max_length=group["model_max_length"],
        start_end=group["mm_use_im_start_end"],
        patches=group.get("image_token_len", 0),
        picture_before_conversation=group.get("sep_image_conv_front", False),
    )


def name_of(group: dict[str, Any]) -> str:
    return " ".join(str(value) for key, value in group.items() if key not in ("results", "commit"))


@pytest.mark.parametrize("group", groups(), ids=name_of)
def test_every_sample_has_the_originals_ids_and_labels(group: dict[str, Any]) -> None:
    settings = trainer(group)
    for name, expected in group["results"].items():
        said = [Said(turn["from"], turn["value"]) for turn in samples()[name]["conversations"]]
        if "error" in expected:
            assert error_of(partial(labelled, said, "image" in samples()[name], settings)) == expected["error"], name
            continue
        made = labelled(said, "image" in samples()[name], settings)
        assert made.ids == expected["input_ids"], name
        assert made.labels == expected["labels"], name
        assert made.mismatch == bool(expected.get("mismatch_warning")), name
