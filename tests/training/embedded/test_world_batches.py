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
from training.embedded.world_batches import BatchKey, WorldBatch, WorldSource
from training.embedded.writing import Writer


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Tokenizer:
    folder: Path = tmp_path_factory.mktemp("tokenizer")
    return make_tokenizer(TinyShape(), folder, seed=0, lines=3000)


@pytest.fixture(scope="module")
def source(tokenizer: Tokenizer) -> WorldSource:
    encoder = PromptEncoder(tokenizer, get("v1"), "", tokenizer.special_ids[IMAGE], lambda size: 64)
    return WorldSource(seed=3, writer=Writer(encoder), grid=8, pictures=2)


def rows(batch: WorldBatch) -> list[tuple[bool, list[int]]]:
    """(on the picture, prefix and ids without padding) of each segment, in order."""
    ids = torch.cat([group.ids.flatten() for group in batch.groups])
    asked, targets = batch.asked[batch.targets >= 0], batch.targets[batch.targets >= 0]
    number, start, found = 0, 0, []
    for group in batch.groups:
        length = group.ids.shape[-1]
        for on in group.on_picture.flatten().tolist():
            mine = batch.segment[batch.targets >= 0] == number
            places = asked[mine]
            assert start <= int(places.min()) and int(places.max()) < start + length
            last = int(places.max())
            assert ids[places[:-1] + 1].tolist() == targets[mine][:-1].tolist()
            found.append((on, (batch.prefix.tolist() if on else []) + ids[start : last + 1].tolist()))
            found[-1][1].append(int(targets[mine][-1]))
            number, start = number + 1, start + length
    assert number == len(batch.families)
    return found


def test_ids_are_those_of_chat(source: WorldSource, tokenizer: Tokenizer) -> None:
    """The engine is given the words back, turn by turn, as an app would; its ids are what was trained on."""
    image = Image.new("RGB", (4, 4))
    picture = Picture("a.png", image, (4, 4), "0", "image/png", b"")
    image_id = tokenizer.special_ids[IMAGE]
    for step in range(12):
        for _on, ids in rows(source[BatchKey(step)]):
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
        batch = source[BatchKey(step)]
        flat = torch.cat([group.ids.flatten() for group in batch.groups])
        known = (batch.mention_targets >= 0).any(1)
        assert len(batch.mention_at) == len(batch.mention_targets)
        for place in batch.mention_at[known].tolist():
            piece = tokenizer.token_bytes(int(flat[place])).decode().strip().lower().removesuffix("s")
            seen += piece in nouns
    assert seen > 100


def test_what_is_learned_is_what_the_assistant_says(source: WorldSource, tokenizer: Tokenizer) -> None:
    """The targets of a segment, as text, are its answers and the end token after each."""
    batch = source[BatchKey(4)]
    for number, (on, ids) in enumerate(rows(batch)):
        own = ids[len(batch.prefix) :] if on else ids  # what was said before the picture is not learned again
        text = tokenizer_text(tokenizer, own, tokenizer.special_ids[IMAGE])
        answers = [turn.partition("USER:")[0].strip() for turn in text.split("ASSISTANT:")[1:]]
        learned = batch.targets[(batch.segment == number) & (batch.targets >= 0)].tolist()
        assert learned.count(tokenizer.eos_id) == len(answers)
        said = "".join(tokenizer.token_bytes(token).decode() or "|" for token in learned)
        assert [part.strip() for part in said.split("|")[:-1]] == answers


def test_the_same_order_is_the_same_batch(source: WorldSource) -> None:
    first, second = source[BatchKey(5)], source[BatchKey(5)]
    assert torch.equal(first.pictures, second.pictures)
    assert all(torch.equal(a.ids, b.ids) for a, b in zip(first.groups, second.groups, strict=True))
    assert not torch.equal(first.pictures, source[BatchKey(6)].pictures)
