"""A pair of GGUF files against the checkpoint that it was made from: a prompt's ids, likeliest tokens, a picture.

llama.cpp computes one side, through llama-cpp-python, and our modules the other, in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jinja2.sandbox import ImmutableSandboxedEnvironment
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.convert.gguf.chat_template import gguf_chat_template
from llava_engine.checkpoints.convert.gguf.llama_cpp_pair import LlamaCppPair
from llava_engine.checkpoints.convert.gguf.pair import file_stem
from llava_engine.checkpoints.convert.gguf.quantizing import SHARE, GgufType, llama_cpp_installed
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ModelError
from llava_engine.model.llava import LlavaModel
from llava_engine.opening import Placement

_QUESTION = "What is there to see in Paris? Name three places."
_TOKENS = 32
_NEAR = 0.02  # of the largest feature: llama.cpp computes GELU from a table in half precision
_DEFECT = "ggml-org/llama.cpp#25814"


@dataclass(frozen=True)
class Verdict:
    """What was found.

    Attributes:
        lines: for a person, a sentence each.
        right: the files are; that llama.cpp reads pictures wrongly by its known defect does not count against them.
    """

    lines: tuple[str, ...]
    right: bool


def refuse_without_llama_cpp() -> None:
    """Say what to install, before anything is written. Raises `ModelError`."""
    if not llama_cpp_installed():
        raise ModelError(
            "--verify computes with llama.cpp, and llama-cpp-python is not installed.",
            "Install it with: pip install llama-cpp-python (it compiles for some minutes), or leave --verify away.",
        )


@torch.inference_mode()
def verify(
    folder: Path,
    out: Path,
    *,
    kind: GgufType,
    base: Path | None = None,
    towers: Mapping[str, Path] | None = None,
    template: str | None = None,
    force: bool = False,
) -> Verdict:
    """Compare what `to_gguf` wrote with what it was made from; arguments as there.

    Raises:
        ModelError: llama.cpp does not take the files.
        OutOfMemoryError: the model does not fit in float32.
    """
    checkpoint = open_checkpoint(folder, base=base, towers=towers, template=template, force=force)
    conversation = Conversation((Message.user(_QUESTION),))
    ids = list(checkpoint.encoder.encode(conversation).ids)
    stem = file_stem(folder)
    model = load_for_inference(
        checkpoint.config, checkpoint.tensors, Placement(device="cpu", dtype="float32", context=len(ids) + _TOKENS)
    ).model
    with LlamaCppPair(out / f"{stem}.gguf", out / f"mmproj-{stem}.gguf", context=len(ids) + _TOKENS) as pair:
        text = gguf_chat_template(checkpoint.template, checkpoint.tokenizer, checkpoint.config.image_token_id)
        messages = [{"role": "user", "content": _QUESTION}]
        prompt = ImmutableSandboxedEnvironment().from_string(text).render(messages=messages, add_generation_prompt=True)
        found = [
            _same_ids(ids, pair.ids(prompt)),
            _same_tokens(model, ids, pair.greedy(ids, _TOKENS), quantized=kind in SHARE),
        ]
        if checkpoint.config.tiles is None:
            found.append(_same_features(model, checkpoint, pair))
    return Verdict(tuple(line for line, _ in found), all(right for _, right in found))


def features_of(model: LlavaModel, pixels: Tensor, *, as_llama_cpp: bool) -> Tensor:
    """A picture's features, (tokens, hidden size), from (1, 3, side, side).

    Args:
        model: on the CPU.
        pixels: normalized.
        as_llama_cpp: with its defect: the class token stands behind the patches there, so that each patch has the
            position of the one before it (the first one that of the class token), and what is taken as patches begins
            with the second and ends with the class token.
    """
    if not as_llama_cpp:
        return model.encode_pictures(pixels)[0]
    tower = model.vision_tower
    right = tower.position_embedding.data
    tower.position_embedding.data = right.roll(1, dims=0)  # attention does not care in which order tokens stand
    try:
        hidden = tower(pixels, model.config.vision_feature_layer)
    finally:
        tower.position_embedding.data = right
    features: Tensor = model.projector(torch.cat([hidden[:, 2:], hidden[:, :1]], dim=1))
    return features[0]


def square_picture(side: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A disc on a background that changes along both sides: (side, side, 3). Nobody has to scale or to cut it."""
    y, x = np.mgrid[:side, :side] / max(side - 1, 1)
    picture = np.stack([x, y, 1 - x], axis=-1)
    picture[(x - 0.4) ** 2 + (y - 0.6) ** 2 < 0.06] = (0.9, 0.1, 0.2)
    rounded: np.ndarray[Any, np.dtype[np.uint8]] = np.rint(picture * 255).astype(np.uint8)
    return rounded


def normalized(picture: np.ndarray[Any, np.dtype[np.uint8]], checkpoint: Checkpoint) -> Tensor:
    """The same as the tower takes it: (1, 3, side, side)."""
    settings = checkpoint.preprocessing
    numbers = torch.from_numpy(picture).float() * settings.rescale
    return ((numbers - torch.tensor(settings.mean)) / torch.tensor(settings.std)).permute(2, 0, 1)[None]


def _same_ids(ours: list[int], theirs: list[int]) -> tuple[str, bool]:
    if ours == theirs:
        return f"Prompt: the same {len(ours)} ids.", True
    return f"Prompt: llama.cpp makes {len(theirs)} ids of what are {len(ours)} here: {theirs} for {ours}.", False


def _same_tokens(model: LlavaModel, ids: list[int], said: list[int], *, quantized: bool) -> tuple[str, bool]:
    """Ours after each beginning of llama.cpp's answer, in one pass."""
    if max(said) >= model.config.language.vocab_size:
        return "Answer: llama.cpp says tokens that the model has not; the file is another model's.", False
    x = model.embed(torch.tensor([ids + said]), None)
    scores = model.language_model.logits(model.language_model(x, torch.arange(x.shape[1])))[0, len(ids) - 1 : -1]
    first = next((place for place, token in enumerate(said) if scores[place].argmax() != token), None)
    if first is None:
        return f"Answer: the same {len(said)} tokens, the likeliest each time.", True
    gap = float(scores[first].max() - scores[first, said[first]])
    return (
        f"Answer: the same tokens up to number {first + 1} of {len(said)}, where ours is ahead by {gap:.2g}"
        + (", as quantization may do." if quantized else "."),
        quantized or gap < _NEAR,
    )


def _same_features(model: LlavaModel, checkpoint: Checkpoint, pair: LlamaCppPair) -> tuple[str, bool]:
    picture = square_picture(checkpoint.config.vision.image_size)
    pixels, theirs = normalized(picture, checkpoint), torch.from_numpy(pair.features(picture))
    ours, defective = (features_of(model, pixels, as_llama_cpp=each) for each in (False, True))
    if theirs.shape != ours.shape:
        return f"Picture: {len(theirs)} tokens in llama.cpp, {len(ours)} here.", False
    largest, off = float(ours.abs().max()), float((ours - theirs).abs().max())
    if off <= _NEAR * largest:
        return f"Picture: the same features, to {off:.1g} of {largest:.2g}.", True
    explained = float((defective - theirs).abs().max())
    if explained <= _NEAR * largest:
        return (
            f"Picture: this llama.cpp reads it wrongly, off by {off:.2g} of {largest:.2g}. The files are right: it is "
            f"its defect {_DEFECT}, which played back here gives its features to {explained:.1g}. "
            "Take a build with the fix, or llava serve.",
            True,
        )
    return f"Picture: llama.cpp's features are off by {off:.2g} of {largest:.2g}, and {_DEFECT} is not why.", False
