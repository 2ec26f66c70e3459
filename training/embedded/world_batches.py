"""Packed batches of the picture world: new pictures, many independent conversations about each, never the same twice.

In: a key (which step, how hard). Out: tensors for shared_prefix.py and mentions.py. The ids come from the engine's own
templates, spans and tokenizer, so they are those of chat. Runs in a worker process; knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.tokenizer import Prompt
from llava_engine.pictures.opening import Picture
from training.embedded.picture_world.captions import captions, without_picture
from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.drawing import draw_scene
from training.embedded.picture_world.exchanges import Exchange, mention_targets
from training.embedded.picture_world.labels import LABELS, patch_labels
from training.embedded.picture_world.questions import CORE, SHIPPED, exchanges
from training.embedded.picture_world.scenes import SIDE, Scene, random_scene
from training.embedded.picture_world.talk import small_talk
from training.embedded.picture_world.wording import Wordings
from training.embedded.shared_prefix import Segments

# Stands for the drawn picture where only its place matters.
PICTURE = Picture("drawn", Image.new("RGB", (SIDE, SIDE)), (SIDE, SIDE), "", "image/png", b"")


@dataclass(frozen=True)
class BatchKey:
    """What a step's batch shall be.

    Attributes:
        step: decides the lots, with the run's seed.
        most: how many items a picture has at most.
        plain: the share of questions in the plainest words.
        wide: whether the families beyond the core are asked too.
    """

    step: int
    most: int = 4
    plain: float = 0.0
    wide: bool = True


@dataclass(frozen=True)
class Asked:
    """One segment: a conversation's turns in order, and its family."""

    family: str
    turns: tuple[Exchange, ...]
    on_picture: bool = True


@dataclass(frozen=True)
class Group:
    """Segments of like length, with what is known about them.

    Attributes:
        segments: for shared_prefix.py.
        families: (B, S), the name of each segment's family.
        mention_at: (n,) flat indices into B·S·L: the last token of each mention.
        mention_targets: (n, 3) how many items it means, column and row; -1 where there is none.
    """

    segments: Segments
    families: list[list[str]]
    mention_at: Tensor
    mention_targets: Tensor


@dataclass(frozen=True)
class WorldBatch:
    """Pictures (B, S, S, 3) uint8, label -> (B, patches), the ids before every segment, and the groups.

    The prefix holds one picture; or two, of which the first is another of the batch, shown in an earlier turn.
    """

    pictures: Tensor
    labels: dict[str, Tensor]
    prefix: Tensor
    groups: list[Group]


@dataclass(frozen=True)
class Writer:
    """Writes conversations in a model's template and tokens."""

    encoder: PromptEncoder

    def prompt(self, turns: Sequence[Exchange], pictures_at: Sequence[int] = ()) -> Prompt:
        """Turns -> ids, with a picture in each of the turns `pictures_at`."""
        messages: list[Message] = []
        for number, turn in enumerate(turns):
            shown = (PICTURE,) if number in pictures_at else ()
            messages += [Message.user(turn.question, shown), Message.assistant(turn.answer)]
        return self.encoder.encode(Conversation(tuple(messages)))


@dataclass(frozen=True)
class Lead:
    """What comes before the picture that the segments are about.

    Attributes:
        turns: earlier turns.
        pictures_at: which of these show another picture.
        length: tokens up to and with the last picture.
    """

    turns: tuple[Exchange, ...]
    pictures_at: tuple[int, ...]
    length: int

    @classmethod
    def of(cls, writer: Writer, turns: tuple[Exchange, ...] = (), pictures_at: tuple[int, ...] = ()) -> Lead:
        """Count the tokens."""
        slot = writer.prompt([*turns, Exchange("", "x", "x")], [*pictures_at, len(turns)]).slots[-1]
        return cls(turns, pictures_at, slot.start + slot.length)

    def prompt(self, writer: Writer, turns: Sequence[Exchange]) -> Prompt:
        """The lead, then turns of which the first shows the picture."""
        return writer.prompt([*self.turns, *turns], [*self.pictures_at, len(self.turns)])


@dataclass(frozen=True)
class _Row:
    """A segment's ids, targets and mentions."""

    family: str
    ids: tuple[int, ...]
    targets: tuple[int, ...]
    mentions: tuple[tuple[int, tuple[int, int, int]], ...]
    on_picture: bool


@dataclass(frozen=True)
class WorldSource:
    """Draws pictures and asks.

    Attributes:
        seed: the run's.
        writer: how conversations become ids.
        grid: the tower's patches along a side.
        captions_only: captions instead of questions: for the projector's pretraining.
        pictures: pictures a batch.
        sizes: segments a picture, in groups from short to long; each group is padded by itself.
    """

    seed: int
    writer: Writer
    grid: int
    captions_only: bool = False
    pictures: int = 8
    sizes: tuple[int, ...] = (6, 5, 3, 2)

    def __getitem__(self, key: BatchKey) -> WorldBatch:
        rng = random.Random(self.seed << 32 | key.step)
        scenes = [random_scene(rng, max_items=_most(key.most, rng)) for _ in range(self.pictures)]
        drawn = np.stack([np.asarray(draw_scene(scene, rng)) for scene in scenes])
        labels = [patch_labels(scene, self.grid) for scene in scenes]
        lead = self._lead(rng)
        rows, prefix = [], lead.prompt(self.writer, [Exchange("", "x", "x")]).ids[: lead.length]
        for scene in scenes:
            asked = self._captions(scene, rng) if self.captions_only else self._asked(scene, rng, key)
            rows.append(sorted((self._row(scene, one, lead) for one in asked), key=lambda row: len(row.ids)))
        groups, start = [], 0
        for size in self.sizes:
            groups.append(
                _group([mine[start : start + size] for mine in rows], self.writer.encoder.tokenizer.pad_id or 0)
            )
            start += size
        return WorldBatch(
            torch.from_numpy(drawn),
            {name: torch.from_numpy(np.stack([label[name] for label in labels])) for name in LABELS},
            torch.tensor(prefix),
            groups,
        )

    def _lead(self, rng: random.Random) -> Lead:
        """Mostly nothing; now and then talk before the picture, or another picture in an earlier turn."""
        lot = rng.random()
        if self.captions_only or lot > 0.12:
            return Lead.of(self.writer)
        if lot < 0.06:
            return Lead.of(self.writer, (without_picture(rng),))
        return Lead.of(self.writer, (small_talk(rng),), (0,))

    def _asked(self, scene: Scene, rng: random.Random, key: BatchKey) -> list[Asked]:
        """A picture's segments: a fifth are dialogues or talk without a picture, the others single questions."""
        total = sum(self.sizes)
        others = total // 5
        families = list(SHIPPED if key.wide else CORE)
        asked = []
        for _ in range(others):
            if rng.random() < 0.75:
                asked.append(Asked("dialogue", tuple(dialogue(scene, rng, turns=3 if rng.random() < 0.25 else 2))))
            else:
                asked.append(Asked("no_picture", (without_picture(rng),), on_picture=False))
        plain = sum(rng.random() < key.plain for _ in range(total - others))
        ways: list[tuple[int, Wordings]] = [(plain, "plain"), (total - others - plain, "train")]
        for count, wordings in ways:
            if count:
                found = exchanges(scene, rng, n=count, families=families, wordings=wordings)
                asked += [Asked(one.family, (one,)) for one in found]
        return asked

    def _captions(self, scene: Scene, rng: random.Random) -> list[Asked]:
        pairs = [captions(scene, rng) for _ in range(sum(self.sizes))]
        return [Asked("caption", (Exchange("caption", question, answer),)) for question, answer in pairs]

    def _row(self, scene: Scene, asked: Asked, lead: Lead) -> _Row:
        prompt = lead.prompt(self.writer, asked.turns) if asked.on_picture else self.writer.prompt(asked.turns)
        skip = lead.length if asked.on_picture else 0
        ids, mask = prompt.ids[skip:], prompt.supervised[skip:]
        targets = [token if learned else -1 for token, learned in zip((*ids[1:], 0), (*mask[1:], False), strict=True)]
        return _Row(asked.family, ids, tuple(targets), tuple(self._mentions(scene, asked, ids)), asked.on_picture)

    def _mentions(self, scene: Scene, asked: Asked, ids: Sequence[int]) -> list[tuple[int, tuple[int, int, int]]]:
        """(index of the last token, targets) of each mention; tokens are found by counting their bytes."""
        ends, read = [], bytearray()
        for token in ids:
            read += self.writer.encoder.tokenizer.token_bytes(token)
            ends.append(len(read))
        found, after = [], 0
        for turn in asked.turns:
            if not turn.mentions:
                after = read.find(turn.answer.encode(), after) + len(turn.answer.encode())
                continue
            start = {}
            for part, text in (("question", turn.question), ("answer", turn.answer)):
                start[part] = read.find(text.encode(), after)
                assert start[part] >= 0, (text, bytes(read))
                after = start[part] + len(text.encode())
            for mention in turn.mentions:
                said = turn.question if mention.part == "question" else turn.answer
                end = start[mention.part] + len(said[: mention.end].encode())
                token = next(index for index, reached in enumerate(ends) if reached >= end)
                found.append((token, mention_targets(scene, mention)))
        return found


def _most(most: int, rng: random.Random) -> int:
    """The key's number of items, for most pictures; beyond four, a fifth of the pictures is for the crowded ones."""
    return most if most <= 4 or rng.random() < 0.2 else 4


def _group(rows: list[list[_Row]], pad: int) -> Group:
    """Rows of each picture -> padded tensors; lengths become multiples of 8."""
    count = len(rows[0])
    longest = max(len(row.ids) for mine in rows for row in mine)
    length = longest + -longest % 8
    ids = np.full((len(rows), count, length), pad, np.int64)
    targets = np.full((len(rows), count, length), -1, np.int64)
    on_picture = np.zeros((len(rows), count), bool)
    at, wanted = [], []
    for b, mine in enumerate(rows):
        for s, row in enumerate(mine):
            ids[b, s, : len(row.ids)] = row.ids
            targets[b, s, : len(row.targets)] = row.targets
            on_picture[b, s] = row.on_picture
            for token, target in row.mentions:
                at.append((b * count + s) * length + token)
                wanted.append(target)
    return Group(
        Segments(torch.from_numpy(ids), torch.from_numpy(on_picture), torch.from_numpy(targets)),
        [[row.family for row in mine] for mine in rows],
        torch.tensor(at, dtype=torch.int64),
        torch.tensor(wanted, dtype=torch.int64).view(-1, 3),
    )
