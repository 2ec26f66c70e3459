"""A command group that imports a subcommand's module only when that subcommand is wanted.

In: a table of names and where they live. Out: a group whose own help and completion come from the table alone. A
mounted module offers `app`, a `typer.Typer`. Must not know what any subcommand does.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from itertools import groupby
from typing import Any, ClassVar

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command


@dataclass(frozen=True)
class Mount:
    """Where a subcommand lives.

    Attributes:
        section: the heading under which the group's help lists it.
        module: the module whose `app` it is.
        help: one line for the group's help.
    """

    section: str
    module: str
    help: str


class LazyGroup(TyperGroup):
    """A group over `mounts`, which a subclass sets. Names that stand together in the table share a heading."""

    mounts: ClassVar[dict[str, Mount]] = {}

    def __init__(self, **attrs: Any) -> None:
        super().__init__(**attrs)
        # Stand-ins: enough for help, completion and "did you mean", without an import.
        self.commands = {name: TyperCommand(name, help=mount.help) for name, mount in self.mounts.items()}

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that `args` begins with, its module imported now."""
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None and name in self.mounts:
            command = get_command(_app(self.mounts[name].module))
            _fit_in(command)
        return name, command, rest

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """The subcommands under their headings first, then the group's own options."""
        width = max(map(len, self.mounts))
        for section, names in groupby(self.mounts, key=lambda name: self.mounts[name].section):
            with formatter.section(section):
                formatter.write_dl([(name.ljust(width), self.mounts[name].help) for name in names])
        super().format_options(ctx, formatter)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Nothing more: they are listed above the options."""


def _app(module: str) -> typer.Typer:
    app = import_module(module).app
    if not isinstance(app, typer.Typer):
        raise TypeError(f"{module}.app is no typer.Typer")
    return app


def _fit_in(command: Any) -> None:
    """One look for all help: plain text, the same in a pipe and on a terminal. Completion is installed by the root."""
    command.rich_markup_mode = None
    command.params = [param for param in command.params if param.name not in {"install_completion", "show_completion"}]
    for child in getattr(command, "commands", {}).values():
        _fit_in(child)
