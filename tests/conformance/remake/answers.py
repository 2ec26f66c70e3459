"""A remade checkpoint's cases: the first set's prompts with new pictures, and what the reference makes of them.

Stopping and the scripts' clean-up are written out here, from the README's account of the original. In: a golden of the
first set and a reference. Out: a golden of the second.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from tokenizers import Tokenizer
from torch import Tensor

from tests.conformance.remake import seen
from tests.conformance.remake.cases import with_one_more
from tests.conformance.remake.files import Tensors, read_json
from tests.conformance.remake.reference import Reference
from tests.conformance.remake.vocabulary import Vocabulary

TOKENS = 32
_EOS, _BOS = 2, 1  # of every Llama
_PATCH = "<im_patch>"
_UNTIDY = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


@dataclass(frozen=True)
class Record:
    """What a golden keeps of each answer.

    Attributes:
        tokens: of the greedy continuation.
        most: that the generation call may make.
        last: for how many of the prompt's last positions logits are kept.
        whole: whether the first case's are kept for all positions.
    """

    tokens: int = TOKENS
    most: int = TOKENS
    last: int = 8
    whole: bool = True


@dataclass(frozen=True)
class Asked:
    """A checkpoint to be asked.

    Attributes:
        golden: of the one it is like.
        path: its own, in the second set.
        out: the second set.
        config: its config.json.
        preprocessing: its tower's settings.
        patches: of one view.
        reference: it itself.
        words: its tokenizer's ids.
        shown: pictures to show.
        case_id: names cases.
        seed: which picture goes where.
        further: cases that the golden does not have, from cases.py.
        record: how much of it is written down.
    """

    golden: Mapping[str, Any]
    path: str
    out: Path
    config: Mapping[str, Any]
    preprocessing: Mapping[str, Any]
    patches: int
    reference: Reference
    words: Vocabulary
    shown: Sequence[str]
    case_id: Callable[[str], str]
    seed: int
    further: Sequence[Mapping[str, Any]] = ()
    record: Record = field(default_factory=Record)

    @property
    def june(self) -> bool:
        """Whether June's code is meant."""
        return "image_token_len" in self.golden

    @property
    def patch(self) -> int:
        """June's patch token."""
        return self.words.id(self.golden["im_patch_token"])

    @property
    def end(self) -> int:
        """The token at which an answer is over: the stop string where it is one piece, or else the end token."""
        stop = self.golden["cases"][0]["stop"]
        byte_level = self.byte_level
        if byte_level is not None:
            token: int | None = byte_level.token_to_id(stop)
            assert token is not None
            return token
        return self.words.pieces.index(stop) if stop in self.words.pieces else _EOS

    @property
    def byte_level(self) -> Tokenizer | None:
        """MPT's tokenizer."""
        file = self.out / self.path / "tokenizer.json"
        return Tokenizer.from_file(str(file)) if file.exists() and not self.words.pieces else None

    def often(self) -> int:
        """A token that comes late in many answers: where it would, the end may come."""
        answers = [self.reference.answer(self.embedded(case)[0], TOKENS).ids for case in self.cases()]
        late = [token for answer in answers for token in set(answer[3:]) - set(answer[:3])]
        return max(late or [answers[0][-1]], key=late.count)

    def cases(self) -> list[dict[str, Any]]:
        """Prompts, ids and pictures."""
        source = random.Random(self.seed)
        made = []
        for case in self.golden["cases"]:
            new: dict[str, Any] = {
                "case": self.case_id(case["case"]),
                "images": source.sample(self.shown, len(case["images"])),
            }
            for key in ("conv_template", "turns", "turns_with_tag", "prompt", "stop"):
                if key in case:
                    new[key] = self._repatched(case[key]) if key in ("turns", "prompt") else case[key]
            for key in ("input_ids", "slow_tokenizer_input_ids"):
                if key in case:
                    new[key] = self._reids(case[key])
            made.append(new)
        several = [case for case in made if len(case["images"]) == 2] if self.june and self.words.pieces else []
        made += [with_one_more(case, self.patch, self.patches) for case in several]
        for case in self.further:
            kept = {key: value for key, value in case.items() if key != "shown"}
            shown = source.sample(self.shown, case["shown"])
            made.append(kept | {"case": self.case_id(case["case"]), "images": shown})
        return made

    def _repatched(self, value: Any) -> Any:
        if isinstance(value, str) and self.june:
            return value.replace(_PATCH * self.golden["image_token_len"], _PATCH * self.patches)
        return [self._repatched(each) for each in value] if isinstance(value, list) else value

    def _reids(self, ids: Sequence[int]) -> list[int]:
        """Runs of June's patches as long as this tower wants them."""
        if not self.june:
            return self.words.ids(ids)
        made, old, place = list[int](), self.golden["im_patch_token"], 0
        while place < len(ids):
            is_run = ids[place] == old
            made += [self.patch] * self.patches if is_run else [self.words.id(ids[place])]
            place += self.golden["image_token_len"] if is_run else 1
        return made

    @torch.inference_mode()
    def embedded(self, case: Mapping[str, Any]) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """A prompt's (T, hidden), and of each picture the tower's features and the projected ones."""
        features, shown = [], []
        for name in case["images"]:
            image = Image.open(self.out / "images" / name).convert("RGB")
            views = self.views(image)
            tower, projected = self.reference.features(torch.from_numpy(views))
            features.append((tower, projected))
            if len(views) > 1:
                best = seen.best_of(image.size, self.grid)
                side = views.shape[-1]
                shown.append(self.reference.unpadded(projected, (best[0] // side, best[1] // side), image.size))
            else:
                shown.append(projected[0])
        if self.june:
            return self.reference.june(case["input_ids"], shown, self.patch), features
        return self.reference.newest(case["input_ids"], shown), features

    @property
    def grid(self) -> list[tuple[int, int]]:
        """Frames of tiles as (width, height), as the original keeps them."""
        return [(width, height) for width, height in self.config.get("image_grid_pinpoints", ())]

    def views(self, image: Image.Image) -> np.ndarray[Any, np.dtype[np.float32]]:
        """(N, 3, S, S)."""
        made = seen.pixels(image, self.config.get("image_aspect_ratio", "square"), self.preprocessing, self.grid)
        return made if made.ndim == 4 else made[None]


def answered(asked: Asked) -> tuple[dict[str, Any], Tensors]:
    """A forward golden and its tensors."""
    cases, arrays, record = [], {}, asked.record
    for place, case in enumerate(asked.cases()):
        embeddings, features = asked.embedded(case)
        answer = asked.reference.answer(embeddings, max(record.tokens, record.most))
        name = case["case"]
        if place == 0 and record.whole:
            arrays[f"{name}.logits"] = answer.logits
        else:
            arrays[f"{name}.logits_last{record.last}"] = answer.logits[-record.last :]
        if features and all(len(tower) == 1 for tower, _ in features):
            arrays[f"{name}.tower_features"] = torch.cat([tower for tower, _ in features])
            arrays[f"{name}.projected_features"] = torch.cat([projected for _, projected in features])
        new = generated(asked, answer.ids[: record.most], case["stop"])
        gaps = answer.gaps[: record.tokens]
        case |= {
            "greedy_ids": answer.ids[: record.tokens],
            "greedy_text": text_of(asked, answer.ids[: record.tokens]),
            "greedy_top2_gaps": [round(gap, 5) for gap in gaps],
            "greedy_min_top2_gap": min(gaps),
            "generate_ids": new if asked.june else [_BOS, *new],
            "generate_text": cleaned(asked, new, case["stop"]),
        }
        if not asked.june:
            arrays[f"{name}.inputs_embeds_sum_per_position"] = embeddings.sum(-1)
            if place == 0:
                arrays[f"{name}.inputs_embeds"] = embeddings
            if case["images"]:
                images = [Image.open(asked.out / "images" / image) for image in case["images"]]
                shapes = [asked.views(image.convert("RGB")).shape for image in images]
                case |= {
                    "image_sizes": [list(image.size) for image in images],
                    "pixel_shape": [list(size if size[0] > 1 else size[1:]) for size in shapes],
                    "embedded_length": len(embeddings),
                }
        cases.append(case)
    made = dict(asked.golden) | {"checkpoint": asked.path, "cases": cases}
    if asked.june:
        made |= {"image_token_len": asked.patches, "im_patch_token": asked.patch}
    return made, arrays


def generated(asked: Asked, ids: Sequence[int], stop: str) -> list[int]:
    """Up to the end token, or June's keyword, which is not looked for in the first token."""
    always, later = _eos(asked), keyword_ids(asked, stop) if asked.june else set()
    for place, token in enumerate(ids):
        new = list(ids[: place + 1])
        if token == always or (asked.june and place and (token in later or stop in text_of(asked, new))):
            return new
    return list(ids)


def keyword_ids(asked: Asked, stop: str) -> set[int]:
    """The stop string's id, where it is one to the original: never with a begin token before it."""
    byte_level = asked.byte_level
    token = byte_level.token_to_id(stop) if byte_level is not None else None
    return set() if token is None else {token}


def ends_of(asked: Asked, stop: str) -> set[int]:
    """Ids that end June's streams."""
    return {_eos(asked)} | keyword_ids(asked, stop)


def _eos(asked: Asked) -> int:
    return int(asked.golden["eos_token_id"]) if asked.byte_level is not None else _EOS


def text_of(asked: Asked, ids: Sequence[int]) -> str:
    """Without special tokens, and without the space that Llama's first word has."""
    byte_level = asked.byte_level
    if byte_level is None:
        return asked.words.text(ids, special=(0, _BOS, _EOS)).removeprefix(" ")
    text: str = byte_level.decode(list(ids), skip_special_tokens=True)
    if read_json(asked.out / asked.path / "tokenizer_config.json")["clean_up_tokenization_spaces"]:
        for untidy in _UNTIDY:
            text = text.replace(untidy, "'" if untidy == " ' " else untidy[1:])
    return text


def cleaned(asked: Asked, new: Sequence[int], stop: str) -> str:
    """What the command line prints; June's takes the stop string off."""
    text = text_of(asked, new).strip()
    if asked.june and text.endswith(stop):
        text = text[: -len(stop)].strip()
    return text
