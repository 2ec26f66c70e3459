"""Files to upload are those of LLaVA's converters; two runs are compared by id, not by line."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from llava_engine.errors import DataError, UsageError
from tests.evaluation.fixtures import FOLDER, expected, needs_fixtures, scored
from training.evaluation.answers import read_answers
from training.evaluation.cli import app
from training.evaluation.yes_no import score_mme

pytestmark = needs_fixtures


def exported(name: str, file: str, out: Path, *more: str | Path) -> Path:
    asked = ["export", name, FOLDER / name / file, "-o", out, *more]
    result = CliRunner().invoke(app, [*map(str, asked)])
    assert result.exit_code == 0, result.output
    return out


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("name", "questions"), [("vqav2", "llava_vqav2_val.jsonl"), ("vizwiz", "llava_val.jsonl")])
@pytest.mark.parametrize("file", ["answers", "answers-dirty"])
def test_every_question_has_a_processed_answer(name: str, questions: str, file: str, tmp_path: Path) -> None:
    out = exported(name, f"{file}.jsonl", tmp_path / "up.json", "--questions", FOLDER / name / questions)
    assert read(out) == expected(name, f"expected-upload-{file}.json")


def test_gqa_seed_and_mmvet(tmp_path: Path) -> None:
    assert read(exported("gqa", "answers.jsonl", tmp_path / "g")) == expected("gqa", "expected-upload.json")
    assert read(exported("mmvet", "answers.jsonl", tmp_path / "m")) == expected("mmvet", "expected-upload.json")
    made = exported("seed", "answers.jsonl", tmp_path / "s").read_text(encoding="utf-8").split("\n")
    wanted = (FOLDER / "seed" / "expected-upload.jsonl").read_text(encoding="utf-8").split("\n")
    assert [json.loads(line) for line in made if line] == [json.loads(line) for line in wanted if line]


def test_mmbench_writes_its_workbook_and_the_same_as_text(tmp_path: Path) -> None:
    import openpyxl

    truth = FOLDER / "mmbench" / "mmbench_dev.tsv"
    out = exported("mmbench", "answers.jsonl", tmp_path / "up.xlsx", "--truth", truth)
    head, *rows = openpyxl.load_workbook(out).active.iter_rows(values_only=True)
    assert head == ("index", "question", "A", "B", "C", "D", "prediction", "answer", "split")
    said = [[value or None for value in row] for row in rows]
    assert said == [[value or None for value in row] for row in expected("mmbench", "expected-upload-rows.json")]
    assert len((tmp_path / "up.tsv").read_text(encoding="utf-8").split("\n")) == len(rows) + 2


def test_mme_writes_what_its_evaluation_tool_reads(tmp_path: Path) -> None:
    """Its files are the questions with a fourth field; as labels they are the same, and the answers theirs."""
    truth = FOLDER / "mme" / "eval_tool"
    out = exported("mme", "answers.jsonl", tmp_path / "up", "--truth", truth)
    file = read_answers(FOLDER / "mme" / "answers.jsonl")
    assert score_mme(file, out).details == score_mme(file, truth).details
    said = [line.split("\t") for path in out.iterdir() for line in path.read_text(encoding="utf-8").split("\n") if line]
    assert {len(fields) for fields in said} == {4}
    assert sorted(fields[3] for fields in said) == sorted(re.sub(r"[\t\n]", " ", one.text) for one in file.answers)


@pytest.mark.parametrize("name", ["vqav2", "mmbench", "mme", "pope"])
def test_what_a_set_needs_is_named(name: str, tmp_path: Path) -> None:
    asked = ["export", name, str(FOLDER / "gqa" / "answers.jsonl"), "-o", str(tmp_path / "x")]
    assert isinstance(CliRunner().invoke(app, asked).exception, UsageError)


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def test_two_runs_are_paired_by_id(tmp_path: Path) -> None:
    """The runs of the statistics fixture, as answers to SEED questions: right is A, all else is wrong."""
    rows, wanted = expected("stats")["rows"], expected("stats")["expected"]
    bench = {
        "question_type": {"One": 1},
        "questions": [
            {
                "question_id": row["question_id"], "question": "?", "choice_a": "x", "choice_b": "y", "answer": "A",
                "data_id": row["cluster"], "data_type": "image", "question_type_id": 1,
            }
            for row in rows
        ],
    }  # fmt: skip
    truth = tmp_path / "SEED-Bench.json"
    truth.write_text(json.dumps(bench), encoding="utf-8")
    a, b = ([{"question_id": row["question_id"], "text": "BA"[row[run]]} for row in rows] for run in "ab")
    random.Random(0).shuffle(b)
    found = scored("compare", "seed", written(tmp_path / "a", a), written(tmp_path / "b", b), "--truth", truth)
    assert (found["a"], found["b"]) == pytest.approx((wanted["accuracy_a"], wanted["accuracy_b"]))
    assert (found["only_a"], found["only_b"]) == (wanted["only_a"], wanted["only_b"])
    assert found["mcnemar_exact_p"] == pytest.approx(wanted["mcnemar_exact_p"], abs=1e-6)
    points = wanted["bootstrap_tolerance_points"]
    assert found["interval95"] == pytest.approx(wanted["bootstrap95_difference_by_picture"], abs=points)
    assert len(found["changed"]) == wanted["only_a"] + wanted["only_b"]
    assert found["both"] + found["neither"] + len(found["changed"]) == len(rows)


def test_answers_to_other_questions_are_not_compared(tmp_path: Path) -> None:
    at = FOLDER / "gqa"
    strange = written(tmp_path / "b", [{"question_id": "nothing", "text": "x"}])
    asked = [
        "compare",
        "gqa",
        str(at / "answers.jsonl"),
        str(strange),
        "--truth",
        str(next(at.glob("*_questions.json"))),
    ]
    assert isinstance(CliRunner().invoke(app, asked).exception, DataError)
