"""What pyproject.toml asks for is used, what is used is asked for, and what was tested is pinned."""

from __future__ import annotations

import re
import sys
import tomllib
from functools import cache
from importlib.metadata import packages_distributions
from itertools import chain

import pytest

from tests.source import PACKAGES, ROOT, imported, python_files

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BASE: list[str] = PROJECT["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["optional-dependencies"]

# Tools that are run, not imported: the file that runs or asks for them, and the word by which it does.
TOOLS = {
    "ruff": (".ci/run", "ruff check"),
    "mypy": (".ci/run", "mypy"),
    "pytest-asyncio": ("pyproject.toml", "asyncio_mode"),
    **{
        package: ("tests/llava_engine/server", f'importorskip("{package.replace("-", "_")}")')
        for package in ("openai", "llm", "litellm", "langchain-openai")
    },
    "pytest-textual-snapshot": ("tests/llava_tui", "snap_compare"),
    "pytest-xdist": (".ci/run", "--dist loadfile"),
}


def name_of(requirement: str) -> str:
    """The package of a requirement line, as pip compares names."""
    return normal(re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0])


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


@cache
def packages_imported(*folders: str) -> set[str]:
    """The packages of everything that the files in these folders import."""
    modules = {module.partition(".")[0] for path in python_files(*folders) for module, _ in imported(path)}
    known = packages_distributions()
    return {normal(package) for module in modules for package in known.get(module, [module])}


@pytest.mark.parametrize("requirement", BASE)
def test_the_base_is_imported_by_the_base(requirement: str) -> None:
    assert name_of(requirement) in packages_imported(*PACKAGES)


@pytest.mark.parametrize(
    ("extra", "requirement"), [(extra, requirement) for extra, lines in EXTRAS.items() for requirement in lines]
)
def test_every_extra_is_used(extra: str, requirement: str) -> None:
    name = name_of(requirement)
    if name not in TOOLS:
        assert name in packages_imported("tests", *PACKAGES)
        return
    place, word = TOOLS[name]
    path = ROOT / place
    files = path.rglob("*.py") if path.is_dir() else [path]
    assert any(word in file.read_text(encoding="utf-8") for file in files)


def test_what_is_imported_is_asked_for() -> None:
    asked = {name_of(line) for line in chain(BASE, *EXTRAS.values())}
    standard = {normal(module) for module in sys.stdlib_module_names}
    ours = {normal(package) for package in ("llava", "tests", *PACKAGES)}
    callers = {"lmms-eval"}  # it imports us, and so is there when it is imported
    assert not packages_imported("tests", *PACKAGES) - asked - standard - ours - callers


def test_what_was_tested_is_pinned_and_torch_is_first() -> None:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line.partition("#")[0].strip() for line in lines if line.partition("#")[0].strip()]
    assert pins[0] == "torch==2.13.0"
    assert all(re.fullmatch(r"[A-Za-z0-9._-]+==[^ ]+( ; .+)?", pin) for pin in pins)
    asked = {name_of(line) for line in chain(BASE, *EXTRAS.values())}
    assert asked <= {name_of(pin) for pin in pins}
