"""What of the optional installs is there, read from the package's own metadata, so that no second list can differ.

In: the name of an extra or of a module that was not found. Out: what is missing and the pip line for it. Imports none
of the packages it speaks of.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec

from llava_engine.errors import LlavaError


class MissingPackageError(LlavaError):
    """A package that only some installs have."""


@dataclass(frozen=True)
class Need:
    """One package that an install asks for.

    Attributes:
        package: its name, as pip knows it.
        extra: the extra that asks for it; "" for the base.
        installed: its version here, or None.
    """

    package: str
    extra: str
    installed: str | None


def needs() -> list[Need]:
    """Every package that this install or one of its extras names: the base first, what developers need last."""
    found = []
    for line in requires("llava") or []:
        requirement, _, marker = line.partition(";")
        name = re.match(r"[A-Za-z0-9._-]+", requirement)
        extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
        if name:
            found.append(Need(name[0], extra[1] if extra else "", _installed(name[0])))
    return sorted(found, key=lambda need: (need.extra in {"test", "clients", "dev"}, need.extra))


def pip_line(extra: str) -> str:
    """What to type, in the project's folder, to have `extra`."""
    return f"pip install -c constraints.txt '.[{extra}]'" if extra else "pip install -c constraints.txt ."


def missing_package(module: str | None) -> MissingPackageError | None:
    """The error for a module that was not found; None when it is no package that we name (then it is a bug)."""
    top = (module or "").partition(".")[0]
    wanted = [need.extra for need in needs() if _normal(need.package) == _normal(top)]
    if not wanted or find_spec(top) is not None:
        return None
    return MissingPackageError(f"This needs {top}, which is not installed.", f"Install it with: {pip_line(wanted[0])}")


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _installed(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
