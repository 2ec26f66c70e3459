"""Devices, forms and memory as typed on the command line, with the tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_engine.plan import Part, Place, Plan, Remedy
from llava_tui.commands.plan_lines import plan_lines
from tests.llava_tui.conftest import Llava

QUESTION = ("ask", "Who are you?", "--json", "--max-new-tokens", "8")


@pytest.mark.parametrize("form", ["int8", "int4", "nf4"])
def test_a_form_can_be_chosen(llava: Llava, form: str) -> None:
    done = llava(*QUESTION, "--device", "cpu", "--quantize", form)
    assert done.code == 0, done.err
    assert json.loads(done.out)["answer"]


def test_layers_over_two_places_say_the_same(llava: Llava) -> None:
    one = llava(*QUESTION, "--device", "cpu", "--dtype", "float32")
    two = llava(*QUESTION, "--devices", "cpu,cpu", "--dtype", "float32", "--context", "256")
    assert json.loads(one.out)["answer"] == json.loads(two.out)["answer"]


def test_what_does_not_fit_is_said_with_the_plan(llava: Llava) -> None:
    done = llava(*QUESTION, "--device", "cpu", "--max-memory", "10MiB")
    assert done.code == 1 and not done.out
    first, *rest = done.err.splitlines()
    assert first.startswith("llava: The model needs ") and "10.0 MiB may be used" in first
    assert any("key/value cache" in line for line in rest)
    assert "Traceback" not in done.err


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (("--device", "abacus"), 1, "abacus"),
        (("--quantize", "int3"), 2, "--quantize"),
        (("--dtype", "float8"), 2, "--dtype"),
        (("--max-memory", "much"), 2, "--max-memory"),
        (("--devices", "0,7"), 1, "cuda:"),
        (("--context", "99999999"), 1, "99,999,999"),
        (("--context", "0"), 2, "--context"),
        (("--device", "cpu", "--devices", "auto"), 2, "--devices"),
        (("--model", ""), 2, "--model"),
    ],
)
def test_what_is_not_there_is_one_plain_error(llava: Llava, options: tuple[str, ...], code: int, named: str) -> None:
    done = llava(*QUESTION, *options)
    assert done.code == code and not done.out
    assert named in done.err
    assert len(done.err.splitlines()) <= 2


def test_a_prompt_longer_than_the_context_that_was_asked_for_is_refused(llava: Llava, tmp_path: Path) -> None:
    done = llava(*QUESTION, "--context", "4")
    assert done.code == 1
    assert "the model can hold 4" in done.err


def test_a_plan_is_told_device_by_device() -> None:
    gib = 2**30
    plan = Plan(
        (Place("cuda:0", 8 * gib), Place("cuda:1", None)),
        (
            Part("vision tower", 0, gib // 2),
            Part("layers", 0, 9 * gib, (0, 20)),
            Part("layers", 1, 5 * gib, (20, 32)),
            Part("head", 1, 0),
        ),
        "float16",
        "int8",
        4096,
        (Remedy("--quantize int4", 7 * gib),),
    )
    assert list(plan_lines(plan)) == [
        "float16, layers in int8, 4,096 tokens of context",
        "cuda:0: needs 9.5 GiB; 8.0 GiB may be used",
        "  vision tower      512 MiB",
        "  layers 1 to 20    9.0 GiB",
        "cuda:1: needs 5.0 GiB",
        "  layers 21 to 32    5.0 GiB",
        "What would fit:",
        "  --quantize int4  (7.0 GiB)",
    ]
