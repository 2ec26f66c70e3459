"""Reviews by a judge: messages, readings and summaries of the original's code, and ours where that is wrong."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from llava_engine.errors import DataError
from tests.evaluation.fixtures import FOLDER, REAL, assert_same, expected, needs_fixtures, needs_real, scored
from tests.fakes.fake_openai import STALL, FakeOpenAI, Outcome
from tests.source import ROOT
from training.evaluation.cli import app
from training.evaluation.intervals import bootstrap_ratio
from training.evaluation.review import read

AT = FOLDER / "review"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is kept from one test to the next, and nobody's key is used."""
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("LLAVA_JUDGE_KEY", "sk-of-a-test")
    return tmp_path / "home"


def command(url: str, out: Path, *more: str, second: str = "answers-2.jsonl", context: str = "boxes") -> list[str]:
    files = [AT / "questions.jsonl", AT / "answers-1.jsonl", AT / second]
    options = ["--context", AT / f"context-{context}.jsonl", "--rules", AT / "rule.json", "-o", out]
    return [*map(str, ("review", *files, *options)), "--judge", "gpt-x", "--judge-url", url, *more]


def run(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words))
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def scripted() -> Callable[[list[dict[str, str]]], Outcome]:
    """What the scripted judge of the fixtures says to exactly the messages that the original sends."""
    says = {}
    for of, contents in expected("review", "expected-contents.json").items():
        for form, content in contents.items():
            replies = "judge-replies-swapped.json" if form.startswith("swapped") else "judge-replies.json"
            says[content] = expected("review", replies)[of]

    def reply(messages: list[dict[str, str]]) -> Outcome:
        system, user = messages
        assert system == {
            "role": "system",
            "content": "You are a helpful and precise assistant for checking the quality of the answer.",
        }
        assert user["role"] == "user"
        return str(says[user["content"]])

    return reply


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@needs_fixtures
@pytest.mark.parametrize("second", ["answers-2.jsonl", "answers-2-shuffled.jsonl"])
def test_the_original_reviews_come_out(second: str, tmp_path: Path) -> None:
    out = tmp_path / "reviews.jsonl"
    with FakeOpenAI(scripted()) as judge:
        assert run(*command(judge.url, out, "--rule", "original", second=second)).exit_code == 0
    assert rows_of(out) == rows_of(AT / "reviews-original.jsonl")
    assert all((one["temperature"], one["max_tokens"], one["model"]) == (0.2, 1024, "gpt-x") for one in judge.requests)


@needs_fixtures
@pytest.mark.parametrize(("rule", "more"), [("original", []), ("ours", []), ("both_orders", ["--both-orders"])])
def test_the_scores_are_read_by_rule(rule: str, more: list[str], tmp_path: Path) -> None:
    out = tmp_path / "reviews.jsonl"
    chosen = "original" if rule == "original" else "ours"
    with FakeOpenAI(scripted()) as judge:
        run(*command(judge.url, out, "--rule", chosen, *more))
    wanted = {of: pairs[rule] or [-1, -1] for of, pairs in expected("review")["pairs"].items()}
    assert {str(row["question_id"]): row["tuple"] for row in rows_of(out)} == wanted


@needs_fixtures
@pytest.mark.parametrize(("more", "name"), [([], "summary_ours"), (["--both-orders"], "summary_both_orders")])
def test_failed_reviews_are_left_out_and_counted(more: list[str], name: str, tmp_path: Path) -> None:
    out = tmp_path / "reviews.jsonl"
    with FakeOpenAI(scripted()) as judge:
        run(*command(judge.url, out, *more))
    [found] = scored("summarize", out)["files"]
    assert_same(found["summary"], expected("review")[name])
    assert len(found["failed"]) == expected("review")[name]["all"]["failed"]
    assert (found["position_gap"] is not None) == bool(more)


@needs_fixtures
def test_the_original_summary_is_had_too() -> None:
    shown = run("summarize", str(AT / "reviews-original.jsonl"), "--rule", "original").stdout
    wanted = expected("review")["summary_as_the_original_prints"]
    lines = [line.split() for line in shown.split("\n")]
    printed = {words[0]: [float(word) for word in words[1:4]] for words in lines if words and words[0] in wanted}
    assert printed == wanted
    [again] = scored("summarize", AT / "reviews-original.jsonl", "--reparse")["files"]
    assert_same(again["summary"], expected("review")["summary_ours"])


@needs_fixtures
def test_captions_alone_are_llava_bench(tmp_path: Path) -> None:
    out = tmp_path / "reviews.jsonl"
    with FakeOpenAI(scripted()) as judge:
        run(*command(judge.url, out, context="captions"))
    asked = {row["content"] for one in judge.requests for row in one["messages"] if row["role"] == "user"}
    assert asked == {one["captions"] for one in expected("review", "expected-contents.json").values()}
    assert all(row["category"].startswith("llava_bench_") for row in rows_of(out))


@needs_fixtures
def test_a_question_without_both_answers_is_named_and_not_asked(tmp_path: Path) -> None:
    out = tmp_path / "reviews.jsonl"
    there = {str(row["question_id"]) for row in rows_of(AT / "answers-2-missing.jsonl")}
    missing = set(expected("review")["pairs"]) - there
    with FakeOpenAI(scripted()) as judge:
        result = run(*command(judge.url, out, "--strict", second="answers-2-missing.jsonl"))
    assert result.exit_code == (1 if missing else 0)
    assert (f"{len(missing)} without an answer: " in result.stderr) == bool(missing)
    assert {str(row["question_id"]) for row in rows_of(out)} == there


@needs_fixtures
def test_a_dry_run_asks_nothing_and_shows_all(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LLAVA_JUDGE_KEY")
    contents = expected("review", "expected-contents.json")
    with FakeOpenAI(scripted()) as judge:
        shown = run(*command(judge.url, tmp_path / "r.jsonl", "--dry-run", "--both-orders", "--price-in", "1000000",
                             "--price-out", "0")).stdout  # fmt: skip
    assert not judge.requests and not (tmp_path / "r.jsonl").exists() and not home.exists()
    assert f"{2 * len(contents)} requests" in shown and next(iter(contents.values()))["boxes"].strip() in shown
    system = 79  # letters of the system's message
    letters = sum(len(one["boxes"]) + len(one["swapped_boxes"]) + 2 * system for one in contents.values())
    assert f"about {letters // 4:,} tokens in" in shown and f"at most about {letters // 4:.2f}, by" in shown


@needs_fixtures
def test_more_than_the_budget_is_not_begun(tmp_path: Path) -> None:
    with FakeOpenAI(scripted()) as judge:
        for prices in ([], ["--price-in", "10000", "--price-out", "1"]):
            words = command(judge.url, tmp_path / "r.jsonl", "--budget", "0.1", *prices)
            assert "--budget" in str(CliRunner().invoke(app, words).exception)
    assert not judge.requests


@needs_fixtures
def test_what_was_said_once_costs_nothing_again(tmp_path: Path) -> None:
    with FakeOpenAI(scripted()) as judge:
        run(*command(judge.url, tmp_path / "one.jsonl"))
        count = len(judge.requests)
        run(*command(judge.url, tmp_path / "two.jsonl"))
        assert len(judge.requests) == count
        run(*command(judge.url, tmp_path / "both.jsonl", "--both-orders"))
        assert len(judge.requests) == 2 * count
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


@needs_fixtures
def test_other_files_do_not_go_on_with_a_run(tmp_path: Path) -> None:
    with FakeOpenAI(scripted()) as judge:
        run(*command(judge.url, tmp_path / "r.jsonl"))
        with pytest.raises(DataError, match=r"second: .* there") as caught:
            run(*command(judge.url, tmp_path / "r.jsonl", second="answers-2-shuffled.jsonl"))
        assert "--restart" in caught.value.remedy
        assert run(*command(judge.url, tmp_path / "r.jsonl", "--restart", second="answers-2-shuffled.jsonl"))


@needs_fixtures
@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_run_that_was_killed_goes_on(tmp_path: Path, home: Path) -> None:
    """Killed while a reply is awaited; what was said before is asked for no second time, with an empty cache too."""
    whole, out = tmp_path / "whole.jsonl", tmp_path / "reviews.jsonl"
    reply, questions = scripted(), len(expected("review")["pairs"])
    enough = questions // 2

    def until_then(messages: list[dict[str, str]]) -> Outcome:
        return reply(messages) if len(stalling.requests) <= enough else STALL

    with FakeOpenAI(until_then) as stalling:
        words = [sys.executable, "-c", "from llava_tui.cli import main; main()", "eval"]
        process = subprocess.Popen(
            [*words, *command(stalling.url, out, "--jobs", "1")],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stderr=subprocess.DEVNULL,
        )
        try:
            while len(stalling.requests) <= enough:
                assert process.poll() is None
                stalling.wait(0.01)
        finally:
            process.kill()
            process.wait()
    assert len(rows_of(out)) == enough
    shutil.rmtree(home)
    with out.open("ab") as file:
        file.write(b'{"id": 5, "question_')  # it was killed in the middle of a line
    with FakeOpenAI(reply) as judge:
        assert run(*command(judge.url, out, "--jobs", "3")).exit_code == 0
        assert len(judge.requests) == questions - enough and judge.most <= 3
        run(*command(judge.url, whole))
    assert out.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize(
    "row",
    [
        '{"question_id": 7, "tuple": [NaN, 8]}',
        '{"question_id": 7, "score": [8]}',
        '{"tuple": [8, 9]}',
        '{"question_id": 7}',
    ],
)
def test_a_review_without_two_numbers_is_named(row: str, tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"question_id": 1, "tuple": [8, 9]}\n' + row + "\n", encoding="utf-8")
    with pytest.raises(DataError, match="line 2" + (", question 7" if "7" in row else "")):
        run("summarize", str(tmp_path / "r.jsonl"))


def test_a_file_without_one_review_that_counts_has_no_figures(tmp_path: Path) -> None:
    (tmp_path / "r.jsonl").write_text('{"question_id": 1, "category": "a\\u001b]0;x\\u0007b", "tuple": [-1, -1]}\n')
    result = run("summarize", str(tmp_path / "r.jsonl"), "--strict", "--markdown", str(tmp_path / "r.md"))
    assert result.exit_code == 1 and "1 without scores, left out: 1" in result.stdout
    assert "| all | - |  | - | - | 0 | 1 |" in (tmp_path / "r.md").read_text(encoding="utf-8")
    assert "\x1b" not in result.stdout + (tmp_path / "r.md").read_text(encoding="utf-8")
    [found] = scored("summarize", tmp_path / "r.jsonl")["files"]
    assert found["summary"]["all"] == dict.fromkeys(("first", "second", "relative", "interval95"), None) | {
        "n": 0,
        "failed": 1,
    }


@needs_real
def test_published_reviews_keep_their_published_scores() -> None:
    """FastChat's file: 120.8 overall; three stored scores are not those of the reply's first line."""
    path = next((REAL / "reviews").glob("*.jsonl"))
    [found] = scored("summarize", path)["files"]
    assert round(found["summary"]["all"]["relative"], 1) == 120.8 and not found["failed"]
    [again] = scored("summarize", path, "--reparse")["files"]
    assert len(again["disagree"]) == 3
    left = [word for of in again["disagree"] for word in ("--ignore", of)]
    [rest] = scored("summarize", path, *left)["files"]
    assert (rest["summary"]["all"]["n"], rest["ignored"]) == (77, 3)


@needs_real
def test_the_published_questions_make_messages_of_the_published_size(tmp_path: Path) -> None:
    """90 questions of some 2,624 letters: the estimate of 59 thousand tokens, and the system's message."""
    at = REAL / "qa90"
    answers = str(at / "qa90_gpt4_answer.jsonl")
    shown = run("review", str(at / "qa90_questions.jsonl"), answers, answers, "--context",
                str(next(at.glob("caps_boxes_*"))), "--rules", str(at / "rule.json"), "-o", str(tmp_path / "r.jsonl"),
                "--judge", "gpt-4", "--dry-run").stdout  # fmt: skip
    assert "90 requests to gpt-4" in shown
    tokens = int(shown.split("about ")[1].split(" ")[0].replace(",", ""))
    assert abs(tokens - 90 * 79 // 4 - 59_040) < 90


@pytest.mark.parametrize(
    ("reply", "pair"),
    [("8 9", (8, 9)), ("8,9", (8, 9)), ("\n \n 8.5;9.\nwords", (8.5, 9)), ("**8** | *9*", (8, 9)),
     ("(7 and 10)", (7, 10)), ("8\t9", (8, 9)), ("[8, 9].", (8, 9)), ("8 9 10", None), ("8 of 9", None),
     ("80 90", None), ("8", None), ("", None),
     ("8/9", None), ("-1 -1", None), ("nan nan", None), ("8 9\u20288 8", None), ("Scores: 8 9", None), ("8-9", None)],
)  # fmt: skip
def test_a_reading_leaves_no_doubt(reply: str, pair: tuple[float, float] | None) -> None:
    assert read(reply) == pair


@given(st.text(alphabet="0123456789., \n;|*()[]and-x\t\u0661"))
def test_any_reply_is_two_scores_or_none(reply: str) -> None:
    pair = read(reply)
    assert pair is None or (0 <= pair[0] <= 10 and 0 <= pair[1] <= 10)
    read(reply, "original")


def test_the_interval_of_a_ratio_holds_it_and_knows_pictures() -> None:
    below, above = [8, 9, 7, 8, 9, 6] * 5, [6, 9, 7, 7, 8, 6] * 5
    low, high = bootstrap_ratio(below, above)
    assert low < 100 * sum(above) / sum(below) < high
    wide = bootstrap_ratio(below, above, [str(number // 10) for number in range(30)])
    assert wide != (low, high)
    assert bootstrap_ratio([8, 8], [4, 4]) == (50, 50)
