"""Batches of the picture world: the ids are those of chat, mentions point at their words."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.spans import spans
from llava_engine.conversation.templates import get
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.pictures.opening import Picture
from training.embedded.settings import TinyShape
from training.embedded.tiny import make_tokenizer
from training.embedded.vocabulary import IMAGE
from training.embedded.world_batches import BatchKey, WorldBatch, WorldSource, Writer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return make_tokenizer(TinyShape(), folder, seed=0, lines=3000)


@pytest.fixture(scope="module")
def source(tokenizer: Tokenizer) -> WorldSource:
    encoder = PromptEncoder(tokenizer, get("v1"), "", tokenizer.special_ids[IMAGE], lambda size: 64)
    return WorldSource(seed=3, writer=Writer(encoder), grid=8, pictures=2)


def rows(batch: WorldBatch) -> list[tuple[bool, list[int], list[int]]]:
    """(on the picture, prefix and ids without padding, targets) of each segment."""
    found = []
    for group in batch.groups:
        parts = group.segments
        for ids, targets, on in zip(
            parts.ids.flatten(0, 1), parts.targets.flatten(0, 1), parts.on_picture.flatten(), strict=True
        ):
            last = int(torch.nonzero(targets >= 0).max())
            lead = batch.prefix.tolist() if on else []
            found.append((bool(on), lead + ids[: last + 1].tolist() + [int(targets[last])], targets.tolist()))
    return found


def test_ids_are_those_of_chat(source: WorldSource, tokenizer: Tokenizer) -> None:
    """The engine is given the words back, turn by turn, as an app would; its ids are what was trained on."""
    image = Image.new("RGB", (4, 4))
    picture = Picture("a.png", image, (4, 4), "0", "image/png", b"")
    image_id = tokenizer.special_ids[IMAGE]
    for step in range(12):
        for _on, ids, _targets in rows(source[BatchKey(step)]):
            text = tokenizer_text(tokenizer, ids, image_id)
            messages = []
            for turn in text.split("USER:")[1:]:
                said, answer = turn.split("ASSISTANT:")
                shown = (picture,) if "<image>" in said else ()
                said = said.replace("<image>\n", "").removeprefix(" ").removesuffix(" ")
                messages += [Message.user(said, shown), Message.assistant(answer.strip())]
            conversation = Conversation(tuple(messages), system="")
            chat = assemble(spans(conversation, get("v1")), tokenizer, [64] * len(conversation.pictures), image_id)
            assert list(chat.ids) == ids


def tokenizer_text(tokenizer: Tokenizer, ids: list[int], image_id: int) -> str:
    """The text of a prompt, a picture's tokens as one <image>."""
    parts: list[str] = []
    for token in ids:
        if token == image_id:
            if not parts or parts[-1] != "<image>":
                parts.append("<image>")
        else:
            parts.append(tokenizer.token_bytes(token).decode())
    return "".join(parts).replace("<image> \n", "<image>\n").removeprefix(" ")


def test_mentions_end_at_their_words(source: WorldSource, tokenizer: Tokenizer) -> None:
    nouns = ("circle", "square", "thing", "shape", "item", "object", "figure")
    seen = 0
    for step in range(6):
        for group in source[BatchKey(step)].groups:
            flat = group.segments.ids.flatten()
            for place in group.mention_at.tolist():
                piece = tokenizer.token_bytes(int(flat[place])).decode().strip().lower().removesuffix("s")
                seen += piece in nouns
            assert group.mention_targets.shape == (len(group.mention_at), 3)
    assert seen > 100


def test_the_same_order_is_the_same_batch(source: WorldSource) -> None:
    first, second = source[BatchKey(5)], source[BatchKey(5)]
    assert torch.equal(first.pictures, second.pictures)
    assert all(torch.equal(a.segments.ids, b.segments.ids) for a, b in zip(first.groups, second.groups, strict=True))
    assert not torch.equal(first.pictures, source[BatchKey(6)].pictures)
