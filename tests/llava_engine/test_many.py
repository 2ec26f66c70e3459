"""Many questions of any engine: each once, a bounded number open, and no trouble of one is another's."""

from __future__ import annotations

import threading
import time
import traceback
import weakref
from asyncio import CancelledError
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import BusyError, ContextOverflowError, EngineAwayError, OutOfMemoryError, PictureError
from llava_engine.many import AHEAD, answer_all
from llava_engine.questions import Answered, Open, Opener, Question
from tests.fakes.crowd_engine import PLAN, CrowdEngine
from tests.fakes.fake_picture import png_bytes

Error = Callable[[], Exception]
Trouble = tuple[Error | None, tuple[Error, ...], type[Exception] | None]


# Made anew each time: an error that is raised holds on to what was being asked.
def away() -> Exception:
    return EngineAwayError("far:8000 can not be reached.", "Is it running?")


def busy() -> Exception:
    return BusyError("far:8000 is busy.", 0.0)


def too_long() -> Exception:
    return ContextOverflowError(9000, 4096)


def full() -> Exception:
    return OutOfMemoryError("Memory ran out.", "", PLAN)


def no_picture() -> Exception:
    return PictureError("no such picture")


@dataclass
class Opened:
    """Counts the conversations that are alive."""

    now: int = 0
    most: int = 0

    def make(self, text: str, error: Error | None = None) -> Conversation:
        conversation = Conversation((Message.user(text),))
        self.now += 1
        self.most = max(self.most, self.now)
        weakref.finalize(conversation, self._gone)
        if error is not None:
            raise error()
        return conversation

    def _gone(self) -> None:
        self.now -= 1


def plain(*texts: str) -> list[Question[str]]:
    return [Question.about(text, text) for text in texts]


def texts_of(answers: Iterable[Answered[str]]) -> dict[str, str]:
    return {one.key: one.outcome.text for one in answers if isinstance(one.outcome, Reply)}


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith("llava-many")]


def taken(questions: Iterable[Question[int]], count: list[int]) -> Iterator[Question[int]]:
    for question in questions:
        count.append(1)
        yield question


# Which error stays, by what happens at each try and before it.
TROUBLES: list[Trouble] = [
    (None, (), None),
    (None, (busy,), None),
    (None, (away, away), None),
    (None, (full,), None),
    (None, (too_long,), ContextOverflowError),
    (None, (ValueError,), ValueError),
    (no_picture, (), PictureError),
    (ZeroDivisionError, (), ZeroDivisionError),
]


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(st.sampled_from(TROUBLES), st.integers(0, 4)), max_size=24),
    slots=st.integers(2, 5),
    window=st.integers(1, 30),
    leave_after=st.none() | st.integers(1, 24),
    leave_by=st.sampled_from(["close", "cancel"]),
)
def test_every_question_comes_back_once(
    rows: list[tuple[Trouble, int]],
    slots: int,
    window: int,
    leave_after: int | None,
    leave_by: str,
) -> None:
    opened, pulled = Opened(), [1][:0]
    questions = []
    for key, ((early, _, _), picture) in enumerate(rows):

        def conversation(opening: Open, text: str = f"{key}", early: Error | None = early) -> Conversation:
            return opened.make(text, early)

        questions.append(Question(key, conversation, place=(f"{picture}", key)))
    engine = CrowdEngine(slots, {f"{key}": late for key, ((_, late, _), _) in enumerate(rows)})
    came: dict[int, type[Exception] | str] = {}
    answers = answer_all(
        engine,
        taken(questions, pulled),
        window=window,
        cancelled=lambda: leave_by == "cancel" and len(came) == leave_after,
        away_waits_s=(0, 0),
    )
    for one in answers:
        assert one.key not in came
        came[one.key] = one.outcome.text if isinstance(one.outcome, Reply) else type(one.outcome)
        assert len(pulled) <= len(came) + slots + AHEAD + window
        if leave_by == "close" and len(came) == leave_after:
            break
    answers.close()  # type: ignore[attr-defined]
    whole = leave_after is None or leave_after >= len(rows)
    assert len(came) == (len(rows) if whole else leave_after)
    for key, outcome in came.items():
        expected = rows[key][0][2] or f"{key}!"
        assert outcome == expected or (
            outcome is OutOfMemoryError and full in rows[key][0][1]
        )  # it may be alone by then
    assert engine.most <= slots
    assert opened.most <= slots + AHEAD
    assert not threads()


def test_as_many_are_asked_at_once_as_the_engine_has_slots() -> None:
    engine = CrowdEngine(4, company=4)
    texts = [f"{number}" for number in range(12)]
    assert texts_of(answer_all(engine, plain(*texts))) == {text: f"{text}!" for text in texts}
    assert engine.most == 4


def test_questions_about_one_picture_are_neighbours_and_open_it_once(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(png_bytes())
    seen: dict[str, set[int]] = {"a.png": set(), "b.png": set()}

    def about(key: str, picture: str) -> Question[str]:
        def conversation(opening: Open) -> Conversation:
            shown = opening(tmp_path / picture)
            seen[picture].add(id(shown))
            kept.append(shown)
            return Conversation((Message.user(key, [shown]),))

        return Question(key, conversation, place=(picture, len(key)))

    kept: list[object] = []
    engine = CrowdEngine(1)
    questions = [about(f"{number}", "ab"[number % 2] + ".png") for number in range(40)]
    assert len(texts_of(answer_all(engine, questions))) == 40
    shown = [int(text) % 2 for text in engine.asked]
    assert sum(one != other for one, other in pairwise(shown)) < 6  # 39 as they came; one that opens late may be passed
    assert [len(pictures) for pictures in seen.values()] == [1, 1]


def test_pictures_are_opened_when_their_turn_is_near(tmp_path: Path) -> None:
    (tmp_path / "there.png").write_bytes(png_bytes())
    late = tmp_path / "z.png"
    questions = [Question.about(f"{number}", "what?", [tmp_path / "there.png"]) for number in range(20)]
    questions += [Question.about("none", "what?", [tmp_path / "none.png"]), Question.about("late", "what?", [late])]
    outcomes = {}
    for one in answer_all(CrowdEngine(1), questions):
        if not outcomes:
            late.write_bytes(png_bytes())  # not there before the first answer
        outcomes[one.key] = one.outcome
    assert isinstance(outcomes.pop("none"), PictureError)
    assert len(outcomes) == 21 and all(isinstance(outcome, Reply) for outcome in outcomes.values())


def test_an_error_that_is_kept_keeps_no_pictures() -> None:
    opened = Opened()
    engine = CrowdEngine(1, {"late": [ValueError], "long": [too_long]})
    texts = {"early": no_picture, "late": None, "bug": ZeroDivisionError, "long": None}
    questions = [Question(text, lambda _, t=text, e=error: opened.make(t, e)) for text, error in texts.items()]
    kept = list(answer_all(engine, questions))
    assert {type(one.outcome) for one in kept} == {PictureError, ValueError, ZeroDivisionError, ContextOverflowError}
    assert opened.most and not opened.now
    bug = next(one.outcome for one in kept if one.key == "bug")
    assert isinstance(bug, Exception) and "in make" in "".join(traceback.format_exception(bug))


def test_where_memory_runs_out_fewer_are_asked_at_once() -> None:
    engine = CrowdEngine(8, memory=3, company=8)
    told: list[str] = []
    texts = [f"{number}" for number in range(12)]
    assert texts_of(answer_all(engine, plain(*texts), tell=told.append)) == {text: f"{text}!" for text in texts}
    expected = [f"Memory ran out: {width} at once from now on." for width in (4, 2)]
    assert told and told == expected[: len(told)]  # whether four ever come together is chance; each is told once


def test_a_question_that_does_not_fit_alone_is_one_bad_row() -> None:
    engine = CrowdEngine(4, {"big": [full] * 9})
    outcomes = {one.key: one.outcome for one in answer_all(engine, plain("a", "big", "b", "c"))}
    assert isinstance(outcomes.pop("big"), OutOfMemoryError)
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values())


def test_a_busy_engine_is_waited_for_and_that_is_told() -> None:
    engine = CrowdEngine(1, {"a": [busy, busy]})
    told: list[str] = []
    assert texts_of(answer_all(engine, plain("a", "b"), tell=told.append)) == {"a": "a!", "b": "b!"}
    assert told == ["far:8000 is busy. Asking again in 0 s."] * 2


def test_an_engine_that_stays_away_ends_it_and_one_that_breaks_off_once_does_not() -> None:
    once = CrowdEngine(1, {"a": [away], "c": [away] * 3})
    outcomes = {one.key: one.outcome for one in answer_all(once, plain("a", "b", "c", "d"), away_waits_s=(0,))}
    assert isinstance(outcomes.pop("c"), EngineAwayError)  # it was tried twice
    assert all(isinstance(outcome, Reply) for outcome in outcomes.values()) and once.asked.count("c") == 2

    texts = [f"{number}" for number in range(50)]
    gone = CrowdEngine(2, {text: [away] * 9 for text in texts[10:]})
    came = []
    with pytest.raises(EngineAwayError, match="can not be reached"):
        for one in answer_all(gone, plain(*texts), away_waits_s=(0,)):
            came.append(one)
    assert len(texts_of(came)) == 10
    assert len(gone.asked) < 25 and not threads()


def test_what_follows_from_an_answer_is_asked_next() -> None:
    def then(conversation: Conversation, reply: Reply) -> Question[str]:
        further = conversation.then(Message.assistant(reply.text)).then(Message.user("why?"))
        return Question("a, then", lambda opening: further, begun="Because", sampling=Sampling(max_new_tokens=3))

    first = Question("a", lambda opening: Conversation((Message.user("a"),)), then=then)
    engine = CrowdEngine(1)
    assert texts_of(answer_all(engine, [first, *plain("b", "c", "d")]))["a, then"] == "why?!"
    assert engine.asked[:2] == ["a", "why?"] and engine.begun[:2] == ["", "Because"]


def test_a_caller_who_takes_nothing_is_answered_no_more() -> None:
    engine = CrowdEngine(2)
    answers = answer_all(engine, plain(*(f"{number}" for number in range(100))))
    next(answers)
    deadline = time.monotonic() + 10
    while len(engine.asked) < 2 + AHEAD and time.monotonic() < deadline:
        time.sleep(0.001)
    assert len(engine.asked) <= 2 + AHEAD
    answers.close()  # type: ignore[attr-defined]
    assert not threads()


@pytest.mark.parametrize("way", ["cancel", "close", "questions fail"])
def test_leaving_ends_what_is_being_answered(way: str) -> None:
    left = threading.Event()

    def questions() -> Iterator[Question[str]]:
        yield from plain("a", "hang", "b")
        if way == "questions fail":
            raise OSError("the list broke off")
        yield from plain("c", "d", "e", "f", "g")

    engine = CrowdEngine(2)
    came = []
    answers = answer_all(engine, questions(), cancelled=left.is_set, window=1)
    try:
        for one in answers:
            came.append(one.key)
            if way == "cancel" and len(came) == 3:
                left.set()
            if way == "close" and len(came) == 3:
                answers.close()  # type: ignore[attr-defined]
    except OSError:
        assert way == "questions fail"
    assert "hang" not in came
    assert not threads()


@pytest.mark.parametrize("kind", [SystemExit, KeyboardInterrupt, CancelledError])
@pytest.mark.parametrize("where", ["engine", "picture"])
def test_what_is_no_error_of_a_question_ends_all_and_loses_none(kind: type[BaseException], where: str) -> None:
    def make(opening: Open) -> Conversation:
        raise kind

    engine = CrowdEngine(2, {"b": [kind]} if where == "engine" else {})
    questions = plain("a", "b", "c", "d")
    if where == "picture":
        questions[1] = Question("b", make)
    with pytest.raises(kind):
        list(answer_all(engine, questions))
    assert not threads()


def test_who_shows_a_picture_that_another_could_not_open_does_not_wait_for_it(tmp_path: Path) -> None:
    opener, path = Opener(4), str(tmp_path / "a.png")
    with patch("llava_engine.questions.opened", side_effect=SystemExit):
        for _ in range(2):
            with pytest.raises(SystemExit):
                opener(path)
