"""The evaluation against engines that are no engines: a blind one, and one that remembers what it was shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from llava_engine.contract import Reply
from llava_engine.pictures.opening import Picture
from training.embedded.picture_world.talk import DO_NOT_KNOW
from training.evaluation.pictures import COLUMNS, evaluate
from training.evaluation.table import Score, Table


class Blind:
    """Says the same to everything, and keeps (question, picture's hash)."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.heard: list[tuple[str, str]] = []

    def answer(self, questions: Sequence[tuple[str, Sequence[Any]]], **sampling: Any) -> list[Reply]:
        for text, pictures in questions:
            self._hear(text, pictures)
        return [Reply(self.said, (), "stop", text, 0, 0, 0, (), 0.0, 0.0) for text, _ in questions]

    def chat(self, **sampling: Any) -> Blind:
        return self

    def send(self, text: str, pictures: Sequence[Any] = ()) -> Iterator[str]:
        self._hear(text, pictures)
        yield from (self.said[:3], self.said[3:])

    def _hear(self, text: str, pictures: Sequence[Any]) -> None:
        assert all(isinstance(picture, Picture) for picture in pictures)
        self.heard.append((text, pictures[0].sha256 if pictures else ""))


def test_a_blind_model_gets_little_and_honest_talk_is_counted_apart() -> None:
    table = evaluate(Blind(DO_NOT_KNOW), 6, seed=1)
    assert list(table.scores) == [column.name for column in COLUMNS]
    for column in table.scores:
        assert table.scores[column]["unknowable"] == Score(6, 6)
        assert table.total(column).right == 0
        assert table.total(column).asked > 40
        assert any(family.startswith("follow_") for family in table.scores[column])
    assert table.mistakes
    assert all(mistake.said == DO_NOT_KNOW for mistake in table.mistakes)


def test_the_control_asks_the_same_about_other_pictures() -> None:
    engine = Blind("Yes.")
    evaluate(engine, 4, seed=3, columns=[COLUMNS[0], COLUMNS[-1]])
    half = len(engine.heard) // 2
    new, control = engine.heard[:half], engine.heard[half:]
    assert [text for text, _ in new] == [text for text, _ in control]
    assert all(shown != other for (_, shown), (_, other) in zip(new, control, strict=True) if shown)
    assert {shown for _, shown in new} == {shown for _, shown in control}


def test_same_seed_same_questions() -> None:
    one, other = Blind("Yes."), Blind("Yes.")
    assert evaluate(one, 3, seed=5) == evaluate(other, 3, seed=5)
    assert one.heard == other.heard


def test_table_by_hand() -> None:
    table = Table(
        {
            "new": {"exist": Score(9, 10), "talk": Score(0, 5)},
            "other": {"exist": Score(1, 3), "follow_a": Score(1, 2), "follow_b": Score(2, 2)},
        },
        apart=frozenset({"talk"}),
    )
    lines = table.markdown().splitlines()
    assert lines[0] == "| family | new | other | questions |"
    assert lines[2] == "| exist | 90.0 | 33.3 | 13 |"
    assert lines[3] == "| follow-ups | - | 75.0 | 4 |"
    assert lines[4] == "| talk * | 0.0 | - | 5 |"
    assert lines[5] == "| **all** | **90.0** | **57.1** | 17 |"
    assert table.as_json()["all"] == {"new": 90.0, "other": 57.14}
