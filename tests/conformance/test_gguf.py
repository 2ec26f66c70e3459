"""The fixtures as GGUF files, read back: what llama.cpp's arithmetic makes of them is what the original computed.

llama.cpp itself is not needed: tests/llava_engine/gguf_reference.py does its arithmetic.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.gguf.pair import to_gguf
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ModelError
from llava_engine.pictures.opening import Picture
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.odd_pictures import plain_pictures
from tests.conformance.originals import (
    FORWARDS,
    as_the_original_saw,
    case_of,
    final_logits,
    forward,
    forward_cases,
    original_of,
    sure,
    tensors_of,
    tolerance,
)
from tests.llava_engine.gguf_reference import MARKER, GgufReference, rendered

pytestmark = needs_fixtures

CASES = forward_cases()


class Pair:
    """A fixture converted, in float32, and both of its files read back."""

    def __init__(self, name: str, room: Path) -> None:
        golden = forward(name)
        base = FIXTURES / golden["base"] if golden.get("base") else None
        folder = FIXTURES / golden["checkpoint"]
        self.checkpoint: Checkpoint = open_checkpoint(folder, base=base)
        to_gguf(folder, room / name, kind="f32", base=base, force=self.checkpoint.config.tiles is not None)
        self.language = GgufReference(room / name / f"{folder.name}.gguf")
        self.mmproj = GgufReference(room / name / f"mmproj-{folder.name}.gguf")

    @property
    def sees_as_trained(self) -> bool:
        """Tiles llama.cpp can not."""
        return self.checkpoint.config.tiles is None

    def features(self, picture: Picture) -> Tensor:
        return self.mmproj.features(torch.from_numpy(self.checkpoint.preprocessing.views(picture)))


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Any:
    room = tmp_path_factory.mktemp("gguf")
    return cache(lambda name: Pair(name, room))


@pytest.mark.parametrize(("name", "case_name"), CASES)
@torch.inference_mode()
def test_it_answers_as_the_original_did(name: str, case_name: str, pair: Any) -> None:
    case, each = case_of(name, case_name), pair(name)
    shown = as_the_original_saw(case["images"])
    if len(shown) > 1 and forward(name)["commit"] == "b4be90b":
        pytest.skip("the original shows the last picture alone")
    if shown and not each.sees_as_trained:
        pytest.skip("llama.cpp has no place for tiles as they were trained")
    features = [each.features(picture) for picture in shown]
    placeholder = each.checkpoint.config.image_token_id
    ids = [
        token
        for number in case["input_ids"]
        for token in [-200] * (len(features[0]) if number == -200 else 1 if number == placeholder else 0) or [number]
    ]
    x = each.language.embedded(ids, torch.cat(features) if features else None)
    expected = final_logits(name, case_name)
    logits = each.language.logits(x)[-len(expected) :]
    torch.testing.assert_close(logits, expected, rtol=0, atol=2 * tolerance(original_of(name)))
    certain = min(sure(case), 8)
    for token in case["greedy_ids"][:certain]:
        assert int(each.language.logits(x)[-1].argmax()) == token
        x = torch.cat([x, each.language.embedded([token])])


@pytest.mark.parametrize(
    ("name", "case_name"), [pair for pair in CASES if "projected_features" in tensors_of(*pair)] if FORWARDS else []
)
@torch.inference_mode()
def test_its_features_are_the_originals(name: str, case_name: str, pair: Any) -> None:
    each, expected = pair(name), tensors_of(name, case_name)["projected_features"]
    shown = as_the_original_saw(case_of(name, case_name)["images"])
    made = torch.stack([each.features(picture) for picture in shown])
    # x + GELU(-x)'s two halves cancel: a little is lost in float32
    torch.testing.assert_close(made, expected, rtol=0, atol=1e-4)


TALKS = [
    [("user", "What is in this picture?")],
    [("user", "Hello there."), ("assistant", "It is a  red circle."), ("user", "And now, naïve ☃?")],
]


def messages_of(talk: list[tuple[str, str]], pictures: int, form: str) -> list[dict[str, Any]]:
    """As programs around llama.cpp hand them to a chat template; pictures in the first message."""
    out: list[dict[str, Any]] = []
    for role, text in talk:
        shown = [] if out else [MARKER] * pictures
        if form == "text" or not shown:
            out.append({"role": role, "content": "".join(shown) + text})
        elif form == "parts of text":
            out.append({"role": role, "content": [{"type": "text", "text": each} for each in [*shown, text]]})
        else:
            parts: list[dict[str, str]] = [{"type": "text", "text": text}]
            out.append({"role": role, "content": parts + [{"type": "image_url"} for _ in shown]})
    return out


@pytest.mark.parametrize("form", ["text", "parts of text", "parts"])
@pytest.mark.parametrize("pictures", [0, 1, 2])
@pytest.mark.parametrize("name", FORWARDS)
def test_a_prompt_has_our_ids(name: str, pictures: int, form: str, pair: Any) -> None:
    each = pair(name)
    if each.checkpoint.template.captions_only and not pictures:
        pytest.skip("the template writes nothing but pictures")
    shown = tuple(plain_pictures()[:1]) * pictures
    tokens, placeholder = each.checkpoint.config.picture_tokens, each.checkpoint.config.image_token_id
    newer_rule = bool(each.checkpoint.tokenizer.first_space()) and not each.checkpoint.tokenizer.prefix_after(2)
    for talk in TALKS:
        if each.checkpoint.template.captions_only and len(talk) > 1:
            continue
        messages = [Message.user(text) if role == "user" else Message.assistant(text) for role, text in talk]
        messages[0] = Message.user(talk[0][1], pictures=shown)
        ours = list(each.checkpoint.encoder.encode(Conversation(tuple(messages))).ids)
        if not each.sees_as_trained:  # a picture of one view in both
            ours = squeezed(ours, placeholder, tokens)
        theirs = each.language.ids(
            rendered(each.language, messages_of(talk, pictures, form)), picture=placeholder, tokens=tokens
        )
        if newer_rule and len(talk) > 1:
            assert len(theirs) == len(ours) + 1  # llama.cpp's one space behind </s>
        else:
            assert theirs == ours


def squeezed(ids: list[int], placeholder: int, tokens: int) -> list[int]:
    """Every run of placeholders as long as one view."""
    out: list[int] = []
    for before, number in zip([None, *ids], ids, strict=False):
        if number != placeholder:
            out.append(number)
        elif before != placeholder:
            out += [placeholder] * tokens
    return out


def test_tiles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="tiles"):
        to_gguf(FIXTURES / "checkpoints" / "llava-v1.6-vicuna-tiny", tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_a_delta_has_to_be_applied_first(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="delta apply"):
        to_gguf(FIXTURES / "checkpoints" / "LLaVA-tiny-delta-v0", tmp_path / "x")
