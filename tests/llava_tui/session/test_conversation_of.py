"""What of a chat's branch reaches the model, and in which order."""

from __future__ import annotations

from llava_engine.conversation.conversation import Conversation
from llava_engine.errors import StorageError
from llava_engine.pictures.opening import Picture
from llava_tui.history.turns import PictureRef, Turn, TurnStatus
from llava_tui.session.conversation_of import conversation_of
from tests.fakes.fake_picture import fake_picture


def ref(name: str) -> PictureRef:
    return PictureRef(sha256=name, name=name, media_type="image/png", width=8, height=6, size=100)


def question(text: str, *pictures: str) -> Turn:
    return Turn(0, 1, None, "user", text, "complete", tuple(ref(name) for name in pictures), None, "", 0.0)


def answer(text: str, status: TurnStatus = "complete") -> Turn:
    return Turn(0, 1, None, "assistant", text, status, (), None, "", 0.0)


def opened(ref: PictureRef) -> Picture:
    if ref.name == "gone":
        raise StorageError("it is gone")
    return fake_picture(ref.name)


def talk(*turns: Turn) -> list[tuple[str, str, list[str]]]:
    """Role, text and picture names of what the model gets."""
    conversation = conversation_of(turns, opened, lambda ref, error: None)
    return [(m.role, m.text, [picture.name for picture in m.pictures]) for m in conversation.messages]


def test_turns_are_messages_with_their_pictures() -> None:
    assert talk(question("What is it?", "a", "b"), answer("A cat."), question("Sure?")) == [
        ("user", "What is it?", ["a", "b"]),
        ("assistant", "A cat.", []),
        ("user", "Sure?", []),
    ]


def test_a_partial_answer_stays_what_was_said() -> None:
    for status in ("cancelled", "interrupted", "failed"):
        assert talk(question("q"), answer("half", status), question("r"))[1] == ("assistant", "half", [])


def test_questions_without_a_word_of_an_answer_are_read_with_the_next() -> None:
    assert talk(question("one", "a"), answer("", "cancelled"), question("two"), question("three", "b")) == [
        ("user", "one\n\ntwo\n\nthree", ["a", "b"])
    ]
    assert talk(question("", "a"), question("what is it?")) == [("user", "what is it?", ["a"])]


def test_what_failed_without_a_word_does_not_fail_the_next_question() -> None:
    assert talk(question("ok"), answer("yes"), question("too long", "a"), answer("", "failed"), question("short")) == [
        ("user", "ok", []),
        ("assistant", "yes", []),
        ("user", "short", []),
    ]


def test_a_failed_question_can_be_asked_again() -> None:
    assert talk(question("too long", "a")) == [("user", "too long", ["a"])]


def test_missing_pictures_are_left_out_and_told() -> None:
    told: list[str] = []
    conversation = conversation_of(
        [question("q", "a", "gone", "b")], opened, lambda ref, error: told.append(f"{ref.name}: {error.cause}")
    )
    assert [picture.name for picture in conversation.pictures] == ["a", "b"]
    assert told == ["gone: it is gone"]


def test_the_system_text_goes_with_it() -> None:
    assert conversation_of([], opened, lambda ref, error: None, "Be brief.") == Conversation((), "Be brief.")
