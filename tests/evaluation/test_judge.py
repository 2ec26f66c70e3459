"""The judge's client: what is asked again, what ends a run, what is kept, and that its key goes to one host only."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from llava_engine.errors import EngineAwayError, UsageError
from tests.fakes.fake_openai import BROKEN, BUSY, EMPTY, FAILING, STALL, FakeOpenAI, Outcome, Text, Trouble, hash_of
from training.evaluation import judge as judge_module
from training.evaluation.cli import app
from training.evaluation.judge import Ask, Cost, Judge, JudgeRefusedError, find_key, spoken

KEY = "sk-0123456789-secret"
COUNT = 5


@pytest.fixture(autouse=True)
def quick(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judge_module, "FIRST_WAIT_S", 0.01)
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    monkeypatch.setenv("LLAVA_JUDGE_KEY", KEY)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """Questions, two files of answers, notes and a rule."""

    def write(name: str, rows: list[dict[str, Any]]) -> None:
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")

    numbers = range(COUNT)
    write("q.jsonl", [{"question_id": n, "image": "p.jpg", "text": f"What is {n}?", "category": "c"} for n in numbers])
    write("a.jsonl", [{"question_id": n, "text": f"a {n}"} for n in numbers])
    write("b.jsonl", [{"question_id": n, "text": f"b {n}"} for n in numbers])
    write("notes.jsonl", [{"id": 1, "image": "p.jpg", "captions": ["A thing."], "instances": []}])
    (tmp_path / "rules.json").write_text(json.dumps({"default": {"role": "Assistant", "prompt": "Rate."}}))
    return tmp_path


def review(room: Path, url: str, *more: str, fails: bool = False) -> Result:
    words = ["review", *(str(room / name) for name in ("q.jsonl", "a.jsonl", "b.jsonl")), "--context",
             str(room / "notes.jsonl"), "--rules", str(room / "rules.json"), "-o", str(room / "r.jsonl"),
             "--judge", "gpt-x", "--judge-url", url, *more]  # fmt: skip
    result = CliRunner().invoke(app, words)
    if not fails and result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def asked(judge: FakeOpenAI) -> list[str]:
    """The questions, by their numbers, as they came."""
    return [one["messages"][1]["content"].split("What is ")[1][0] for one in judge.requests]


def message(room: Path, number: int) -> str:
    """The hash of what is asked about one question."""
    content = (
        f"[Context]\nA thing.\n\n\n\n[Question]\nWhat is {number}?\n\n"
        f"[Assistant 1]\na {number}\n\n[End of Assistant 1]\n\n"
        f"[Assistant 2]\nb {number}\n\n[End of Assistant 2]\n\n[System]\nRate.\n\n"
    )
    system = "You are a helpful and precise assistant for checking the quality of the answer."
    return hash_of([{"role": "system", "content": system}, {"role": "user", "content": content}])


def no_key_in(folder: Path) -> bool:
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return not any(KEY.encode() in path.read_bytes() for path in files)


@pytest.mark.parametrize(
    "troubles",
    [[BUSY, BUSY], [FAILING, Trouble(503, b"busy"), Trouble(408), Trouble(409)], [BROKEN], [EMPTY, Text(None)], [STALL],
     [Trouble(200, {"error": {"message": "overloaded"}})]],
    ids=["429", "5xx", "broken", "empty", "stall", "an error that says 200"],
)  # fmt: skip
def test_what_may_pass_is_asked_again(troubles: list[Outcome], room: Path) -> None:
    with FakeOpenAI(script={message(room, 2): [*troubles, "3 4"]}) as judge:
        result = review(room, judge.url, "--timeout", "1")
    assert result.exit_code == 0
    rows = [json.loads(line) for line in (room / "r.jsonl").read_text().splitlines()]
    assert [row["tuple"] for row in rows] == [[8, 9], [8, 9], [3, 4], [8, 9], [8, 9]]
    assert sorted(asked(judge)) == sorted([*map(str, range(COUNT)), *["2"] * len(troubles)])


def test_retry_after_is_obeyed_before_the_own_wait(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With a wait of its own of an hour, it would not end."""
    monkeypatch.setattr(judge_module, "FIRST_WAIT_S", 3600.0)
    with FakeOpenAI(script={message(room, 0): [BUSY, BUSY, "1 2"]}) as judge:
        assert review(room, judge.url).exit_code == 0


def test_six_tries_are_enough_and_the_others_go_on(room: Path) -> None:
    with FakeOpenAI(script={message(room, 1): [FAILING]}) as judge:
        result = review(room, judge.url)
        assert result.exit_code == 3 and "Something broke" in result.stderr
        assert asked(judge).count("1") == 6 and len(judge.requests) == COUNT + 5
    [failed] = [json.loads(line) for line in (room / "r.failed.jsonl").read_text().splitlines()]
    assert failed["id"] == "1" and "Something broke" in failed["error"]
    assert len((room / "r.jsonl").read_text().splitlines()) == COUNT - 1


def test_what_failed_is_asked_by_a_further_run(room: Path) -> None:
    with FakeOpenAI(script={message(room, 1): [*[FAILING] * 6, "5 5"]}) as judge:
        assert review(room, judge.url).exit_code == 3
        count = len(judge.requests)
        assert review(room, judge.url).exit_code == 0
        assert len(judge.requests) == count + 1
    rows = [json.loads(line) for line in (room / "r.jsonl").read_text().splitlines()]
    assert [row["question_id"] for row in rows] == list(range(COUNT)) and not (room / "r.failed.jsonl").exists()


def test_a_judge_that_is_gone_ends_the_run_with_what_it_said(room: Path) -> None:
    alive = 2

    def reply(messages: list[dict[str, str]]) -> Outcome:
        return "8 9" if len(judge.requests) <= alive else FAILING

    with FakeOpenAI(reply) as judge:
        error = review(room, judge.url, "--jobs", "1", fails=True).exception
        assert isinstance(error, EngineAwayError) and len(judge.requests) == alive + 3 * 6
    assert len((room / "r.jsonl").read_text().splitlines()) == alive


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_refusal_ends_the_run_in_the_servers_words(status: int, room: Path) -> None:
    words = f"No such \x1b[31mmodel\x1b[0m here, {KEY}.\nSee below."
    with FakeOpenAI(script={message(room, 2): [Trouble(status, {"error": {"message": words}})]}) as judge:
        error = review(room, judge.url, "--jobs", "1", fails=True).exception
    assert isinstance(error, JudgeRefusedError) and f"({status}): No such model here, …. See below." in error.cause
    assert asked(judge) == ["0", "1", "2"]  # no retry, and nobody after it
    assert len((room / "r.jsonl").read_text().splitlines()) == 2
    assert no_key_in(room) and KEY not in str(error)


def test_no_money_left_is_a_refusal(room: Path) -> None:
    trouble = Trouble(429, {"error": {"message": "Pay first.", "code": "insufficient_quota"}})
    with FakeOpenAI(lambda messages: trouble) as judge:
        error = review(room, judge.url, "--jobs", "1", fails=True).exception
        assert isinstance(error, JudgeRefusedError) and "Pay first" in error.cause and len(judge.requests) == 1


def test_the_key_goes_to_the_judge_and_nowhere_else(room: Path) -> None:
    with FakeOpenAI() as other:
        away = Trouble(307, headers=(("Location", f"{other.url}/chat/completions?{KEY}"),))
        with FakeOpenAI(lambda messages: away) as judge:
            error = review(room, judge.url, "--jobs", "1", fails=True).exception
            assert isinstance(error, JudgeRefusedError)
            assert judge.headers[0]["authorization"] == f"Bearer {KEY}" and not other.requests
    with FakeOpenAI(lambda messages: f"8 9\nyour key is {KEY}") as judge:
        result = review(room, judge.url)
    assert no_key_in(room) and KEY not in result.output
    key = find_key({"LLAVA_JUDGE_KEY": KEY})
    shown = repr(key) + repr(Judge("m", "https://example.org/v1", key).__dict__)
    assert KEY not in shown


def test_the_key_comes_from_either_variable_and_is_no_must(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-other")
    with FakeOpenAI() as judge:
        review(room, judge.url, "--restart")
        monkeypatch.delenv("LLAVA_JUDGE_KEY")
        (room / "q.jsonl").write_text((room / "q.jsonl").read_text().replace("What is", "What  is"))
        review(room, judge.url, "--restart")
        monkeypatch.delenv("OPENAI_API_KEY")
        (room / "q.jsonl").write_text((room / "q.jsonl").read_text().replace("What  is", "What   is"))
        review(room, judge.url, "--restart")
    keys = [headers.get("authorization") for headers in judge.headers]
    assert keys == [f"Bearer {KEY}"] * COUNT + ["Bearer sk-other"] * COUNT + [None] * COUNT
    monkeypatch.setenv("LLAVA_JUDGE_KEY", "two\nlines")
    error = review(room, judge.url, fails=True).exception
    assert isinstance(error, UsageError) and "two" not in str(error)


@pytest.mark.parametrize("url", ["http://example.org/v1", "http://10.0.0.7:8000/v1", "ftp://localhost", "localhost:1"])
def test_an_address_that_would_show_the_key_is_refused(url: str, room: Path) -> None:
    error = review(room, url, fails=True).exception
    assert isinstance(error, UsageError) and "--judge-url" in error.cause


def test_an_address_with_a_password_is_refused_and_not_shown(room: Path) -> None:
    error = review(room, f"https://me:{KEY}@example.org/v1", fails=True).exception
    assert isinstance(error, UsageError) and KEY not in str(error)


def test_insecure_is_what_somebody_says(room: Path) -> None:
    assert Judge("m", "http://example.org:8000", find_key({}), insecure=True).url == (
        "http://example.org:8000/v1/chat/completions"
    )
    assert Judge("m", "https://example.org/openai/v2", find_key({})).url == (
        "https://example.org/openai/v2/chat/completions"
    )


def test_newer_models_word_for_the_limit_is_found(room: Path) -> None:
    def reply(messages: list[dict[str, str]]) -> Outcome:
        if "max_tokens" in judge.requests[-1]:
            words = "Unsupported parameter: 'max_tokens' is not supported with this model."
            return Trouble(400, {"error": {"message": words, "param": "max_tokens", "code": "unsupported_parameter"}})
        return "8 9"

    with FakeOpenAI(reply) as judge:
        assert review(room, judge.url, "--jobs", "1").exit_code == 0
    assert [one.get("max_completion_tokens") for one in judge.requests] == [None, *[1024] * COUNT]


def test_only_what_is_wanted_is_kept_and_each_run_of_its_own(tmp_path: Path) -> None:
    one, other = (Ask(spoken(None, [("user", "Hm?")]), 0.0, 3, run) for run in (0, 1))
    with FakeOpenAI() as server:
        judge = Judge("m", server.url, find_key({}), tmp_path / "cache")
        judge.ask(one, keep=lambda said: False)
        assert judge.kept(one) is None
        assert judge.ask(one) == judge.kept(one) and judge.kept(other) is None
        assert Judge("m2", server.url, find_key({}), tmp_path / "cache").kept(one) is None
        judge.ask(one)
        assert len(server.requests) == 2
        for path in (tmp_path / "cache").iterdir():
            path.write_text("{broken")
        assert judge.kept(one) is None and judge.ask(one).text == "8 9"


def test_half_a_letter_of_a_judge_breaks_no_file(room: Path) -> None:
    with FakeOpenAI(lambda messages: "8 9\n\ud83d and \x1b]0;title\x07") as judge:
        assert review(room, judge.url).exit_code == 0
    assert "\ufffd and \\u001b]0;title" in (room / "r.jsonl").read_text(encoding="utf-8")


def test_no_more_are_asked_at_once_than_wanted(room: Path) -> None:
    with FakeOpenAI() as judge:
        review(room, judge.url, "--jobs", "2")
        assert judge.most <= 2


def test_a_price_is_of_a_million_tokens() -> None:
    asks = [Ask(spoken("s" * 4000, [("user", "u" * 4000)]), 0.0, 1024)] * 3
    cost = Cost.of(asks)
    assert (cost.requests, cost.tokens_in, cost.tokens_out) == (3, 6000, 1800)
    assert cost.price(10, 30) == pytest.approx(0.06 + 0.054)
