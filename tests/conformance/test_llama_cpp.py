"""The fixtures' GGUF files in llama.cpp itself, where llama-cpp-python is installed: nothing asks for it.

Greedy tokens and prompts are the original's and ours. Features are ours in a build that has the fix of
ggml-org/llama.cpp#25814; in one that has not they are those of its defect, played back here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from llava_engine.checkpoints.convert.gguf.llama_cpp_pair import LlamaCppPair
from llava_engine.checkpoints.convert.gguf.pair import to_gguf
from llava_engine.checkpoints.convert.gguf.verify import features_of, normalized, square_picture, verify
from llava_engine.conversation.conversation import Conversation, Message
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import FORWARDS, case_of, forward, forward_cases, original_of, sure
from tests.conformance.test_gguf import TALKS, messages_of
from tests.llava_engine.gguf_reference import GgufReference, rendered

pytestmark = [
    needs_fixtures,
    pytest.mark.skipif(find_spec("llama_cpp") is None, reason="llama-cpp-python is not installed"),
]

WHOLE = [name for name in FORWARDS if not forward(name).get("base")]  # the six generations
TEXTS = [pair for pair in forward_cases() if pair[0] in WHOLE and not case_of(*pair)["images"]]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Of a fixture: its language model's file and its tower's."""
    room = tmp_path_factory.mktemp("llama_cpp")

    def made(name: str) -> tuple[Path, Path]:
        folder = FIXTURES / forward(name)["checkpoint"]
        to_gguf(folder, room / folder.name, force=original_of(name).checkpoint.config.tiles is not None)
        return room / folder.name / f"{folder.name}.gguf", room / folder.name / f"mmproj-{folder.name}.gguf"

    return cache(made)


@pytest.fixture
def pair(files: Any, name: str) -> Iterator[LlamaCppPair]:
    with LlamaCppPair(*files(name), context=1024) as loaded:
        yield loaded


@pytest.mark.parametrize(("name", "case_name"), TEXTS)
def test_text_is_answered_as_by_the_original(name: str, case_name: str, pair: LlamaCppPair) -> None:
    case = case_of(name, case_name)
    certain = sure(case)
    assert pair.greedy(case["input_ids"], len(case["greedy_ids"]))[:certain] == case["greedy_ids"][:certain]


@pytest.mark.parametrize("name", WHOLE)
def test_prompts_have_our_ids(name: str, pair: LlamaCppPair, files: Any) -> None:
    checkpoint = original_of(name).checkpoint
    newer_rule = bool(checkpoint.tokenizer.first_space()) and not checkpoint.tokenizer.prefix_after(2)
    for talk in TALKS:
        messages = [Message.user(text) if role == "user" else Message.assistant(text) for role, text in talk]
        ours = list(checkpoint.encoder.encode(Conversation(tuple(messages))).ids)
        theirs = pair.ids(rendered(GgufReference(files(name)[0]), messages_of(talk, 0, "text")))
        if newer_rule and len(talk) > 1:
            assert len(theirs) == len(ours) + 1  # its one space behind </s>
        else:
            assert theirs == ours


@pytest.mark.parametrize("name", WHOLE)
@torch.inference_mode()
def test_a_picture_has_our_features_or_those_of_the_known_defect(name: str, pair: LlamaCppPair) -> None:
    original = original_of(name)
    checkpoint = original.checkpoint
    if checkpoint.config.tiles is not None:
        pytest.skip("llama.cpp has no place for tiles as they were trained")
    picture = square_picture(checkpoint.config.vision.image_size)
    theirs, pixels = pair.features(picture), normalized(picture, checkpoint)
    right, wrong = (features_of(original.model, pixels, as_llama_cpp=each).numpy() for each in (False, True))
    near = 5e-3 * max(1.0, float(np.abs(right).max()))
    if np.abs(theirs - right).max() > near:
        np.testing.assert_allclose(theirs, wrong, rtol=0, atol=near)
        pytest.skip("this build of llama.cpp has its defect #25814, and nothing else: played back, it is the same")


@pytest.mark.parametrize("kind", ["q8_0", "q4_k_m"])
def test_quantized_files_load_and_are_verified(tmp_path: Path, kind: Any) -> None:
    folder = FIXTURES / forward(WHOLE[-2])["checkpoint"]
    to_gguf(folder, tmp_path / "x", kind=kind)
    assert {each.name for each in (tmp_path / "x").iterdir()} == {
        f"{folder.name}.gguf",
        f"mmproj-{folder.name}.gguf",
        "Modelfile",
    }
    verdict = verify(folder, tmp_path / "x", kind=kind)
    assert verdict.right and verdict.lines[0].startswith("Prompt: the same")
    other = FIXTURES / forward(WHOLE[0])["checkpoint"]
    (tmp_path / "y").mkdir()
    for each in (tmp_path / "x").glob("*.gguf"):  # another model's files, by this one's name
        each.rename(tmp_path / "y" / each.name.replace(folder.name, other.name))
    assert not verify(other, tmp_path / "y", kind="f16").right
