"""How well a model answers about drawn pictures: real greedy answers, read and graded, by family and column.

Columns: new pictures; wordings and kind-colour pairs that training never has; the same scenes drawn by other code; and
the control, the questions of the first column with another scene's picture. Knows an engine only by its contract.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

from llava_engine.contract import EngineLike, Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.many import answer_all
from llava_engine.pictures.opening import Picture, open_picture
from llava_engine.questions import Question
from training.embedded.picture_world.comparing import compare
from training.embedded.picture_world.dialogues import dialogue
from training.embedded.picture_world.drawing import draw_scene
from training.embedded.picture_world.exchanges import Exchange, Pairs
from training.embedded.picture_world.foreign import draw_foreign
from training.embedded.picture_world.grading import grade
from training.embedded.picture_world.questions import SHIPPED, exchanges
from training.embedded.picture_world.scenes import Scene, Split, random_scene
from training.embedded.picture_world.talk import no_picture, small_talk
from training.embedded.picture_world.wording import Wordings
from training.evaluation.table import Mistake, Score, Table

APART = frozenset({"talk", "unknowable", "unknown_thing", "no_picture"})  # a picture does not change their answers
WRONG = "wrong picture"
SHOWN_MISTAKES = 3  # of each family and column
SAMPLING = Sampling(max_new_tokens=64)

Place = tuple[int, int]  # of an exchange: its case, and its number there


@dataclass(frozen=True)
class Column:
    """One way to test.

    Attributes:
        name: the table's heading.
        split: which scenes.
        wordings: which templates.
        pairs: which pairs questions may name.
        foreign: drawn by other code.
    """

    name: str
    split: Split = "new"
    wordings: Wordings = "train"
    pairs: Pairs = "train"
    foreign: bool = False


COLUMNS = (
    Column("new pictures"),
    Column("held-out wordings", wordings="held_out"),
    Column("held-out pairs", split="held_out_pairs", pairs="all"),
    Column("drawn by other code", foreign=True),
    Column(WRONG),
)


@dataclass(frozen=True)
class Case:
    """One picture with everything that is asked about it.

    Attributes:
        picture: as the model gets it.
        single: independent questions.
        turns: one dialogue; its turns after the first are counted.
        before: a question asked without any picture.
        earlier: another picture, shown with the first of `compared`.
        compared: a greeting, and a question about both pictures, which is counted.
    """

    picture: Picture
    single: tuple[Exchange, ...]
    turns: tuple[Exchange, ...]
    before: Exchange
    earlier: Picture
    compared: tuple[Exchange, Exchange]

    @property
    def asked(self) -> tuple[Exchange, ...]:
        """All of it, in the order in which it is numbered."""
        return (*self.single, self.before, *self.turns, *self.compared)

    @property
    def openings(self) -> set[int]:
        """The numbers of what only leads to what is counted."""
        dialogue = len(self.single) + 1
        return {dialogue, dialogue + len(self.turns)}


def evaluate(
    engine: EngineLike,
    pictures: int = 100,
    seed: int = 0,
    *,
    max_items: int = 4,
    columns: Sequence[Column] = COLUMNS,
    on_progress: Callable[[str, int, int], None] = lambda column, done, total: None,
) -> Table:
    """Ask, read and grade.

    Args:
        engine: answers, greedily.
        pictures: new ones a column; about every second family can be asked of any one.
        seed: the same seed, the same pictures and questions.
        max_items: in a picture.
        columns: what to test.
        on_progress: told the column, and how many of its pictures are done.

    Raises:
        LlavaError: the engine could not answer.
    """
    scores: dict[str, dict[str, Score]] = {}
    mistakes: list[Mistake] = []
    for column in columns:
        tally: dict[str, list[int]] = defaultdict(lambda: [0, 0])
        asked_as = COLUMNS[0].name if column.name == WRONG else column.name  # the control asks just what that one asks
        rng = random.Random(f"{seed} {asked_as}")
        cases = [_case(column, rng, max_items) for _ in range(pictures)]
        shown = [cases[at - 1].picture if column.name == WRONG else case.picture for at, case in enumerate(cases)]
        said = _said(engine, cases, shown, partial(on_progress, column.name))
        for exchange, answer in said:
            right = grade(exchange, answer)
            count = tally[exchange.family]
            count[0] += right
            count[1] += 1
            if not right and count[1] - count[0] <= SHOWN_MISTAKES:
                mistakes.append(Mistake(column.name, exchange.family, exchange.question, exchange.answer, answer))
        scores[column.name] = {family: Score(*tally[family]) for family in sorted(tally, key=_order)}
    about = {"pictures": pictures, "seed": seed, "max_items": max_items}
    return Table(scores, APART, tuple(mistakes), about)


def _order(family: str) -> tuple[int, str]:
    return (SHIPPED.index(family) if family in SHIPPED else len(SHIPPED), family)


def _case(column: Column, rng: random.Random, max_items: int) -> Case:
    scene, earlier = (random_scene(rng, max_items=max_items, split=column.split) for _ in range(2))
    shown, shown_earlier = _drawn(scene, column, rng), _drawn(earlier, column, rng)
    turns = dialogue(scene, rng, wordings=column.wordings, pairs=column.pairs, only_follow_ups=True)
    singles = tuple(_singles(column, scene, rng))
    before = no_picture(rng, column.wordings)
    compared = (small_talk(rng), compare(earlier, scene, rng, wordings=column.wordings, pairs=column.pairs))
    return Case(shown, singles, tuple(turns), before, shown_earlier, compared)


def _drawn(scene: Scene, column: Column, rng: random.Random) -> Picture:
    return open_picture(draw_foreign(scene, rng) if column.foreign else draw_scene(scene, rng), name="drawn")


def _singles(column: Column, scene: Scene, rng: random.Random) -> Iterator[Exchange]:
    """One question of each family that this scene can serve."""
    for family in SHIPPED:
        try:
            yield exchanges(scene, rng, n=1, families=[family], wordings=column.wordings, pairs=column.pairs)[0]
        except ValueError:
            continue


def _said(
    engine: EngineLike, cases: Sequence[Case], shown: Sequence[Picture], on_progress: Callable[[int, int], None]
) -> Iterator[tuple[Exchange, str]]:
    """Each exchange of some cases, in order, with what the model says about the pictures shown."""
    counted = {
        (at, number): exchange
        for at, case in enumerate(cases)
        for number, exchange in enumerate(case.asked)
        if number not in case.openings
    }
    left = Counter(at for at, _ in counted)
    answers: dict[Place, str] = {}
    for one in answer_all(engine, _questions(cases, shown), SAMPLING):
        if isinstance(one.outcome, Exception):
            raise one.outcome
        if one.key in counted:
            answers[one.key] = one.outcome.text
            left[one.key[0]] -= 1
            if not left[one.key[0]]:
                on_progress(sum(count == 0 for count in left.values()), len(cases))
    for place, exchange in counted.items():
        yield exchange, answers[place]


def _questions(cases: Sequence[Case], shown: Sequence[Picture]) -> Iterator[Question[Place]]:
    for at, (case, picture) in enumerate(zip(cases, shown, strict=True)):
        for number, exchange in enumerate(case.single):
            yield Question.about((at, number), exchange.question, [picture])
        yield Question.about((at, len(case.single)), case.before.question)
        dialogue, compared = sorted(case.openings)
        yield _turn(case.turns, 0, Conversation(), [picture], (at, dialogue))
        yield _turn(case.compared, 0, Conversation(), [case.earlier, picture], (at, compared))


def _turn(
    turns: Sequence[Exchange], number: int, before: Conversation, pictures: Sequence[Picture], place: Place
) -> Question[Place]:
    """A dialogue's turn, which shows its picture if there is one, and after its answer the next turn."""
    asked = before.then(Message.user(turns[number].question, pictures[number : number + 1]))

    def then(conversation: Conversation, reply: Reply) -> Question[Place] | None:
        if number + 1 == len(turns):
            return None
        said = conversation.then(Message.assistant(reply.text))
        return _turn(turns, number + 1, said, pictures, (place[0], place[1] + 1))

    return Question(place, lambda opening: asked, place=(pictures[0].sha256, len(turns[number].question)), then=then)
