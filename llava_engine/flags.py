"""Values whose fields are options (opening.py) <-> a command line: a command's signature, or words that were typed.

Knows no library for command lines: whoever has one hands over how it makes an option.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import Field, fields, is_dataclass
from functools import wraps
from inspect import Parameter, Signature
from typing import Annotated, Any, cast, get_args, get_type_hints

from llava_engine.errors import UsageError
from llava_engine.opening import Flag, flag_name

Command = Callable[..., None]
MakeOption = Callable[..., Any]
"""Makes an option: its names, then `metavar`, `help` and `show_default`, as `typer.Option` takes them."""


def mounted(option: MakeOption) -> Callable[[Command], Command]:
    """Give a command an option for each field of the values that it takes.

    A field that is named as one of the command's own parameters is filled from that, so that a command may ask for it
    in another way.

        @app.command()
        @mounted(typer.Option)
        def show(model: Annotated[str, typer.Argument()], source: Source, placement: Placement) -> None: ...
    """

    def mount(command: Command) -> Command:
        own = inspect.signature(command, eval_str=True).parameters
        kinds: dict[str, Any] = {name: one.annotation for name, one in own.items() if is_dataclass(one.annotation)}
        parameters: list[Parameter] = []
        for name, parameter in own.items():
            if name in kinds:
                kind = kinds[name]
                parameters += [_parameter(kind, one, option) for one in flags(kind) if one.name not in own]
            else:
                parameters.append(parameter.replace(kind=Parameter.KEYWORD_ONLY))

        @wraps(command)
        def run(**given: Any) -> None:
            values = {name: kind(**{one.name: given[one.name] for one in flags(kind)}) for name, kind in kinds.items()}
            command(**{name: value for name, value in given.items() if name in own}, **values)

        run.__signature__ = Signature(parameters)  # type: ignore[attr-defined]
        run.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
        return run

    return mount


def flags(kind: type) -> list[Field[Any]]:
    """The fields of a value that are options."""
    return [one for one in fields(cast(Any, kind)) if "flag" in one.metadata]


def _parameter(kind: type, one: Field[Any], option: MakeOption) -> Parameter:
    flag: Flag = one.metadata["flag"]
    names = [flag_name(one.name), *([f"-{flag.short}"] if flag.short else [])]
    made = option(*names, metavar=flag.metavar or None, help=flag.help, show_default=False)
    annotation: Any = get_type_hints(kind)[one.name]
    return Parameter(one.name, Parameter.KEYWORD_ONLY, default=one.default, annotation=Annotated[annotation, made])


def parse(words: Sequence[str], kinds: Sequence[type]) -> tuple[list[str], dict[str, Any]]:
    """Words, split as a shell does -> those that are no option, and the options' values by field.

    Raises:
        UsageError: an unknown option, one without its value, a number that is none.
    """
    known = {flag_name(one.name): (one, get_type_hints(kind)[one.name]) for kind in kinds for one in flags(kind)}
    rest: list[str] = []
    said: dict[str, Any] = {}
    left = list(words)
    while left:
        word = left.pop(0)
        if not word.startswith("--"):
            rest.append(word)
            continue
        name, equals, value = word.partition("=")
        if name not in known:
            raise UsageError(f"There is no option {name}.", f"There are {', '.join(known)}.")
        one, hint = known[name]
        if hint is bool:
            if equals:
                raise UsageError(f"{name} takes no value.")
            said[one.name] = True
            continue
        if not equals:
            if not left:
                raise UsageError(f"{name} needs a value.", f"{name} {one.metadata['flag'].metavar}")
            value = left.pop(0)
        if int in get_args(hint):
            if not (value.isascii() and value.isdigit()):
                raise UsageError(f"{name} must be a number, not {value!r}.")
            said[one.name] = int(value[:_MOST_DIGITS])
        else:
            said[one.name] = value
    return rest, said


_MOST_DIGITS = 18  # Python refuses to read thousands; so large a number is too large for anything here
