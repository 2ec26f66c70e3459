"""The model that comes along sees what plain Pillow calls draw, and is a checkpoint that transformers opens too."""

from __future__ import annotations

import pytest
import torch
from PIL import Image, ImageDraw

import llava_engine
from llava_engine.checkpoints.catalog import EMBEDDED
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.engine import Engine
from tests.llava_engine.tiny import oracle


@pytest.fixture(scope="module")
def engine() -> Engine:
    return llava_engine.load()


def circle_and_square() -> Image.Image:
    image = Image.new("RGB", (400, 300), "white")
    draw = ImageDraw.Draw(image)
    draw.ellipse((40, 90, 160, 210), fill="red")
    draw.rectangle((240, 95, 350, 205), fill="blue")
    return image


def two_triangles() -> Image.Image:
    image = Image.new("RGB", (300, 420), "black")
    draw = ImageDraw.Draw(image)
    for top in (40, 240):
        draw.polygon([(150, top), (230, top + 140), (70, top + 140)], fill="yellow")
    return image


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is in this picture?", ("red circle", "blue square")),
        ("What colour is the square?", ("blue",)),
        ("How many shapes are there?", ("two",)),
        ("Is there a star?", ("No",)),
        ("Is there a red circle?", ("Yes",)),
        ("Where is the circle?", ("left",)),
        ("What is to the right of the circle?", ("blue square",)),
        ("Who painted it?", ("can't tell",)),
    ],
)
def test_it_sees_a_circle_and_a_square(engine: Engine, question: str, words: tuple[str, ...]) -> None:
    [reply] = engine.answer([(question, [circle_and_square()])])
    assert all(word in reply.text for word in words), reply.text


def test_it_follows_up_and_sees_the_picture_that_is_shown(engine: Engine) -> None:
    chat = engine.chat()
    said = "".join(chat.send("How many triangles are there?", pictures=[two_triangles()]))
    assert "two" in said, said
    assert "yellow" in "".join(chat.send("What colour are they?"))
    [other] = engine.answer([("How many triangles are there?", [circle_and_square()])])
    assert "no triangle" in other.text, other.text


def test_a_begun_answer_goes_on_as_the_whole_one(engine: Engine) -> None:
    picture = llava_engine.open_picture(circle_and_square())
    asked = Conversation((Message.user("What is in this picture?", [picture]),))
    *_, whole = engine.stream(asked)
    assert isinstance(whole, Reply) and whole.text.count(" ") > 3
    for words in (1, 3, whole.text.count(" ")):
        begun = " ".join(whole.text.split(" ")[:words])
        *pieces, reply = engine.stream(asked, begun=begun)
        said = "".join(piece for piece in pieces if isinstance(piece, str))
        assert isinstance(reply, Reply) and begun + reply.text == whole.text == begun + said
        assert reply.prompt_tokens > whole.prompt_tokens and reply.prompt.endswith(begun)
    *_, other = engine.stream(asked, begun="There is no")
    assert isinstance(other, Reply) and not other.text.startswith("There")


def test_a_stop_text_that_begins_in_what_was_begun_ends_the_answer(engine: Engine) -> None:
    picture = llava_engine.open_picture(circle_and_square())
    asked = Conversation((Message.user("What is in this picture?", [picture]),))
    *_, whole = engine.stream(asked)
    assert isinstance(whole, Reply)
    first, second, third, *_ = whole.text.split(" ")
    sampling = Sampling(stops=(f"{second} {third}",))
    *_, cut = engine.stream(asked, sampling)
    *pieces, gone_on = engine.stream(asked, sampling, begun=f"{first} {second}")
    assert isinstance(cut, Reply) and isinstance(gone_on, Reply)
    assert (cut.text, cut.finish_reason) == (f"{first} ", "stop")
    assert (gone_on.text, gone_on.finish_reason) == ("", "stop")
    assert not [piece for piece in pieces if isinstance(piece, str)]


def test_without_a_picture_it_says_so(engine: Engine) -> None:
    [reply] = engine.answer([("What is in this picture?", [])])
    assert "no picture" in reply.text


def test_it_is_small_and_transformers_reads_it(engine: Engine) -> None:
    assert (EMBEDDED / "model.safetensors").stat().st_size < 12_000_000
    ids = torch.tensor([[1, 400, 500, 600]])
    with torch.no_grad():
        expected = oracle(EMBEDDED)(input_ids=ids).logits
        torch.testing.assert_close(engine._model(ids), expected, atol=1e-4, rtol=0)
