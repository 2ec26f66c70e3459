"""An engine over an MPT in the original's layout: a chat with pictures, warm and cold, alone and among others."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor

import llava_engine
from llava_engine import Conversation, Message, Reply
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.engine import Engine
from llava_engine.errors import ModelError
from llava_engine.pictures.opening import Picture, open_picture
from tests.conformance.fixtures import FIXTURES
from tests.llava_engine.originals import EYES, ROWS, SEES, write, write_tower
from tests.llava_engine.test_engine import run

MARKS = ("<|im_start|>", "<|im_end|>", "<im_patch>", "<im_start>", "<im_end>")
WIDTH, HEADS, LAYERS = 48, 6, 2
# Drawn, since the likeliest token of random weights is soon the same for ever.
DRAWN: dict[str, Any] = {"temperature": 1.0, "seed": 5, "max_new_tokens": 10}
CONFIG = {
    "model_type": "llava_mpt",
    "d_model": WIDTH,
    "n_heads": HEADS,
    "n_layers": LAYERS,
    "expansion_ratio": 4,
    "max_seq_len": 1500,
    "vocab_size": ROWS + len(MARKS),
    "no_bias": True,
    "norm_type": "low_precision_layernorm",
    "attn_config": {"alibi": True, "alibi_bias_max": 8, "attn_type": "multihead_attention"},
    **EYES,
    "mm_use_im_start_end": True,
}


def tensors() -> dict[str, Tensor]:
    """Layers that drown the embeddings: the head is tied to these, and would say the last token again and again."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return 0.4 * torch.randn(shape, generator=generator)

    made = {
        "transformer.wte.weight": 0.6 * draw(ROWS + len(MARKS), WIDTH),
        "transformer.norm_f.weight": 1 + 0.1 * draw(WIDTH),
        "transformer.mm_projector.weight": draw(WIDTH, SEES),
        "transformer.mm_projector.bias": draw(WIDTH),
    }
    for layer in range(LAYERS):
        at = f"transformer.blocks.{layer}."
        for name, *shape in (
            ("attn.Wqkv", 3 * WIDTH, WIDTH),
            ("attn.out_proj", WIDTH, WIDTH),
            ("ffn.up_proj", 4 * WIDTH, WIDTH),
            ("ffn.down_proj", WIDTH, 4 * WIDTH),
        ):
            made[f"{at}{name}.weight"] = draw(*shape)
        made[f"{at}norm_1.weight"], made[f"{at}norm_2.weight"] = 1 + 0.1 * draw(WIDTH), 1 + 0.1 * draw(WIDTH)
    return made


def _released() -> list[Path]:
    """The MPTs among the conformance checkpoints, where these are there."""
    configs = sorted((FIXTURES / "checkpoints").glob("*/config.json"))
    return [config.parent for config in configs if "d_model" in json.loads(config.read_text("utf-8"))]


@pytest.fixture(scope="module", params=["written here", *_released()], ids=lambda one: Path(one).name)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of random weights, and those of the conformance fixtures that are there."""
    if isinstance(request.param, Path):
        return request.param
    at = tmp_path_factory.mktemp("models")
    write_tower(at / "somewhere" / "eyes")
    return write(at / "model", CONFIG, tensors(), added=MARKS)


def load(folder: Path) -> Engine:
    return llava_engine.load(folder, device="cpu")


@pytest.fixture
def engine(folder: Path) -> Engine:
    return load(folder)


def picture(colour: str, size: tuple[int, int] = (70, 50)) -> Picture:
    return open_picture(Image.new("RGB", size, colour))


def logits_of(engine: Engine, conversation: Conversation) -> Tensor:
    """After the whole prompt, read in one go without any cache."""
    model, checkpoint = engine._model, open_checkpoint(engine.card.folder)
    prompt = checkpoint.encoder.encode(conversation)
    with torch.inference_mode():
        seen = [
            model.encode_pictures(torch.from_numpy(checkpoint.preprocessing.views(one)))
            for one in conversation.pictures
        ]
        features = torch.cat([one.flatten(0, 1) for one in seen]) if seen else None
        x = model.embed(torch.tensor([prompt.ids]), features)
        return model.language_model.logits(model.language_model(x, torch.arange(x.shape[1])))[0, -1]


def test_several_turns_and_pictures_warm_are_those_of_a_cold_start(folder: Path, engine: Engine) -> None:
    shown = [[picture("red")], [], [picture("blue"), picture("red"), picture("green", (30, 90))], []]
    conversation = Conversation()
    for turn, pictures in enumerate(shown):
        conversation = conversation.then(Message.user(f"What {turn}?", pictures))
        warm = run(engine, conversation, **DRAWN)
        cold = run(load(folder), conversation, **DRAWN)
        assert warm.token_ids == cold.token_ids
        assert cold.cached_tokens == 0
        assert (warm.cached_tokens > 0) == (turn > 0)
        assert len(warm.picture_tokens) == len(conversation.pictures)
        conversation = conversation.then(Message.assistant(warm.text))


def test_every_picture_is_seen(engine: Engine) -> None:
    """Each of several changes what comes after, unlike in the original, which sees the last one only."""
    colours = ["red", "blue", "green"]
    first = logits_of(engine, _asked(*colours))
    for place in range(3):
        other = logits_of(engine, _asked(*colours[:place], "white", *colours[place + 1 :]))
        assert (first - other).abs().max() > 1e-3


def test_many_at_once_are_each_answered_as_alone(folder: Path, engine: Engine) -> None:
    questions = [("Hello, what is this here?", ["red", "blue"]), ("Hm", []), ("What?", ["green"]), ("And this?", [])]
    asked = [(text, [picture(colour) for colour in colours]) for text, colours in questions]
    replies = engine.answer(asked, **DRAWN)
    for (text, pictures), reply in zip(asked, replies, strict=True):
        alone = run(load(folder), Conversation((Message.user(text, pictures),)), **DRAWN)
        assert reply.token_ids == alone.token_ids


def test_chatml_is_written_and_its_end_ends_the_answer(engine: Engine) -> None:
    reply: Reply = run(engine, _asked("red"), max_new_tokens=10)
    assert engine.card.template == "mpt"
    assert reply.prompt.startswith("<|im_start|>system\n")
    assert "<im_start><image><im_end>" in reply.prompt
    assert reply.prompt.endswith("<|im_end|><|im_start|>assistant\n")
    assert "<|im_end|>" not in reply.text


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"attn_config": {"alibi": False}}, "alibi"),
        ({"attn_config": {"alibi": True, "clip_qkv": 6}}, "clip_qkv"),
        ({"attn_config": {"alibi": True, "qk_ln": True}}, "qk_ln"),
        ({"attn_config": {"alibi": True, "prefix_lm": True}}, "prefix_lm"),
        ({"attn_config": {"alibi": True, "softmax_scale": 1.0}}, "softmax_scale"),
        ({"attn_config": {"alibi": True, "attn_type": "multiquery_attention"}}, "attn_type"),
        ({"attn_config": {"alibi": True, "alibi_bias_max": float("nan")}}, "alibi_bias_max"),
        ({"attn_config": {"alibi": True, "alibi_bias_max": -1e5}}, "alibi_bias_max"),
        ({"attn_config": 3}, "attn_config"),
        ({"no_bias": False}, "no_bias"),
        ({"logit_scale": "inv_sqrt_d_model"}, "logit_scale"),
        ({"norm_type": "rmsnorm"}, "norm_type"),
        ({"n_heads": HEADS - 1}, "n_heads"),
        ({"n_heads": 0}, "n_heads"),
    ],
)
def test_an_mpt_that_would_be_computed_wrongly_is_refused(changes: dict[str, Any], named: str, tmp_path: Path) -> None:
    write_tower(tmp_path / "somewhere" / "eyes")
    folder = write(tmp_path / "model", {**CONFIG, **changes}, tensors(), added=MARKS)
    with pytest.raises(ModelError, match=named):
        load(folder)


def _asked(*colours: str) -> Conversation:
    return Conversation((Message.user("What?", [picture(colour) for colour in colours]),))
