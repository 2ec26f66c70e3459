"""MM-Vet by a judge: its prompts to the letter, its replies by the published rule, five tries, and then no grade."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.evaluation.fixtures import FOLDER, assert_same, expected, needs_fixtures, scored
from tests.fakes.fake_openai import FakeOpenAI, Outcome
from training.evaluation.cli import app

pytestmark = needs_fixtures
AT = FOLDER / "mmvet"
SUFFIX = "\nPredict the correctness of the answer (digit): "
PROMPTS: dict[str, str] = expected("mmvet", "expected-prompts.json")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLAVA_JUDGE_KEY", "sk-of-a-test")


def grade(url: str, out: Path, *more: str, answers: Path = AT / "answers.jsonl") -> Result:
    words = ["grade", "mmvet", str(answers), "--truth", str(AT / "mm-vet.json"), "--prompt", str(AT / "judge-head.txt"),
             "-o", str(out), "--judge", "gpt-x", "--judge-url", url, *more]  # fmt: skip
    result = CliRunner().invoke(app, words)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def grades_of(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def test_the_prompts_are_the_originals_and_the_table_comes_out(tmp_path: Path) -> None:
    """The grades of the fixtures, said by a judge that answers to no other prompt."""
    what = next(name for name in expected("mmvet") if not expected("mmvet")[name]["missing"])
    file, runs = what.split(", ")[0], what.split(", ")[1].split()[0]
    said, count = grades_of(AT / file), dict.fromkeys(PROMPTS.values(), 0)
    of = {prompt: key for key, prompt in PROMPTS.items()}

    def reply(messages: list[dict[str, str]]) -> Outcome:
        [user] = messages
        prompt = user["content"]
        count[prompt] += 1
        return str(said[of[prompt]]["content"][count[prompt] - 1])

    with FakeOpenAI(reply) as judge:
        assert grade(judge.url, tmp_path / "g.json", "--runs", runs, "--jobs", "1").exit_code == 0
    assert all((one["temperature"], one["max_tokens"]) == (0, 3) for one in judge.requests)
    found = grades_of(tmp_path / "g.json")
    assert list(found) == list(PROMPTS)
    assert {key: row["score"] for key, row in found.items()} == {
        key: row["score"][: int(runs)] for key, row in said.items()
    }
    assert_same(scored("mmvet", "table", tmp_path / "g.json", "--truth", AT / "mm-vet.json"), expected("mmvet")[what])


@pytest.mark.parametrize("case", expected("mmvet", "expected-grade-reading.json"))
def test_a_reply_that_is_no_grade_is_asked_for_four_times_more(case: dict[str, Any], tmp_path: Path) -> None:
    first = next(iter(PROMPTS.values()))

    def reply(messages: list[dict[str, str]]) -> Outcome:
        return str(case["reply"]) if messages[0]["content"].startswith(first) else "1"

    with FakeOpenAI(reply) as judge:
        grade(judge.url, tmp_path / "g.json")
    asked = [one for one in judge.requests if one["messages"][0]["content"].startswith(first)]
    assert grades_of(tmp_path / "g.json")[next(iter(PROMPTS))]["score"] == [case["grade"]]
    if case["grade"] is None:
        assert [one["messages"][0]["content"] for one in asked] == [first, *[first + SUFFIX] * 4]
        assert [one["temperature"] for one in asked] == [0, 0.5, 1.0, 1.5, 2.0]
    else:
        assert len(asked) == 1


def test_a_failed_grade_is_left_out_and_named_or_0_where_that_is_wanted(tmp_path: Path) -> None:
    first, *others = PROMPTS

    def reply(messages: list[dict[str, str]]) -> Outcome:
        return "nan" if messages[0]["content"].startswith(PROMPTS[first]) else "1.0"

    with FakeOpenAI(reply) as judge:
        result = grade(judge.url, tmp_path / "g.json")
        assert f"1 got no grade in some run: {first}" in result.stderr
        grade(judge.url, tmp_path / "zero.json", "--failed-as-zero")
    truth = ["--truth", AT / "mm-vet.json"]
    found = scored("mmvet", "table", tmp_path / "g.json", *truth)
    assert found["total"] == 100 and found["failed"] == [first] and found["missing"] == []
    zero = scored("mmvet", "table", tmp_path / "zero.json", *truth)
    assert zero["total"] == round(100 * len(others) / len(PROMPTS), 1) and not zero["failed"]


def test_answers_in_the_form_of_its_own_page_and_those_that_are_missing(tmp_path: Path) -> None:
    upload = expected("mmvet", "expected-upload.json")
    last = list(upload)[-1]
    del upload[last]
    (tmp_path / "answers.json").write_text(json.dumps(upload), encoding="utf-8")
    with FakeOpenAI(lambda messages: "0.5") as judge:
        result = grade(judge.url, tmp_path / "g.json", "--strict", answers=tmp_path / "answers.json")
    assert result.exit_code == 1 and f"1 without an answer: {last}" in result.stderr
    asked = {one["messages"][0]["content"] for one in judge.requests}
    assert asked == {prompt for key, prompt in PROMPTS.items() if key != last}
    table = scored("mmvet", "table", tmp_path / "g.json", "--truth", AT / "mm-vet.json")
    assert table["missing"] == [last]


def test_a_stopped_run_goes_on_from_its_lines(tmp_path: Path) -> None:
    enough = len(PROMPTS) // 2
    with FakeOpenAI(lambda messages: "1.0") as judge:
        grade(judge.url, tmp_path / "g.json")
        whole = (tmp_path / "g.json").read_bytes()
        rows = [{"id": key, **row} for key, row in grades_of(tmp_path / "g.json").items()][:enough]
        (tmp_path / "g.json").unlink()
        lines = "".join(json.dumps(row) + "\n" for row in rows) + '{"id": "v1_'
        (tmp_path / "g.begun.jsonl").write_text(lines, encoding="utf-8")
        for path in (tmp_path / "home" / "judge").iterdir():
            path.unlink()
        judge.requests.clear()
        result = grade(judge.url, tmp_path / "g.json")
        assert len(judge.requests) == len(PROMPTS) - enough and f"{enough} of them from before" in result.stdout
    assert (tmp_path / "g.json").read_bytes() == whole and not (tmp_path / "g.begun.jsonl").exists()
