"""Options that come from the fields of values: the same on every command that takes the values."""

from __future__ import annotations

import re
from typing import Annotated, Any

import pytest
import typer
from typer.testing import CliRunner

from llava_engine.errors import UsageError
from llava_engine.flags import flags, mounted, parse
from llava_engine.opening import DTYPES, QUANTIZATIONS, Placement, Source, flag_name
from llava_tui.cli import app as llava_app

SAID: list[Any] = []


def command() -> typer.Typer:
    app = typer.Typer()

    @app.command()
    @mounted(typer.Option)
    def show(
        model: Annotated[str, typer.Argument()],
        source: Source,
        loud: Annotated[bool, typer.Option("--loud")] = False,
        *,
        placement: Placement,
    ) -> None:
        SAID.append((model, source, loud, placement))

    return app


def run(*words: str) -> tuple[str, Source, bool, Placement]:
    SAID.clear()
    done = CliRunner().invoke(command(), list(words))
    assert done.exit_code == 0, done.output
    [said] = SAID
    return said


def test_every_field_is_an_option_and_what_a_command_asks_for_itself_is_not_asked_twice() -> None:
    assert run("m") == ("m", Source("m"), False, Placement())
    words = "m --base b --tower t --template v0 --force --loud --dtype float16 --quantize int4 --max-memory 6GiB"
    source = Source("m", "b", "t", "v0", True)
    assert run(*words.split(), "--devices", "0,1", "--context", "7") == (
        "m", source, True, Placement("auto", "float16", "int4", "6GiB", "0,1", 7),
    )  # fmt: skip
    assert "--model" not in CliRunner().invoke(command(), ["--help"]).output


OPENING = [("chat",), ("ask",), ("models", "show"), ("eval", "pictures"), ("train", "pretrain"), ("train", "finetune")]


@pytest.mark.parametrize("words", OPENING, ids=" ".join)
def test_every_command_that_opens_a_model_takes_every_option(words: tuple[str, ...]) -> None:
    page = CliRunner().invoke(llava_app, [*words, "--help"]).output
    wanted = {flag_name(one.name) for kind in (Source, Placement) for one in flags(kind)}
    wanted -= {"--model"} if words == ("models", "show") else set()  # its argument
    assert wanted <= set(re.findall(r"--[a-z-]+", page))


def test_typed_words_are_read_alike() -> None:
    assert parse(["a", "--context=12", "--force", "--base", "x y", "b"], (Source, Placement)) == (
        ["a", "b"],
        {"context": 12, "force": True, "base": "x y"},
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("dtype", "float8"),
        ("dtype", ""),
        ("quantize", "INT8"),
        ("context", 0),
        ("context", -5),
        ("max_memory", "6 elephants"),
        ("max_memory", "9" * 400),
    ],
)
def test_a_wrong_value_names_its_option(field: str, value: Any) -> None:
    with pytest.raises(UsageError, match=f"--{field.replace('_', '-')}"):
        Placement(**{field: value})
    with pytest.raises(ValueError):  # for scripts, which know no command line
        Placement(**{field: value})


@pytest.mark.parametrize("field", ["model", "base", "tower", "template"])
def test_an_empty_name_is_no_name(field: str) -> None:
    with pytest.raises(UsageError, match=f"--{field}"):
        Source(**{field: " "})


def test_what_is_offered_can_be_asked_for() -> None:
    for dtype in ("auto", *DTYPES):
        for quantize in QUANTIZATIONS:
            Placement(dtype=dtype, quantize=quantize)
    assert Placement(quantize="int8", context=4).changed() == ("--quantize", "--context")
