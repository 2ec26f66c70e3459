"""docs/parity.md: each behaviour once, with its four lines; what it names exists; only the switch knows of parity."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest

from tests.source import PACKAGES, ROOT, imported, python_files, tree

PAGE = (ROOT / "docs" / "parity.md").read_text("utf-8")
SECTIONS = re.split(r"^### (?=\d)", re.split(r"^## Two more", PAGE, flags=re.M)[0], flags=re.M)[1:]
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)))
# Who may use the parity room from outside: the one switch.
SWITCH = Path("llava_tui/commands/ask.py")


def test_every_behaviour_has_its_section() -> None:
    assert [int(section.split(".")[0]) for section in SECTIONS] == list(range(1, 28))
    for section in SECTIONS:
        heads = re.findall(r"^- \*\*(.+?):\*\*", section, flags=re.M)
        assert heads == ["Original", "Default", "The other", "Tests"], section.splitlines()[0]
        assert re.search(r"\*\*Tests:\*\* `tests/", section), section.splitlines()[0]


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert name in {node.name for node in ast.walk(tree(Path(file))) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("dotted", sorted(set(re.findall(r"`parity\.(\w+\.\w+)", PAGE))))
def test_a_function_that_is_named_exists(dotted: str) -> None:
    module, name = dotted.split(".")
    assert hasattr(importlib.import_module(f"llava_engine.parity.{module}"), name)


def test_nothing_but_the_switch_knows_of_parity() -> None:
    users = {
        path
        for path in python_files(*PACKAGES)
        if path.parts[:2] != ("llava_engine", "parity")
        and any(module.startswith("llava_engine.parity") for module, _ in imported(path))
    }
    assert users == {SWITCH}
