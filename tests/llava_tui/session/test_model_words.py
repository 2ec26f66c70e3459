"""What may be said after /model, in the words of the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_engine.errors import LlavaError
from llava_engine.opening import AUTO, EngineSource, Placement
from llava_tui.app import loader_of
from llava_tui.session.model_words import read_words

HERE = EngineSource("here", base="b", template="v0", force=True)
STARTED = Placement(device="cpu", quantize="int8", max_memory="6GiB", context=2048)


def test_the_same_model_in_another_form() -> None:
    source, placement = read_words("--quantize int4 --context=1024", HERE, STARTED)
    assert source == HERE
    assert placement == Placement(device="cpu", quantize="int4", max_memory="6GiB", context=1024)


def test_another_model_keeps_the_machine_and_leaves_what_was_the_old_one_s() -> None:
    source, placement = read_words("'~/my models/7b'", HERE, STARTED)
    assert source == EngineSource("~/my models/7b")
    assert placement == Placement(device="cpu", quantize="int8", max_memory="6GiB")


@pytest.mark.parametrize(
    "words", ["lora --base vicuna --tower=eyes --force", "--force --tower eyes --base vicuna lora"]
)
def test_what_goes_with_a_model_is_said_as_on_the_command_line(words: str) -> None:
    assert read_words(words, HERE, AUTO) == (EngineSource("lora", base="vicuna", tower="eyes", force=True), AUTO)
    assert read_words("--tower eyes", HERE, AUTO)[0] == EngineSource("here", "b", "eyes", "v0", True)


def test_one_device_or_several() -> None:
    assert read_words("--devices 0,1", HERE, STARTED)[1].device == "auto"
    assert read_words("--device cpu", HERE, Placement(devices="0,1"))[1] == Placement(device="cpu")


@pytest.mark.parametrize(
    ("words", "source"),
    [
        ("http://gpu1:8000", EngineSource(engine="http://gpu1:8000")),
        ("HTTPS://gpu1/v1", EngineSource(engine="HTTPS://gpu1/v1")),
        ("http://gpu1 llava:7b", EngineSource("llava:7b", engine="http://gpu1")),
        ("--model llava:7b http://gpu1", EngineSource("llava:7b", engine="http://gpu1")),
        ("--engine http://gpu1 --engine-key-file k", EngineSource(engine="http://gpu1", engine_key_file="k")),
    ],
)
def test_a_server_is_named_by_its_address_and_nothing_of_the_old_model_stays(words: str, source: EngineSource) -> None:
    assert read_words(words, HERE, STARTED) == (source, AUTO)
    assert read_words("~/llava-7b", source, AUTO) == (EngineSource("~/llava-7b"), AUTO)


@pytest.mark.parametrize(
    "words",
    [
        "--quantise int8",
        "--quantize",
        "--quantize int3",
        "a b",
        "a --model b",
        "'open",
        "--context many",
        "--context -1",
        "--force=yes",
        "--base ''",
        "--device cpu --devices 0",
        "http://gpu1 a b",
        "http://gpu1 --base b",
        "--engine-key-file k",
    ],
)
def test_what_can_not_be_read_is_said(words: str) -> None:
    with pytest.raises(LlavaError):
        read_words(words, HERE, AUTO)


@pytest.mark.parametrize("words", ["{gone}", "{there} --base {gone}", "{there} --tower {gone}", "{there} --bogus"])
def test_a_name_that_leads_nowhere_is_told_before_the_old_model_goes(words: str, tmp_path: Path) -> None:
    with pytest.raises(LlavaError):
        loader_of(words.format(gone=tmp_path / "gone", there=tmp_path), EngineSource(), AUTO)
    assert callable(loader_of(str(tmp_path), EngineSource(), AUTO))
