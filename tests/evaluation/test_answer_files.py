"""Answer files that are broken, half written, shuffled, or of other questions; and what the commands say of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from llava_engine.errors import DataError, UsageError
from tests.evaluation.fixtures import FOLDER, expected, needs_fixtures
from training.evaluation.answers import Answer, AnswerFile, join, read_answers
from training.evaluation.cli import app
from training.evaluation.intervals import bootstrap, mcnemar, paired, wilson


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8", newline="")
    return path


def row(of: str, text: str) -> str:
    return json.dumps({"question_id": of, "text": text}, ensure_ascii=False)


def test_a_line_ends_at_a_newline_only(tmp_path: Path) -> None:
    file = written(tmp_path / "a.jsonl", "\ufeff" + row("1", "one\u2028two\x85") + "\r\n\n" + row("2", "x") + "\n")
    assert [(answer.id, answer.text) for answer in read_answers(file).answers] == [
        ("1", "one\u2028two\x85"),
        ("2", "x"),
    ]


def test_the_last_line_of_a_killed_run_is_left_out_and_said(tmp_path: Path) -> None:
    file = read_answers(written(tmp_path / "a.jsonl", row("1", "yes") + "\n" + row("2", "no")[:-5]))
    assert file.half and [answer.id for answer in file.answers] == ["1"]
    whole = read_answers(written(tmp_path / "b.jsonl", row("1", "yes") + "\n" + row("2", "no")))
    assert not whole.half and len(whole.answers) == 2


@pytest.mark.parametrize(
    "line", ["{", "[1]", '{"question_id": 1}', '{"question_id": null, "text": ""}', '{"question_id": 1, "text": 2}']
)
def test_a_line_that_is_no_answer_is_named(tmp_path: Path, line: str) -> None:
    with pytest.raises(DataError, match="line 2"):
        read_answers(written(tmp_path / "a.jsonl", f"{row('1', 'yes')}\n{line}\n{row('2', 'no')}\n"))


def test_answers_to_other_questions_are_refused_with_both_forms_of_id(tmp_path: Path) -> None:
    file = AnswerFile(tmp_path / "a.jsonl", (Answer("x1", "yes"),))
    with pytest.raises(DataError, match=r"'x1'.*'1'"):
        join(file, ["1", "2"])


@given(st.lists(st.tuples(st.sampled_from("abcdef"), st.text(max_size=3))), st.randoms())
def test_a_join_counts_every_row_once(rows: list[tuple[str, str]], random: object) -> None:
    wanted = ["a", "b", "c"]
    file = AnswerFile(Path("a.jsonl"), tuple(Answer(of, text) for of, text in rows))
    if rows and not any(of in wanted for of, _ in rows):
        return
    joined = join(file, wanted)
    last = {of: text for of, text in rows if of in wanted}
    assert {of: answer.text for of, answer in joined.answers.items()} == last
    assert set(joined.coverage.missing) == set(wanted) - set(last)
    assert set(joined.coverage.unknown) == {of for of, _ in rows} - set(wanted)
    assert set(joined.coverage.duplicate) == {of for of in wanted if sum(of == other for other, _ in rows) > 1}


@needs_fixtures
def test_strict_ends_with_one_where_anything_is_missing_or_unread() -> None:
    at = FOLDER / "scienceqa"
    for file, rules in expected("scienceqa").items():
        for rule, wanted in rules.items():
            asked = ["scienceqa", "score", str(at / file), "--base", str(at), "--rule", rule.split()[0], "--strict"]
            whole = not any(wanted[key] for key in ("missing", "duplicate", "unknown", "unparsed"))
            result = CliRunner().invoke(app, asked)
            assert result.exit_code == (0 if whole else 1)
            assert (f"{len(wanted['missing'])} missing" in result.stdout) == bool(wanted["missing"])


@needs_fixtures
def test_labels_of_another_version_are_refused_and_counted(tmp_path: Path) -> None:
    at = FOLDER / "pope"
    for path in (at / "coco").iterdir():
        text = path.read_text(encoding="utf-8")
        written(tmp_path / path.name, text.replace("Is there a", "Is there an") if "random" in path.name else text)
    asked = [
        "score",
        "pope",
        str(at / "answers.jsonl"),
        "--truth",
        str(tmp_path),
        "--questions",
        str(at / "llava_pope_test.jsonl"),
    ]
    error = CliRunner().invoke(app, asked).exception
    assert isinstance(error, DataError) and "random:" in error.cause and "another version" in error.cause


@pytest.mark.parametrize(
    "words",
    [["nosuch", "a", "--truth", "b"], ["pope", "a", "--truth", "b"], ["gqa", "a", "--truth", "b", "--rule", "x"]],
)
def test_a_wrong_option_is_named(words: list[str]) -> None:
    assert isinstance(CliRunner().invoke(app, ["score", *words]).exception, UsageError)


@needs_fixtures
def test_intervals_are_those_of_scipy() -> None:
    found = expected("stats")
    rows, wanted = found["rows"], found["expected"]
    a, b, pictures = ([row[key] for row in rows] for key in ("a", "b", "cluster"))
    near = pytest.approx
    assert wilson(sum(a), len(a)) == near(wanted["wilson95_a"], abs=1e-3)
    assert wilson(sum(b), len(b)) == near(wanted["wilson95_b"], abs=1e-3)
    both = paired(a, b)
    assert (both.only_a, both.only_b) == (wanted["only_a"], wanted["only_b"])
    assert both.p == near(wanted["mcnemar_exact_p"], abs=1e-6) and both.difference == near(wanted["difference"])
    points = wanted["bootstrap_tolerance_points"]
    assert both.interval == near(wanted["bootstrap95_difference"], abs=points)
    assert paired(a, b, pictures).interval == near(wanted["bootstrap95_difference_by_picture"], abs=points)
    assert [100 * end for end in bootstrap(a)] == near(wanted["bootstrap95_a"], abs=points)
    assert [100 * end for end in bootstrap(a, pictures)] == near(wanted["bootstrap95_a_by_picture"], abs=points)


def test_mcnemar_of_nothing_and_of_thousands() -> None:
    assert mcnemar(0, 0) == 1 and mcnemar(5000, 5000) == 1
    assert mcnemar(0, 5) == 2 / 32
    assert 0 <= mcnemar(2000, 4000) < 1e-100
