"""Rows that a text model writes: what it is asked, which replies are rows; bad ones are kept and asked for again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from llava_engine.errors import DataError, UsageError
from tests.evaluation.fixtures import FOLDER, expected, needs_fixtures
from tests.fakes.fake_openai import FakeOpenAI, Outcome, Text
from training.data_cli import app
from training.data_generation import KINDS, turns_of

AT = FOLDER / "datagen"
REPLIES: dict[str, list[str]] = expected("datagen", "replies-conversation.json") or {"good": [], "bad": []}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LLAVA_JUDGE_KEY", "sk-of-a-test")


def contexts() -> list[dict[str, Any]]:
    return [json.loads(line) for line in (AT / "contexts.jsonl").read_text(encoding="utf-8").split("\n") if line]


def generate(
    url: str, out: Path, kind: str = "conversation", *more: str, notes: Path = AT / "contexts.jsonl"
) -> Result:
    words = [kind, "--prompts", str(AT / "prompts" / kind), "--contexts", str(notes), "-o", str(out), "--judge",
             "gpt-x", "--judge-url", url, *more]  # fmt: skip
    if kind == "detail_description":
        words += ["--questions", str(AT / "detail-questions.txt")]
    result = CliRunner().invoke(app, ["generate", *words])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def rows_of(path: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    return found


def without_picture(turns: list[dict[str, str]]) -> list[dict[str, str]]:
    first = {**turns[0], "value": turns[0]["value"].removeprefix("<image>\n").removesuffix("\n<image>")}
    assert first["value"] != turns[0]["value"] and "<image>" not in first["value"]
    return [first, *turns[1:]]


@needs_fixtures
@pytest.mark.parametrize("kind", KINDS)
def test_the_messages_are_those_of_the_seed(kind: str, tmp_path: Path) -> None:
    wanted = expected("datagen")
    reply = "A picture." if kind == "detail_description" else REPLIES["good"][0]
    with FakeOpenAI(lambda messages: reply) as judge:
        assert generate(judge.url, tmp_path / "rows.json", kind, "--jobs", "1").exit_code == 0
    last = wanted["last_user_message_" + ("captions_only" if kind == "conversation" else "with_boxes")]
    at = AT / "prompts" / kind
    samples = [path.read_text(encoding="utf-8") for path in sorted(at.glob("[0-9]*_*.txt"))]  # 000_caps, 000_conv, 001…
    for one, row in zip(judge.requests, contexts(), strict=True):
        assert [message["role"] for message in one["messages"]] == wanted["roles_of_messages"]
        contents = [message["content"] for message in one["messages"]]
        assert contents == [(at / "system_message.txt").read_text(encoding="utf-8"), *samples, last[row["image"]]]
    assert [(row["id"], row["image"]) for row in rows_of(tmp_path / "rows.json")] == [
        (row["id"], row["image"]) for row in contexts()
    ]


@needs_fixtures
@pytest.mark.parametrize("reply", REPLIES["good"])
def test_a_good_reply_is_a_row(reply: str, tmp_path: Path) -> None:
    with FakeOpenAI(lambda messages: reply) as judge:
        generate(judge.url, tmp_path / "rows.json")
    for row in rows_of(tmp_path / "rows.json"):
        assert without_picture(row["conversations"]) == expected("datagen")["good"]


@needs_fixtures
@pytest.mark.parametrize(
    "reply",
    [
        *REPLIES["bad"],
        "Question:\nx\n===\nAnswer:\ny\n\nQuestion:\nz?",
        "Question:\nWhat is <image>?\n===\nAnswer:\nx",
        Text("Question:\nx\n===\nAnswer:\nIt", "length"),
    ],
)
def test_a_bad_reply_is_kept_aside_and_asked_for_again(reply: str | Text, tmp_path: Path) -> None:
    out, bad = tmp_path / "rows.json", contexts()[0]
    good = REPLIES["good"][0]

    def first_is_bad(messages: list[dict[str, str]]) -> Outcome:
        return reply if messages[-1]["content"].startswith(bad["captions"][0]) else good

    with FakeOpenAI(first_is_bad) as judge:
        assert generate(judge.url, out).exit_code == 3
        assert generate(judge.url, out).exit_code == 3
        assert len(judge.requests) == len(contexts()) + 1
    kept = [json.loads(line) for line in (tmp_path / "rows.failed.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(row["id"], row["reply"]) for row in kept] == [(bad["id"], getattr(reply, "text", reply))] * 2
    assert [row["id"] for row in rows_of(out)] == [row["id"] for row in contexts()[1:]]
    with FakeOpenAI(lambda messages: good) as judge:
        assert generate(judge.url, out).exit_code == 0 and len(judge.requests) == 1
    assert [row["id"] for row in rows_of(out)] == [row["id"] for row in contexts()]
    assert not (tmp_path / "rows.failed.jsonl").exists()


@needs_fixtures
def test_pictures_stand_first_and_last_and_questions_are_drawn_by_id(tmp_path: Path) -> None:
    lines = [
        json.dumps({"id": number, "image": f"{number}.jpg", "captions": [f"No {number}."]}) for number in range(40)
    ]
    (tmp_path / "many.jsonl").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "few.jsonl").write_text("\n".join(lines[5:9]), encoding="utf-8")
    with FakeOpenAI(lambda messages: "It is red.\n") as judge:
        for name in ("many", "few"):
            generate(judge.url, tmp_path / f"{name}.json", "detail_description", notes=tmp_path / f"{name}.jsonl")
    rows = rows_of(tmp_path / "many.json")
    asked = (AT / "detail-questions.txt").read_text(encoding="utf-8").splitlines()
    assert {without_picture(row["conversations"])[0]["value"] for row in rows} == set(asked)
    assert {row["conversations"][0]["value"].startswith("<image>") for row in rows} == {True, False}
    assert all(row["conversations"][1] == {"from": "gpt", "value": "It is red."} for row in rows)
    assert rows_of(tmp_path / "few.json") == rows[5:9]


@needs_fixtures
def test_what_is_wrong_with_the_files_is_said_before_anything_is_asked(tmp_path: Path) -> None:
    boxes = {"id": 7, "image": "x.jpg", "captions": ["c"], "instances": [{"category": "cat", "bbox": [1, 2, 3]}]}
    (tmp_path / "bad.jsonl").write_text(json.dumps(boxes), encoding="utf-8")
    with FakeOpenAI() as judge:
        with pytest.raises(DataError, match=r"line 1 \(7\) has a box that is not four numbers"):
            generate(judge.url, tmp_path / "rows.json", notes=tmp_path / "bad.jsonl")
        with pytest.raises(UsageError, match="kind"):
            generate(judge.url, tmp_path / "rows.json", "poem")
        shown = generate(judge.url, tmp_path / "rows.json", "conversation", "--dry-run").stdout
    assert f"{len(contexts())} requests" in shown and contexts()[0]["captions"][0] in shown and not judge.requests


LINE = st.sampled_from(["===", " === ", "Question:", "Answer:", "Question: x", "words", "", "=== ==="])


@given(st.lists(LINE), st.sampled_from(["\n", "\r\n"]))
def test_turns_are_whole_pairs_or_there_are_none(lines: list[str], newline: str) -> None:
    turns = turns_of(newline.join(lines))
    if isinstance(turns, str):
        assert turns
        return
    assert turns and len(turns) % 2 == 0
    assert [turn["from"] for turn in turns] == ["human", "gpt"] * (len(turns) // 2)
    assert all(turn["value"] == turn["value"].strip() != "" for turn in turns)
    written = "\n===\n".join(
        f"{'Question' if turn['from'] == 'human' else 'Answer'}:\n{turn['value']}" for turn in turns
    )
    assert turns_of(written) == turns
