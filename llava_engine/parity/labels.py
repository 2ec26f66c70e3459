"""The ids and labels that the original's trainers made of a sample, June's and newest, with their mistakes.

In default, spans say exactly what is learned. The original tokenized a conversation whole, then its pieces by
themselves, and counted: where the counts of two cuts differ, labels shift, or the sample is masked and a warning said.
Knows no tensors. Nothing of the product calls it: it is here, and not among the tests, because docs/parity.md offers
the original's labels to whoever compares a training of ours with one of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from llava_engine.parity.original_templates import Commit, OriginalTemplate
from llava_engine.parity.prompts import PICTURE_TAG, Turn, prompt, with_patches
from llava_engine.parity.tokens import OriginalTokenizer, ids_with_pictures

IGNORED = -100


@dataclass(frozen=True)
class Said:
    """One turn of a data file: `speaker` is "human", "gpt" or anything else."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Trainer:
    """A run's settings that labels depend on.

    Attributes:
        commit: whose code.
        template: the conversation template; June's trainer knew three, by --version: "default" (v0), "vicuna_v1_1"
            (v1) and "mpt".
        tokenizer: with the tokens that the run added.
        pad_id: what it pads with; such a token within a text is not counted.
        max_length: where texts are cut.
        start_end: whether pictures stand between <im_start> and <im_end>.
        patches: June: tokens a picture.
        picture_before_conversation: June's sep_image_conv_front.
    """

    commit: Commit
    template: OriginalTemplate
    tokenizer: OriginalTokenizer
    pad_id: int
    max_length: int
    start_end: bool
    patches: int = 0
    picture_before_conversation: bool = False


@dataclass(frozen=True)
class Labelled:
    """What the model is trained on.

    Attributes:
        ids: newest has -200 in a picture's place.
        labels: the ids that are learned, -100 for the others.
        mismatch: whether the counts differed: the original printed a warning, and nothing is learned.
    """

    ids: list[int]
    labels: list[int]
    mismatch: bool = False


def labelled(sample: Sequence[Said], has_picture: bool, trainer: Trainer) -> Labelled:
    """Label a sample.

    Raises:
        AssertionError: roles do not take turns, a picture is not where it has to be, a caption is no pair.
        KeyError: a speaker that v1 and mpt do not know.
    """
    june = trainer.commit == "b4be90b"
    if has_picture:
        sample = _shown_at_june(sample, trainer) if june else _shown(sample, trainer)
    cut_off = june or not has_picture  # newest leaves samples with pictures whole
    encode: Callable[[str], list[int]] = trainer.tokenizer.ids
    if not june and has_picture:
        encode = lambda text: ids_with_pictures(text, trainer.tokenizer)  # noqa: E731
    counts = _Counts(trainer, encode, cut_off)
    template = trainer.template
    if template.style == "PLAIN":
        return _plain(sample, trainer)
    if template.style == "LLAMA_2":
        return _by_rounds(_written(sample, trainer), counts, template.sep2 or "", "[/INST] ", gap=2)
    if template.version in ("v1", "v1_mmtag"):
        announced = f"{template.sep}{template.roles[1]}: "
        # Without the old space before each stretch, a later round is one token shorter than it is by itself.
        later = -1 if not june and not trainer.tokenizer.legacy else 0
        return _by_rounds(_written(sample, trainer), counts, template.sep2 or "", announced, gap=2, later=later)
    if template.version == "mpt":
        return _chatml(_written(sample, trainer), counts)
    return _v0(sample, counts)


def _shown_at_june(sample: Sequence[Said], trainer: Trainer) -> list[Said]:
    """Every tag becomes patch tokens; before that, the picture may be moved into a turn of its own in front."""
    turns = list(sample)
    if trainer.picture_before_conversation:
        first = turns[0]
        if PICTURE_TAG not in first.text:
            raise AssertionError("the first turn has no picture")
        template = trainer.template
        rest = first.text.replace(PICTURE_TAG, "").strip()
        turns[0] = replace(first, text=f"{PICTURE_TAG}{template.sep}{template.roles[0]}: {rest}")
    return [replace(turn, text=with_patches(turn.text, trainer.patches, start_end=trainer.start_end)) for turn in turns]


def _shown(sample: Sequence[Said], trainer: Trainer) -> list[Said]:
    """Newest: one picture a turn, in front of its text."""
    tag = f"<Image>{PICTURE_TAG}</Image>" if "mmtag" in trainer.template.version else PICTURE_TAG
    if trainer.start_end:
        tag = tag.replace(PICTURE_TAG, f"<im_start>{PICTURE_TAG}<im_end>")
    turns = []
    for turn in sample:
        if PICTURE_TAG in turn.text:
            rest = turn.text.replace(PICTURE_TAG, "").strip()
            turn = replace(turn, text=f"{tag}\n{rest}".strip())
        turns.append(turn)
    return turns


def _written(sample: Sequence[Said], trainer: Trainer) -> str:
    """The conversation as a prompt; an answer that comes before every question is left out."""
    roles = {"human": 0, "gpt": 1}
    speakers = [roles[turn.speaker] for turn in sample[:1]]
    sample = sample[1:] if speakers[0] == 1 else sample
    turns: list[Turn] = []
    for place, turn in enumerate(sample):
        role = roles[turn.speaker]
        if role != place % 2:
            raise AssertionError("user and assistant do not take turns")
        turns.append((role, turn.text))
    return prompt(replace(trainer.template, examples=()), turns, trainer.commit)


@dataclass(frozen=True)
class _Counts:
    """How a run counts tokens."""

    trainer: Trainer
    encode: Callable[[str], list[int]]
    cut_off: bool

    def whole(self, text: str) -> list[int]:
        """A conversation's ids."""
        ids = self.encode(text)
        return ids[: self.trainer.max_length] if self.cut_off else ids

    def length(self, text: str) -> int:
        """Of a piece by itself."""
        return len(self.encode(text))

    def shown(self, ids: Sequence[int]) -> int:
        """Tokens that are not padding."""
        return sum(token != self.trainer.pad_id for token in ids)

    def settled(self, ids: list[int], learned: Sequence[bool], counted: int) -> Labelled:
        """Nothing is learned beyond what was counted; and nothing at all if the count is wrong."""
        mismatch = counted < self.trainer.max_length and counted != self.shown(ids)
        labels = [
            token if place < counted and not mismatch and flag else IGNORED
            for place, (token, flag) in enumerate(zip(ids, learned, strict=True))
        ]
        return Labelled(ids, labels, mismatch)


def _forget(learned: list[bool], start: int, end: int) -> None:
    for place in range(max(start, 0), min(end, len(learned))):
        learned[place] = False


def _by_rounds(conversation: str, counts: _Counts, end: str, announced: str, *, gap: int, later: int = 0) -> Labelled:
    """v1 and Llama 2: cut at what ends an answer, each round cut once more at what announces it.

    A round by itself has a begin token that it lacks within; so has a request, and one more for its last space: `gap`.
    """
    ids = counts.whole(conversation)
    learned = [True] * len(ids)
    _forget(learned, 0, 1)
    place = 1
    for number, piece in enumerate(conversation.split(end)):
        request, *answer = piece.split(announced)
        if not piece or len(answer) != 1:
            break
        more = later if number else 0
        _forget(learned, place, place + counts.length(request + announced) - gap + more)
        place += counts.length(piece) + more
    return counts.settled(ids, learned, place)


def _chatml(conversation: str, counts: _Counts) -> Labelled:
    """ChatML: the system text belongs to the first round. Newest forgot the end of a round in its count."""
    trainer = counts.trainer
    end = trainer.template.sep
    announced = end + trainer.template.roles[1]
    june = trainer.commit == "b4be90b"
    ids = counts.whole(conversation)
    learned = [True] * len(ids)
    place = 0
    pieces = conversation.split(end)
    rounds = [end.join(pieces[:3]), *(end.join(pieces[start : start + 2]) for start in range(3, len(pieces), 2))]
    for number, piece in enumerate(rounds):
        request, *answer = piece.split(announced)
        if not piece or len(answer) != 1:
            break
        more = 1 if number and not june and trainer.tokenizer.legacy else 0
        _forget(learned, place, place + counts.length(request + announced) - (0 if june else 1) + more)
        place += counts.length(piece) + (counts.length(end) if june else more)
    return counts.settled(ids, learned, place)


def _v0(sample: Sequence[Said], counts: _Counts) -> Labelled:
    """v0: each turn is measured with a begin token of its own, and two tokens of each question are learned."""
    template = counts.trainer.template
    names = {"human": template.roles[0], "gpt": template.roles[1]}
    header = f"{template.system}\n\n"
    turns = [f"### {names.get(turn.speaker.lower(), 'unknown')}: {turn.text}\n" for turn in sample]
    ids = counts.whole("".join([header, *turns, "### "]))
    learned = [True] * len(ids)
    place = _measured(header, counts)
    _forget(learned, 0, place)
    for turn, written in zip(sample, turns, strict=True):
        length = _measured(written, counts)
        if turn.speaker == "human":
            _forget(learned, place + 2, place + length)
        place += length
    return Labelled(ids, [token if flag else IGNORED for token, flag in zip(ids, learned, strict=True)])


def _measured(text: str, counts: _Counts) -> int:
    """Where texts are cut, so are pieces, and padding is not counted."""
    ids = counts.whole(text)
    return counts.shown(ids) if counts.cut_off else len(ids)


def _plain(sample: Sequence[Said], trainer: Trainer) -> Labelled:
    """Captions: the request is replaced by the bare tag, whatever it said."""
    if len(sample) != 2 or PICTURE_TAG not in sample[0].text:
        raise AssertionError("a caption is a pair whose first turn has a picture")
    ids = ids_with_pictures(PICTURE_TAG + sample[1].text + trainer.template.sep, trainer.tokenizer)
    before = len(ids_with_pictures(PICTURE_TAG, trainer.tokenizer))
    return Labelled(ids, [IGNORED] * before + ids[before:])
