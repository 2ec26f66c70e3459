"""The evaluation against engines that are no engines: a blind one, and one that remembers what it was shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import permutations
from typing import Any

import pytest

from llava_engine.contract import GREEDY, Progress, Reply, Sampling, TokenCount, never
from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import ConversationError
from tests.fakes.fake_engine import FAKE_CARD
from training.embedded.picture_world.talk import DO_NOT_KNOW
from training.evaluation.pictures import COLUMNS, evaluate
from training.evaluation.table import Score, Table


class Blind:
    """Says the same to everything, and keeps what it heard: the questions of a conversation, and pictures' hashes."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.heard: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.card = replace(FAKE_CARD, name="blind", slots=3)

    def stream(
        self,
        conversation: Conversation,
        sampling: Sampling = GREEDY,
        *,
        begun: str = "",
        cancelled: Callable[[], bool] = never,
    ) -> Iterator[str | Progress | Reply]:
        shown = conversation.pictures
        said = [message.text for message in conversation.messages]
        assert set(said[1::2]) <= {self.said} and len(shown) <= 2
        self.heard.append((tuple(said[::2]), tuple(picture.sha256 for picture in shown)))
        yield Progress("reading", 0, 1)
        yield self.said
        yield Reply(self.said, (), "stop", "", 0, 0, 0, (), 0.0, 0.0)

    def count(self, conversation: Conversation, *, begun: str = "") -> TokenCount | None:
        return None

    def close(self) -> None:
        pass


class Broken(Blind):
    """Answers nothing."""

    def stream(self, conversation: Conversation, sampling: Sampling = GREEDY, **more: Any) -> Iterator[Any]:
        raise ConversationError("This can not be written.")


def test_a_blind_model_gets_little_and_honest_talk_is_counted_apart() -> None:
    table = evaluate(Blind(DO_NOT_KNOW), 6, seed=1)
    assert list(table.scores) == [column.name for column in COLUMNS]
    for column in table.scores:
        assert table.scores[column]["unknowable"] == Score(6, 6)
        assert table.total(column).right == 0
        assert table.total(column).asked > 40
        assert any(family.startswith("follow_") for family in table.scores[column])
        assert table.scores[column]["compare"] == Score(0, 6)
    assert table.mistakes
    assert all(mistake.said == DO_NOT_KNOW for mistake in table.mistakes)


def test_the_control_asks_the_same_about_other_pictures() -> None:
    engine = Blind("Yes.")
    evaluate(engine, 4, seed=3, columns=[COLUMNS[0], COLUMNS[-1]])
    half = len(engine.heard) // 2
    new, control = Counter(engine.heard[:half]), Counter(engine.heard[half:])
    earlier = {shown[0] for _, shown in new if len(shown) == 2}  # of questions about two: the same in the control
    pictures = sorted({one for _, shown in new for one in shown} - earlier)
    assert len(pictures) == len(earlier) == 4
    # For some way to show each picture's questions with another picture, what was heard is the same.
    swaps = [dict(zip(pictures, others, strict=True)) for others in permutations(pictures)]
    apart = [swap for swap in swaps if all(one != other for one, other in swap.items())]
    assert any(
        Counter({(said, tuple(swap.get(one, one) for one in shown)): n for (said, shown), n in new.items()}) == control
        for swap in apart
    )


def test_dialogues_go_on_with_what_was_said() -> None:
    engine = Blind("Yes.")
    evaluate(engine, 4, seed=3, columns=COLUMNS[:1])
    dialogues = [(said, shown) for said, shown in engine.heard if len(said) > 1]
    assert {len(shown) for _, shown in dialogues} == {1, 2}
    for said, shown in dialogues:
        assert (said[:-1], shown[:1]) in engine.heard


def test_progress_tells_each_picture_and_an_engine_that_fails_ends_it() -> None:
    told: list[tuple[str, int, int]] = []
    evaluate(Blind("Yes."), 3, columns=COLUMNS[:1], on_progress=lambda *now: told.append(now))
    assert told == [("new pictures", done, 3) for done in (1, 2, 3)]
    with pytest.raises(ConversationError):
        evaluate(Broken("Yes."), 3)


def test_same_seed_same_questions() -> None:
    one, other = Blind("Yes."), Blind("Yes.")
    assert evaluate(one, 3, seed=5) == evaluate(other, 3, seed=5)
    assert Counter(one.heard) == Counter(other.heard)


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
