"""The tokenizer of the tiny model: Llama's kind, read alike by transformers and by the engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import get
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from training.embedded.picture_world.phrases import plural_of
from training.embedded.picture_world.scenes import COLOUR_NAMES, KINDS
from training.embedded.settings import TinyShape
from training.embedded.tiny import make_tokenizer
from training.embedded.writing import PICTURE


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("tokenizer")
    make_tokenizer(TinyShape(), made, seed=0, lines=3000)
    return made


def test_kinds_and_colours_are_one_piece(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    for word in (*KINDS, *map(plural_of, KINDS), *COLOUR_NAMES):
        assert len(tokenizer.encode(f" {word}", first=False)) == 1, word


@pytest.mark.parametrize(
    "text", ["Is it red?", "Zürich, 42 %", "日本 🙂", "  two  spaces\n", "</s> is no mark <image>"]
)
def test_any_text_comes_back(folder: Path, text: str) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    ids = tokenizer.encode(text, first=False)
    assert b"".join(map(tokenizer.token_bytes, ids)).decode() == text
    assert not set(tokenizer.special_ids.values()) & set(ids)


def test_ids_are_llama_s_and_within_the_shape(folder: Path) -> None:
    tokenizer = Tokenizer.from_folder(folder)
    assert (tokenizer.special_ids["<unk>"], tokenizer.bos_id, tokenizer.eos_id) == (0, 1, 2)
    assert tokenizer.token_bytes(3) == b"\x00" and tokenizer.token_bytes(258) == b"\xff"
    assert tokenizer.vocabulary <= TinyShape().vocabulary


def test_transformers_reads_the_same_ids(folder: Path) -> None:
    transformers = pytest.importorskip("transformers")
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    ours = Tokenizer.from_folder(folder)
    conversation = Conversation(
        (
            Message.user("What is in this picture?", [PICTURE]),
            Message.assistant("There is a red circle."),
            Message.user("And what colour is it?"),
        ),
        system="",
    )
    ids = assemble(spans(conversation, get("v1")), ours, [1], ours.special_ids["<image>"]).ids
    text = "USER: <image>\nWhat is in this picture? ASSISTANT: There is a red circle.</s>"
    text += "USER: And what colour is it? ASSISTANT:"
    assert theirs(text).input_ids == list(ids)
