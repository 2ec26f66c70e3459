"""What an answer says: each rule against what the published code reads, and any text at all without a crash."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from tests.evaluation.fixtures import FOLDER, expected, needs_fixtures
from training.evaluation import reading
from training.evaluation.cli import app
from training.evaluation.mmvet import judge_prompt
from training.evaluation.scienceqa import read_answer

TEXT = st.text(alphabet=st.characters(), max_size=200)


@needs_fixtures
def test_each_rule_reads_what_the_published_code_reads() -> None:
    for row in expected("pope", "expected-reading.json"):
        assert ("yes" if reading.pope_yes(row["text"]) else "no") == row["reads"], row
    for row in expected("mme", "expected-reading.json"):
        assert reading.mme_reading(row["text"]) == row["reads"], row
    for row in expected("mmbench", "expected-reading.json"):
        assert reading.option(row["text"], row["choices"]) == row["reads"], row
    for row in expected("textvqa", "expected-processor.json"):
        assert reading.short_answer(row["text"]) == row["processed"], row
    for row in expected("mmvet", "expected-grade-reading.json"):
        assert reading.grade(row["reply"]) == row["grade"], row


@needs_fixtures
def test_the_judge_of_mmvet_is_asked_to_the_letter() -> None:
    at = FOLDER / "mmvet"
    questions = expected("mmvet", "mm-vet.json")
    lines = (at / "answers.jsonl").read_text(encoding="utf-8").split("\n")
    said = {f"v1_{row['question_id']}": row["text"] for row in map(json.loads, filter(None, lines))}
    head = (at / "judge-head.txt").read_text(encoding="utf-8")
    for of, prompt in expected("mmvet", "expected-prompts.json").items():
        assert judge_prompt(head, questions[of]["question"], questions[of]["answer"], said[of]) == prompt


@pytest.mark.parametrize(
    ("text", "rule", "read"),
    [
        ("B", "newest", 1),
        ("B", "june", None),
        ("B. because", "newest", 1),
        ("The answer is C.", "june", 2),
        ("The answer is C!", "june", 2),  # the published pattern's last dot is any character
        ("The answer is A. The answer is B.", "newest", None),
        ("The answer is E.", "newest", None),  # the question has three options
        ("", "newest", None),
    ],
)
def test_scienceqa_reads_by_the_rule_it_is_given(text: str, rule: Any, read: int | None) -> None:
    assert read_answer(text, 3, rule) == read


@given(TEXT)
def test_any_text_is_read_or_not_and_never_a_crash(text: str) -> None:
    reading.pope_yes(text)
    assert reading.mme_reading(text) in ("yes", "no", "other")
    assert reading.option(text, {"A": "red", "B": "blue"}) in ("A", "B", "Z", None)
    assert read_answer(text, 2) in (0, 1, None)
    once = reading.short_answer(text)
    assert once == once.strip() and not {"a", "an", "the"} & set(once.split())


@needs_fixtures
@pytest.mark.parametrize("form", expected("scienceqa", "expected-convert-original.json"))
def test_scienceqa_is_converted_to_the_letter(form: str, tmp_path: Path) -> None:
    at, out = FOLDER / "scienceqa", tmp_path / "rows.json"
    assert CliRunner().invoke(
        app, ["scienceqa", "convert", "--base", str(at), "--format", form, "-o", str(out)]
    ).exit_code == 0  # fmt: skip
    made = json.loads(out.read_text(encoding="utf-8"))
    wanted = expected("scienceqa", "expected-convert-original.json")[form]
    assert {
        row["id"]: [said["value"].removesuffix("\n<image>") for said in row["conversations"]] for row in made
    } == wanted


@needs_fixtures
@pytest.mark.parametrize("file", sorted(path.name for path in (FOLDER / "scienceqa").glob("llava_test_*.json")))
def test_scienceqa_files_come_out_whole(file: str, tmp_path: Path) -> None:
    form, out = file.removeprefix("llava_test_").removesuffix(".json"), tmp_path / "rows.json"
    asked = ["scienceqa", "convert", "--base", str(FOLDER / "scienceqa"), "--format", form, "-o", str(out)]
    assert CliRunner().invoke(app, asked).exit_code == 0
    assert json.loads(out.read_text(encoding="utf-8")) == expected("scienceqa", file)
