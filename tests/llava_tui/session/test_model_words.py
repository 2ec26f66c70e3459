"""What may be said after /model, in the words of the command line."""

from __future__ import annotations

from typing import Any

import pytest

from llava_engine.errors import LlavaError
from llava_tui.session.model_words import read_words

STARTED: dict[str, Any] = {
    "base": "b", "template": "v0", "device": "cpu", "quantize": "int8", "max_memory": "6GiB", "devices": None,
    "context": 2048,
}  # fmt: skip


def test_the_same_model_in_another_form() -> None:
    model, placing = read_words("--quantize int4 --context=1024", "here", STARTED)
    assert model == "here"
    assert placing == STARTED | {"quantize": "int4", "context": 1024}


def test_another_model_keeps_the_machine_and_leaves_what_was_the_old_one_s() -> None:
    model, placing = read_words("'~/my models/7b'", "here", STARTED)
    assert model == "~/my models/7b"
    assert placing == {"device": "cpu", "quantize": "int8", "max_memory": "6GiB", "devices": None}


def test_one_device_or_several() -> None:
    assert read_words("--devices 0,1", None, STARTED)[1]["device"] == "auto"
    assert read_words("--device cpu", None, {"devices": "0,1"})[1] == {"devices": None, "device": "cpu"}


@pytest.mark.parametrize("words", ["--quantise int8", "--quantize", "a b", "'open", "--context many", "--context -1"])
def test_what_can_not_be_read_is_said(words: str) -> None:
    with pytest.raises(LlavaError):
        read_words(words, None, {})
