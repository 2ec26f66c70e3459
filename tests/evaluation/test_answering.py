"""Answer files: after any kill they end as those of an undisturbed run; what goes wrong is a row of another file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from llava_engine.contract import Progress, Reply, Sampling, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import DataError, EngineAwayError, UsageError
from tests.evaluation.fixtures import FOLDER, needs_fixtures
from tests.fakes.fake_engine import FakeEngine
from training.evaluation import cli, mmbench_asking
from training.evaluation.answering import answer_questions, errors_file, merge
from training.evaluation.asked import read_questions, shard
from training.evaluation.choices import read_mmbench
from training.evaluation.run_header import Header
from training.evaluation.scienceqa_asking import both_steps, in_two_steps

COUNT = 12


class Echo(FakeEngine):
    """Answers with the question and the number of pictures, so that each answer shows what was asked."""

    dies_after = 10**9

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = Sampling(),  # noqa: B008 - frozen
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        if len(self.conversations) >= self.dies_after:
            raise EngineAwayError("The server is gone.")
        last = conversation.messages[-1]
        self._answers = ((f"{begun}|{last.text}|", f"{len(last.pictures)} pictures"),)
        yield from super().stream(conversation, sampling, begun=begun, cancelled=cancelled)


@pytest.fixture
def room(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    rows = []
    for number in range(COUNT):
        image = f"{number // 3}.png"
        Image.new("RGB", (20, 20), (number * 20, 0, 0)).save(tmp_path / "images" / image)
        text = f"What is {number}?\u2028Say."
        rows.append({"question_id": number, "text": text, "category": "x"} | ({"image": image} if number % 4 else {}))
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (tmp_path / "questions.jsonl").write_text("".join(lines), encoding="utf-8")
    return tmp_path


def run(room: Path, engine: FakeEngine | None = None, out: str = "answers.jsonl", **more: Any) -> Path:
    engine, file = engine or Echo(), read_questions(room / "questions.jsonl")
    header = Header.of(engine.card, Sampling(), file.sha256)
    answer_questions(
        engine, more.pop("asked", file.asked), room / "images", room / out, Sampling(), header, **more
    )  # fmt: skip
    return room / out


def rows_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.fixture(autouse=True)
def a_folder_for_the_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scripted engine's card names a folder, of which the header takes a fingerprint."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "fake").mkdir()


def test_every_question_has_its_answer_in_their_order_in_the_form_of_the_original(room: Path) -> None:
    rows = rows_of(run(room))
    assert [row["question_id"] for row in rows] == list(range(COUNT))
    assert all(set(row) == {"question_id", "prompt", "text", "answer_id", "model_id", "metadata"} for row in rows)
    assert [row["text"] for row in rows] == [
        f"|What is {number}?\u2028Say.|{int(bool(number % 4))} pictures" for number in range(COUNT)
    ]
    assert len({row["answer_id"] for row in rows}) == COUNT
    assert json.loads((room / "answers.run.json").read_text(encoding="utf-8"))["model"] == "fake"


@pytest.mark.parametrize("cut", range(0, 2600, 150))
def test_a_run_killed_anywhere_ends_with_the_bytes_of_one_that_was_not(room: Path, cut: int) -> None:
    whole = run(room).read_bytes()
    (room / "answers.jsonl").write_bytes(whole[:cut])  # after a kill, a line may be half there
    engine = Echo()
    assert run(room, engine).read_bytes() == whole
    assert len(engine.conversations) == COUNT - whole[:cut].count(b"\n")


def test_what_was_answered_before_the_engine_was_gone_is_kept(room: Path) -> None:
    whole = run(room, out="whole.jsonl").read_bytes()
    engine = Echo()
    engine.dies_after = 5
    with pytest.raises(EngineAwayError):
        run(room, engine)
    assert len(rows_of(room / "answers.jsonl")) == 5
    assert run(room).read_bytes() == whole


def test_a_stopped_run_keeps_what_it_has(room: Path) -> None:
    done: list[int] = []
    run(room, cancelled=lambda: len(done) >= 3, on_progress=lambda count, total: done.append(count))
    assert 3 <= len(rows_of(room / "answers.jsonl")) < COUNT
    assert [row["question_id"] for row in rows_of(run(room))] == list(range(COUNT))


def test_a_bad_picture_is_a_row_of_errors_and_is_tried_again(room: Path) -> None:
    good = (room / "images" / "1.png").read_bytes()
    (room / "images" / "1.png").write_bytes(b"no picture")
    (room / "images" / "2.png").unlink()
    out = run(room)
    failed = {row["question_id"]: row["error"] for row in rows_of(errors_file(out))}
    assert set(failed) == {"3", "5", "6", "7"} and all(failed.values())
    assert [row["question_id"] for row in rows_of(out)] == [0, 1, 2, 4, 8, 9, 10, 11]
    (room / "images" / "1.png").write_bytes(good)
    (room / "images" / "2.png").write_bytes(good)
    assert len(rows_of(run(room))) == COUNT and not errors_file(out).exists()


def test_questions_that_share_an_id_are_told_apart_by_their_text(room: Path) -> None:
    """As in the original's files for MME and TextVQA, where a question's id is the name of its picture."""
    rows = [{"question_id": f"{n // 2}.png", "image": f"{n // 2}.png", "text": f"Is it {n}?"} for n in range(8)]
    (room / "questions.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    whole = run(room, out="whole.jsonl")
    assert [(row["question_id"], row["prompt"]) for row in rows_of(whole)] == [
        (row["question_id"], row["text"]) for row in rows
    ]
    assert len({row["answer_id"] for row in rows_of(whole)}) == len(rows)
    engine = Echo()
    engine.dies_after = 3
    with pytest.raises(EngineAwayError):
        run(room, engine)
    assert run(room).read_bytes() == whole.read_bytes()
    asked = read_questions(room / "questions.jsonl").asked
    parts = [run(room, out=f"{part}.jsonl", asked=shard(asked, f"{part}/3")) for part in (1, 2, 3)]
    for order in ([one.key for one in asked], None):
        assert merge(parts, room / "merged.jsonl", order) == []
        assert (room / "merged.jsonl").read_bytes() == whole.read_bytes()
    (room / "questions.jsonl").write_text("".join(json.dumps(rows[0]) + "\n" for _ in range(2)))
    assert len(read_questions(room / "questions.jsonl").asked) == 1
    (room / "questions.jsonl").write_text("".join(json.dumps(rows[0] | {"image": name}) + "\n" for name in "ab"))
    with pytest.raises(DataError, match=r"two questions '0\.png'"):
        read_questions(room / "questions.jsonl")


def test_another_model_or_another_file_of_questions_does_not_go_on(room: Path) -> None:
    out = run(room)
    with (room / "questions.jsonl").open("a") as file:
        file.write(json.dumps({"question_id": "more", "text": "?"}) + "\n")
    before = out.read_bytes()
    with pytest.raises(DataError, match="questions: ") as caught:
        run(room)
    assert "--restart" in caught.value.remedy and out.read_bytes() == before
    assert len(rows_of(run(room, restart=True))) == COUNT + 1


def test_shards_are_merged_into_the_file_of_one_run(room: Path) -> None:
    whole, asked = run(room, out="whole.jsonl").read_bytes(), read_questions(room / "questions.jsonl").asked
    parts = [run(room, out=f"part{n}.jsonl", asked=shard(asked, f"{n}/5")) for n in range(1, 6)]
    assert [len(rows_of(part)) for part in parts] == [3, 3, 3, 3, 0]
    order = [one.key for one in asked]
    assert merge(reversed(parts), room / "merged.jsonl", order) == []
    assert (room / "merged.jsonl").read_bytes() == whole
    assert merge(parts[1:], room / "merged.jsonl", order) == ["0", "1", "2"]


@pytest.mark.parametrize("part", ["0/2", "3/2", "1", "a/b", "1/0"])
def test_a_shard_that_is_none_is_refused(part: str) -> None:
    with pytest.raises(UsageError, match="--shard"):
        shard([], part)


def test_two_steps_are_one_answer(room: Path) -> None:
    engine, file = Echo(), read_questions(room / "questions.jsonl")
    header = Header.of(engine.card, Sampling(), file.sha256, "two-step")
    answer_questions(
        engine, file.asked[:2], room / "images", room / "a.jsonl", Sampling(), header,
        make=in_two_steps(Sampling(max_new_tokens=100)), said=both_steps(),
    )  # fmt: skip
    asked = "What is 0?\u2028Say."
    reasoning = f"|{asked}|0 pictures"
    wanted = f"{reasoning}\n The answer is {reasoning} ###\nANSWER:|{asked}|0 pictures"
    assert rows_of(room / "a.jsonl")[0]["text"] == wanted
    assert {(one.max_new_tokens, one.stops) for one in engine.samplings} == {(100, ("###",)), (64, ("###",))}


@pytest.mark.parametrize(
    "rows",
    [
        '{"question_id": 1}\n',
        '{"text": "a"}\n',
        '{"question_id": 1, "text": "a"}\n{"question_id": "1", "text": "b"}\n',
        '{"question_id": 1, "text": "a", "image": "../secret.png"}\n',
        '{"question_id": 1, "text": "a", "image": "/etc/passwd"}\n',
        "",
        "[1]",
        '[{"id": "1", "conversations": []}]',
    ],
)
def test_questions_that_are_none_are_refused(tmp_path: Path, rows: str) -> None:
    (tmp_path / "q.jsonl").write_text(rows, encoding="utf-8")
    with pytest.raises(DataError, match=r"q\.jsonl"):
        read_questions(tmp_path / "q.jsonl")


def test_the_command_answers_with_the_embedded_model_and_tells_what_failed(room: Path) -> None:
    (room / "images" / "3.png").write_bytes(b"no picture")
    asked = ["vqa", "questions.jsonl", "--images", "images", "-o", "out.jsonl", "--max-new-tokens", "5"]
    result = CliRunner().invoke(cli.app, [*asked, "--device", "cpu"])
    assert result.exit_code == 3, result.output
    assert "9 of 12 questions answered" in result.stdout and "3 could not be answered" in result.stderr
    again = CliRunner().invoke(cli.app, [*asked, "--device", "cpu"])
    assert again.exit_code == 3 and "9 of them from before" in again.stdout


@needs_fixtures
def test_mmbench_is_asked_row_by_row_as_the_original_asks(tmp_path: Path) -> None:
    """Prompts, options and letters are those of the fixture's answer file; each row's picture is its own or named."""
    rows = read_mmbench(FOLDER / "mmbench" / "mmbench_dev.tsv")
    wanted = rows_of(FOLDER / "mmbench" / "answers.jsonl")
    engine, asked = Echo(), [mmbench_asking.asked(row) for row in rows]
    header = Header.of(engine.card, Sampling(), "", "mmbench en")
    make = mmbench_asking.with_pictures(rows, "en")
    out = tmp_path / "a.jsonl"
    answer_questions(engine, asked, Path(), out, Sampling(), header, make=make)
    failed = {str(row["question_id"]) for row in rows_of(errors_file(out))} if errors_file(out).exists() else set()
    made = {row["question_id"]: row for row in rows_of(out)}
    for row in wanted:
        if str(row["question_id"]) in failed:
            continue  # the fixture's picture is bytes that are none
        mine = made[row["question_id"]]
        assert {key: mine[key] for key in ("prompt", "round_id", "options", "option_char")} == {
            key: row[key] for key in ("prompt", "round_id", "options", "option_char")
        }
        said = f"|{row['prompt']}\nAnswer with the option's letter from the given choices directly.|1 pictures"
        assert mine["text"] == said
    assert len(made) > len(rows) / 2
