"""What is sent to which kind of server: fields, turns, pictures in their places and forms, a begun answer."""

from __future__ import annotations

import base64
import hashlib
import io
from typing import Any

import pytest
from PIL import Image

from llava_engine.contract import Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import (
    ConversationError,
)
from llava_engine.pictures.opening import Picture, open_picture
from tests.fakes.fake_picture import fake_picture
from tests.fakes.far_server import FarServer
from tests.fakes.recorded_streams import RECORDED
from tests.llava_engine.backends.remote.asking import ASKED, opened, text_of

OURS, VLLM, OLLAMA, OTHER = (RECORDED[kind] for kind in ("llava", "vllm", "ollama", "openai"))


def test_only_what_is_not_as_everywhere_is_sent_but_for_the_temperature() -> None:
    with FarServer(OURS) as server:
        engine = opened(server)
        text_of(engine)
        text_of(engine, sampling=Sampling(0.7, 0.9, 40, 1.1, 7, None, ("\n",)))
        plain, set_ = (one.body for one in server.questions)
    del plain["messages"], set_["messages"]
    rest = {"model": OURS.model, "stream": True, "stream_options": {"include_usage": True}}
    assert plain == {**rest, "temperature": 0, "max_tokens": 256}
    more = {"top_p": 0.9, "top_k": 40, "repetition_penalty": 1.1, "seed": 7, "stop": ["\n"]}
    assert set_ == {**rest, "temperature": 0.7, **more}


def test_llama_server_calls_the_penalty_by_another_name() -> None:
    with FarServer(RECORDED["llama-server"]) as server:
        text_of(opened(server), sampling=Sampling(repetition_penalty=1.1))
        assert server.questions[0].body["repeat_penalty"] == 1.1


def test_system_turns_and_pictures_in_their_places() -> None:
    red, blue = fake_picture("a.png", "red"), fake_picture("b.png", "blue")
    conversation = Conversation(
        (
            Message.user("Which is red?", [red, blue]),
            Message.assistant("The first."),
            Message("user", "This one here, not this.", (blue, red), (8, 18)),
            Message.assistant("No."),
            Message.user("And now?"),
        ),
        "Be brief.",
    )
    with FarServer(OURS) as server:
        text_of(opened(server), conversation)
        messages = server.questions[0].body["messages"]

    def url(picture: Picture) -> dict[str, Any]:
        data = base64.b64encode(picture.data).decode()
        return {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{data}"}}

    def words(text: str) -> dict[str, Any]:
        return {"type": "text", "text": text}

    assert messages == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [url(red), url(blue), words("Which is red?")]},
        {"role": "assistant", "content": "The first."},
        {"role": "user", "content": [words("This one"), url(blue), words(" here, not"), url(red), words(" this.")]},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "And now?"},
    ]


def test_no_system_text_and_an_empty_one_are_two_things() -> None:
    with FarServer(OURS) as server:
        engine = opened(server)
        text_of(engine, Conversation((Message.user("a"),), None))
        text_of(engine, Conversation((Message.user("a"),), ""))
        roles = [[message["role"] for message in one.body["messages"]] for one in server.questions]
    assert roles == [["user"], ["system", "user"]]


def _picture(kind: str, mode: str = "RGB", **more: Any) -> bytes:
    file = io.BytesIO()
    Image.new(mode, (6, 4), (200, 10, 10, 0) if mode == "RGBA" else None).save(file, kind, **more)
    return file.getvalue()


def _sideways() -> bytes:
    exif = Image.Exif()
    exif[0x0112] = 6
    return _picture("JPEG", exif=exif)


@pytest.mark.parametrize(
    ("data", "as_it_is"),
    [
        (_picture("PNG"), True),
        (_picture("JPEG"), True),
        (_picture("TIFF"), False),
        (_picture("BMP"), False),
        (_picture("PNG", "RGBA"), False),
        (_sideways(), False),
    ],
    ids=["PNG", "JPEG", "TIFF", "BMP", "see-through", "sideways"],
)
def test_a_server_gets_the_bytes_or_a_png_of_what_we_see(data: bytes, as_it_is: bool) -> None:
    picture = open_picture(data)
    with FarServer(VLLM) as server:
        text_of(opened(server), Conversation((Message.user("?", [picture]),)))
        url = server.questions[0].body["messages"][0]["content"][0]["image_url"]["url"]
    kind, _, encoded = url.partition(";base64,")
    sent = base64.b64decode(encoded)
    assert (sent == data) == as_it_is
    if not as_it_is:
        assert kind == "data:image/png"
        with Image.open(io.BytesIO(sent)) as image:
            assert image.mode == "RGB"
            assert image.size == picture.size
            assert image.tobytes() == picture.image.tobytes()


def test_our_own_server_gets_the_bytes_that_its_cache_knows_a_picture_by() -> None:
    picture = open_picture(_sideways())
    with FarServer(OURS) as server:
        text_of(opened(server), Conversation((Message.user("?", [picture]),)))
        url = server.questions[0].body["messages"][0]["content"][0]["image_url"]["url"]
    assert hashlib.sha256(base64.b64decode(url.partition(",")[2])).hexdigest() == picture.sha256


def test_a_begun_answer_is_the_last_message_where_that_is_understood() -> None:
    for recorded in (OURS, VLLM, RECORDED["sglang"]):
        with FarServer(recorded) as server:
            text_of(opened(server), begun="It is a")
            body = server.questions[0].body
        assert body["messages"][-1] == {"role": "assistant", "content": "It is a"}
        assert body["continue_final_message"] is True
        assert body["add_generation_prompt"] is False
    with FarServer(OLLAMA) as server:
        engine = opened(server)
        assert "begun" in engine.card.cannot
        with pytest.raises(ConversationError):
            text_of(engine, begun="It is a")


def test_a_conversation_that_ends_with_no_question_is_refused() -> None:
    with FarServer(OURS) as server:
        engine = opened(server)
        for conversation in (Conversation(), ASKED.then(Message.assistant("A dog."))):
            with pytest.raises(ConversationError):
                text_of(engine, conversation)
