"""The goldens' cases as parameters, and their checkpoints opened once: everything by glob and from the JSON."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from llava_engine.model.config import MptConfig
from llava_engine.parity.generation import Keyword
from llava_engine.parity.original import Original
from llava_engine.parity.original_templates import TEMPLATES, OriginalTemplate
from llava_engine.pictures.opening import Picture
from tests.conformance import odd_pictures
from tests.conformance.fixtures import FIXTURES, golden

FORWARDS = sorted(path.name for path in (FIXTURES / "goldens").glob("forward_*.json"))
UNSURE = 1e-3  # two tokens whose logits are nearer than this may change places on another machine


@cache
def forward(name: str) -> Any:
    """A golden forward_*.json."""
    return golden(name)


@cache
def tensors(name: str) -> dict[str, torch.Tensor]:
    """The tensors beside it."""
    return load_file(FIXTURES / "goldens" / Path(name).with_suffix(".safetensors").name)


def forward_cases() -> list[tuple[str, str]]:
    """(file, case) of all that the original could answer."""
    return [(name, case["case"]) for name in FORWARDS for case in forward(name)["cases"] if "error" not in case]


def case_of(name: str, case: str) -> Any:
    """One case of a golden."""
    return next(each for each in forward(name)["cases"] if each["case"] == case)


@cache
def opened(checkpoint: str, base: str | None = None) -> Original:
    """A checkpoint by its path in the fixtures."""
    return Original.load(FIXTURES / checkpoint, base=FIXTURES / base if base else None)


def original_of(name: str) -> Original:
    """The checkpoint of a forward golden."""
    return opened(forward(name)["checkpoint"], forward(name).get("base"))


def pictures(names: Sequence[str]) -> list[Picture]:
    """Pictures by name."""
    return [odd_pictures.picture(name) for name in names]


def as_the_original_saw(names: Sequence[str]) -> list[Picture]:
    """The same for a model that is to be compared with what the original made of them."""
    return [odd_pictures.as_the_original_saw_it(name) for name in names]


def tensors_of(name: str, case: str) -> dict[str, torch.Tensor]:
    """A case's tensors by what they are."""
    named = {key.removeprefix(f"{case}."): each for key, each in tensors(name).items() if key.startswith(f"{case}.")}
    return {kind: each for kind, each in named.items() if "." not in kind}  # and not those of a case "a.b"


def final_logits(name: str, case: str) -> torch.Tensor:
    """(n, vocabulary) of a prompt's last n positions, n as many as are stored."""
    stored = [each for kind, each in tensors_of(name, case).items() if re.fullmatch(r"logits(_last\d+)?", kind)]
    assert stored, f"{name} has no logits of {case}"
    return max(stored, key=len)


def template_of(name: str, case: Any) -> OriginalTemplate:
    """The original's template that a case was asked with, which may be another than its checkpoint's."""
    return TEMPLATES[forward(name)["commit"]][case["conv_template"]]


def tag_turns(case: Any) -> list[tuple[int, str | None]]:
    """Turns with <image> where a picture stands."""
    return [(role, text) for role, text in case.get("turns_with_tag", case["turns"])]


def shows_its_pictures(case: Any) -> bool:
    """Whether every <image> of a user's turn is a picture: the original writes patches for a tag without one, too."""
    tags = [(role, (text or "").count("<image>")) for role, text in tag_turns(case)]
    return sum(count for _, count in tags) == len(case["images"]) and not any(count for role, count in tags if role)


def is_open(case: Any) -> bool:
    """Whether the assistant is to speak."""
    return case["turns"][-1][1] is None


def tolerance(original: Original) -> float:
    """Of logits, as the fixtures' README allows."""
    config = original.checkpoint.config
    return 2e-4 if isinstance(config.language, MptConfig) or config.tiles is not None else 1e-4


def sure(case: Any) -> int:
    """How many greedy tokens are beyond doubt."""
    gaps = case["greedy_top2_gaps"]
    return next((step for step, gap in enumerate(gaps) if gap <= UNSURE), len(gaps))


def new_ids(name: str, case: Any) -> list[int]:
    """What the original's generation call added to the prompt; the newest one's answer begins with a <s> of its own."""
    ids: list[int] = case["generate_ids"]
    return ids[1:] if forward(name)["commit"] == "c121f04" else ids


def allowed(name: str) -> int:
    """How many new tokens the call could make: as many as the longest answer has, unless that one came to its end."""
    original, cases = original_of(name), [case for case in forward(name)["cases"] if "error" not in case]
    most = max(len(new_ids(name, case)) for case in cases)
    longest = [(new_ids(name, case), case["stop"]) for case in cases if len(new_ids(name, case)) == most]
    if all(_ended(original, new, stop) for new, stop in longest):
        return max(most, *(len(case["greedy_ids"]) for case in cases))
    return most


def _ended(original: Original, new: Sequence[int], stop: str) -> bool:
    june = original.commit == "b4be90b"
    return new[-1] == original.eos_id or (june and Keyword(stop, original.tokenizer).ends(new))


def is_sure(name: str, case: Any) -> bool:
    """Whether all of the call's answer is beyond doubt."""
    return len(new_ids(name, case)) <= sure(case)
