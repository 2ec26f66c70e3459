"""Messages as clients send them -> what the engine is asked."""

from __future__ import annotations

from typing import Any

import pytest

from llava_engine.server.settings import Settings
from tests.fakes.fake_picture import png_bytes
from tests.llava_engine.server.api import Api, api, error, fake, user

A, B = png_bytes("red"), png_bytes("blue")


def asked(*messages: dict[str, Any]) -> Any:
    """The conversation that reaches the engine."""
    server = api()
    response = server.chat({"messages": list(messages)})
    assert response.status_code == 200, response.text
    return server.engine.conversations[0]  # type: ignore[attr-defined]


def test_neighbours_of_one_role_are_joined_and_system_texts_are_one() -> None:
    conversation = asked(
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "One"},
        {"role": "user", "content": [{"type": "text", "text": "Two"}, {"type": "text", "text": "Three"}]},
        {"role": "assistant", "content": "Yes"},
        {"role": "assistant", "content": [{"type": "text", "text": "No"}, {"type": "refusal", "refusal": "Never"}]},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {"role": "user", "name": "Ann", "content": "Four"},
    )
    said = [(message.role, message.text) for message in conversation.messages]
    assert said == [("user", "One\nTwo\nThree"), ("assistant", "Yes\nNo\nNever"), ("user", "Four")]
    assert conversation.system == "Be short.\nBe kind."


def test_without_a_system_text_the_models_own_stands_and_an_empty_one_is_none() -> None:
    assert asked({"role": "user", "content": "x"}).system is None
    assert asked({"role": "system", "content": ""}, {"role": "user", "content": "x"}).system == ""


@pytest.mark.parametrize(
    ("parts", "text", "offsets"),
    [
        ((A, "What?"), "What?", None),
        (("What?", A), "What?", None),  # as most clients write it, who mean no place by it
        (("What?", A, B), "What?", None),
        ((A, B), "", None),
        (("Left:", A, "Right:", B), "Left:Right:", (5, 11)),
        ((A, "and", B, "differ?"), "anddiffer?", (0, 3)),
        (("Is", A, "blue?"), "Isblue?", (2,)),
        (("a", "b", A, "c", "d"), "a\nbc\nd", (3,)),
    ],
)
def test_pictures_between_texts_stay_where_they_are(
    parts: tuple[Any, ...], text: str, offsets: tuple[int, ...] | None
) -> None:
    (message,) = asked(user(*parts)).messages
    assert (message.text, message.picture_offsets) == (text, offsets)
    assert [picture.data for picture in message.pictures] == [part for part in parts if isinstance(part, bytes)]


def test_places_count_over_joined_messages() -> None:
    (message,) = asked(user("See", A), user("and", B), user("?")).messages
    assert (message.text, message.picture_offsets) == ("Seeand?", (3, 6))


def test_a_picture_may_be_a_bare_address() -> None:
    url = user(A)["content"][0]["image_url"]["url"]
    (message,) = asked({"role": "user", "content": [{"type": "image_url", "image_url": url}]}).messages
    assert message.pictures[0].data == A


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_show_pictures(role: str) -> None:
    response = api().chat({"messages": [user(A) | {"role": role}, {"role": "user", "content": "x"}]})
    assert error(response, 400, "invalid_value")["param"] == "messages[0].content[0]"


def test_a_last_message_of_the_assistants_is_how_the_answer_begins() -> None:
    server = api(["", " there"])
    body = {"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}
    assert server.chat(body).json()["choices"][0]["message"]["content"] == " there"
    assert server.engine.begun == ["Hello"]  # type: ignore[attr-defined]
    assert len(server.engine.conversations[0].messages) == 1  # type: ignore[attr-defined]


def test_there_must_be_something_to_answer() -> None:
    for messages in (
        [],
        [{"role": "system", "content": "x"}],
        [{"role": "assistant", "content": "Hello"}],
        [{"role": "user", "content": "x", "tool_calls": [{}]}],
    ):
        assert api().chat({"messages": messages}).status_code == 400


def test_a_conversation_that_is_sent_again_has_the_same_pictures_undecoded() -> None:
    server = Api(fake(["One"], ["Two"]), Settings())
    server.chat({"messages": [user(A, "What?")]})
    server.chat({"messages": [user(A, "What?"), {"role": "assistant", "content": "One"}, user(B, "And?")]})
    first, second = (conversation.pictures for conversation in server.engine.conversations)  # type: ignore[attr-defined]
    assert [picture.sha256 for picture in second][:1] == [picture.sha256 for picture in first]


def test_a_picture_that_is_shown_several_times_is_there_once() -> None:
    server = Api(fake(["One"]), Settings())
    server.chat({"messages": [user(A, "What?", A, B, A)]})
    first, second, other, last = server.engine.conversations[0].pictures  # type: ignore[attr-defined]
    assert first is second is last is not other
