"""Comments, docstrings and docs name files of this house: each that they name is there."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.source import PACKAGES, ROOT, python_files, tree

OTHERS = {"modeling_utils.py"}  # of transformers
NAMED = re.compile(r"(?<![\w/.-])(?:[\w-]+/)*\w+\.(?:py|tcss)\b")
SOURCES = python_files(*PACKAGES, "tests", "docs")
THERE = {
    file.relative_to(ROOT).as_posix() for folder in (*PACKAGES, "tests", "docs") for file in (ROOT / folder).rglob("*")
}
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def words_about_code(path: Path) -> Iterator[str]:
    """Docstrings and comments; no other texts, which may name anything."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
    source = (ROOT / path).read_text(encoding="utf-8")
    yield from (
        token.string
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    )


def missing(text: str) -> set[str]:
    text = re.sub(r"https?://\S+", "", text)
    named = {match.removeprefix("./") for match in NAMED.findall(text)} - OTHERS
    return {name for name in named if not any(file == name or file.endswith(f"/{name}") for file in THERE)}


@pytest.mark.parametrize("folder", [*PACKAGES, "tests", "docs"])
def test_files_that_comments_name_are_there(folder: str) -> None:
    gone = {
        (path.as_posix(), name)
        for path in SOURCES
        if path.parts[0] == folder
        for text in words_about_code(path)
        for name in missing(text)
    }
    assert not gone


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.name))
def test_files_that_a_page_names_are_there(page: Path) -> None:
    assert not missing(page.read_text(encoding="utf-8"))


def test_a_file_that_is_gone_would_be_found() -> None:
    assert missing("as `old_name.py` chose it, and store.py keeps") == {"old_name.py"}
    assert missing("see delta/store.py; https://example.org/serialization.py") == {"delta/store.py"}
