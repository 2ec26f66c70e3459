"""Packed batches of the picture world: new pictures, many independent conversations about each, never the same twice.

In: a key (which step, how hard). Out: tensors for shared_prefix.py, mentions.py and tower.py. Runs in a worker process;
knows no model.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from training.embedded.patch_targets import PatchTargets
from training.embedded.picture_world.captions import captions, without_picture
from training.embedded.picture_world.comparing import compare
from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.drawing import draw_scene
from training.embedded.picture_world.exchanges import MENTION_TARGETS, Exchange, Order, mention_targets
from training.embedded.picture_world.labels import LABELS, patch_labels
from training.embedded.picture_world.questions import CORE, FAMILIES, SHIPPED, exchanges
from training.embedded.picture_world.scenes import Scene, random_scene
from training.embedded.picture_world.talk import small_talk
from training.embedded.picture_world.wording import Wordings
from training.embedded.shared_prefix import Segments
from training.embedded.writing import Lead, Writer, Written
from training.movable import Movable

# What segments are called, in the order of their numbers.
WATCHED = (*FAMILIES, "dialogue", "no_picture", "caption", "compare")
ROWS = 128  # lists of places come in multiples of it: each new shape of a product costs a CPU library a new kernel


@dataclass(frozen=True)
class BatchKey:
    """What a step's batch shall be.

    Attributes:
        step: decides the lots, with the run's seed.
        most: how many items a picture has at most.
        plain: the share of questions in the plainest words.
        wide: whether the families beyond the core are asked too.
        order: "fact" answers "The circle is red, so yes.", "verdict" answers "Yes, the circle is red.".
    """

    step: int
    most: int = 4
    plain: float = 0.0
    wide: bool = True
    order: Order = "fact"


@dataclass(frozen=True)
class Asked:
    """One segment: a conversation's turns in order, and its family (one of `WATCHED`)."""

    family: str
    turns: tuple[Exchange, ...]
    on_picture: bool = True


@dataclass(frozen=True)
class WorldBatch(Movable):
    """Pictures, what is said about them, and where something is learned. N counts the tokens of all groups.

    Attributes:
        pictures: (B, S, S, 3) uint8.
        patches: the tower's own labels.
        prefix: (P,) ids before every segment, up to and with the picture.
        pictures_at: where in the prefix pictures begin. The last one is the segments' own, and one before it is
            another of the batch, shown in an earlier turn.
        groups: segments of like length; pictures first, then from short to long.
        asked: (n,) places in N whose next token is learned, and
        targets: (n,) that token; -1 where the list is filled up.
        segment: (n,) which segment each belongs to, counted through the groups.
        families: (segments,) index in `WATCHED`.
        mention_at: (m,) places in N of each mention's last token, and
        mention_targets: (m, 5) as `mention_targets` gives them; -1 where there is none.
    """

    pictures: Tensor
    patches: PatchTargets
    prefix: Tensor
    pictures_at: tuple[int, ...]
    groups: list[Segments]
    asked: Tensor
    targets: Tensor
    segment: Tensor
    families: Tensor
    mention_at: Tensor
    mention_targets: Tensor


@dataclass(frozen=True)
class _Row:
    """A segment that is written, and its mentions' targets."""

    asked: Asked
    written: Written
    means: tuple[tuple[int, ...], ...]


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
        rows = []
        for number, scene in enumerate(scenes):
            earlier = scenes[(number + 1) % len(scenes)] if len(lead.pictures_at) > 1 else None
            asked = self._captions(scene, rng) if self.captions_only else self._asked(scene, rng, key, earlier)
            rows.append(sorted((self._row(scene, one) for one in asked), key=lambda row: len(row.written.ids)))
        return WorldBatch(
            torch.from_numpy(drawn),
            PatchTargets.of({name: np.stack([label[name] for label in labels]) for name in LABELS}),
            torch.tensor(lead.ids),
            lead.pictures_at,
            **_packed(rows, self.sizes, self.writer.encoder.tokenizer.pad_id or 0),
        )

    def _lead(self, rng: random.Random) -> Lead:
        """Mostly nothing; now and then talk before the picture, or another picture in an earlier turn."""
        lot = rng.random()
        if self.captions_only or lot > 0.16:
            return Lead.of(self.writer)
        if lot < 0.05:
            return Lead.of(self.writer, (without_picture(rng),))
        return Lead.of(self.writer, (small_talk(rng),), (0,))

    def _asked(self, scene: Scene, rng: random.Random, key: BatchKey, earlier: Scene | None) -> list[Asked]:
        """A picture's segments: a fifth are dialogues or talk without a picture, the others single questions.

        After an `earlier` picture a third compares the two instead.
        """
        total = sum(self.sizes)
        others = total // 5
        families = list(SHIPPED if key.wide else CORE)
        asked = []
        if earlier is not None and key.wide:
            asked = [Asked("compare", (compare(earlier, scene, rng, order=key.order),)) for _ in range(total // 3)]
            total -= len(asked)
        for _ in range(others):
            if rng.random() < 0.75:
                asked.append(Asked("dialogue", self._dialogue(scene, rng, key)))
            else:
                asked.append(Asked("no_picture", (without_picture(rng),), on_picture=False))
        plain = sum(rng.random() < key.plain for _ in range(total - others))
        ways: list[tuple[int, Wordings]] = [(plain, "plain"), (total - others - plain, "train")]
        for count, wordings in ways:
            if count:
                found = exchanges(scene, rng, n=count, families=families, wordings=wordings, order=key.order)
                asked += [Asked(one.family, (one,)) for one in found]
        return asked

    def _dialogue(self, scene: Scene, rng: random.Random, key: BatchKey) -> tuple[Exchange, ...]:
        return tuple(dialogue(scene, rng, turns=3 if rng.random() < 0.25 else 2, order=key.order))

    def _captions(self, scene: Scene, rng: random.Random) -> list[Asked]:
        pairs = [captions(scene, rng) for _ in range(sum(self.sizes))]
        return [Asked("caption", (Exchange("caption", question, answer),)) for question, answer in pairs]

    def _row(self, scene: Scene, asked: Asked) -> _Row:
        written = self.writer.segment(asked.turns, on_picture=asked.on_picture)
        means = tuple(mention_targets(scene, asked.turns[turn].mentions[index]) for _, turn, index in written.mentions)
        return _Row(asked, written, means)


def _most(most: int, rng: random.Random) -> int:
    """The key's number of items, for most pictures; beyond four, a fifth of the pictures is for the crowded ones."""
    return most if most <= 4 or rng.random() < 0.2 else 4


def _packed(rows: Sequence[Sequence[_Row]], sizes: Sequence[int], pad: int) -> dict[str, Any]:
    """The segments of each picture, from short to long -> the fields of a `WorldBatch`."""
    groups: list[Segments] = []
    asked: list[int] = []
    targets: list[int] = []
    segment: list[int] = []
    families: list[int] = []
    mention_at: list[int] = []
    means: list[tuple[int, ...]] = []
    first, base = 0, 0  # of the group: its first segment of a picture, its first token of N
    for size in sizes:
        mine = [row for picture in rows for row in picture[first : first + size]]
        longest = max(len(row.written.ids) for row in mine)
        length = longest + -longest % 8
        ids = np.full((len(mine), length), pad, np.int64)
        for place, row in enumerate(mine):
            written, start = row.written, base + place * length
            ids[place, : len(written.ids)] = written.ids
            asked += [start + at for at in written.asked]
            targets += written.targets
            segment += [len(families)] * len(written.asked)
            families.append(WATCHED.index(row.asked.family))
            mention_at += [start + at for at, _, _ in written.mentions]
            means += row.means
        on_picture = torch.tensor([row.asked.on_picture for row in mine])
        groups.append(Segments(torch.from_numpy(ids).view(len(rows), size, length), on_picture.view(len(rows), size)))
        first += size
        base += len(mine) * length
    return {
        "groups": groups,
        "asked": _filled(asked, 0),
        "targets": _filled(targets, -1),
        "segment": _filled(segment, 0),
        "families": torch.tensor(families),
        "mention_at": _filled(mention_at, 0),
        "mention_targets": _filled([number for mine in means for number in mine], -1, len(MENTION_TARGETS) * ROWS).view(
            -1, len(MENTION_TARGETS)
        ),
    }


def _filled(numbers: list[int], value: int, multiple: int = ROWS) -> Tensor:
    """Filled up to a multiple; at least one."""
    return torch.tensor(numbers + [value] * (-len(numbers) % multiple if numbers else multiple))
