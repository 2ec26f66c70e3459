"""A converted folder as transformers opens it, held to the checkpoint that it was made from: ids, pixels, logits."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import load_for_inference, load_trainable
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import TextSpan, spans
from llava_engine.conversation.tokenizer import assemble
from llava_engine.engine import Engine
from llava_engine.model.tiles import picture_tokens
from llava_engine.opening import Placement
from llava_engine.pictures.opening import Picture

# What tells tokenizers apart: spaces, lines, letters without a piece, special tokens' texts with spaces around.
TEXTS = ["hello there", "Two  spaces\nand a line", "trailing ", "éè 你好 😀", "a</s>b", "<s>x</s>y"]


def processor_of(folder: Path) -> Any:
    """What makes transformers' inputs."""
    import transformers

    processors: Any = transformers.AutoProcessor
    return processors.from_pretrained(folder)


def model_of(folder: Path) -> Any:
    """The folder's model in float64, with nothing missing and nothing left over."""
    import transformers

    models: Any = transformers.AutoModelForImageTextToText
    model, info = models.from_pretrained(folder, dtype=torch.float64, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys")), info
    return model.eval()


def inputs_of(processor: Any, conversation: Conversation) -> Any:
    """A prompt by the folder's own chat template and processor."""
    messages: list[dict[str, Any]] = []
    if conversation.system is not None:
        messages.append({"role": "system", "content": conversation.system})
    for message in conversation.messages:
        pictures = [{"type": "image"} for _ in message.pictures]
        messages.append({"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]})
    prompt = processor.apply_chat_template(messages, add_generation_prompt=True)
    images = [picture.image for picture in conversation.pictures]
    return processor(text=prompt, images=images or None, return_tensors="pt")


def conversations(pictures: Sequence[Picture], *, captions_only: bool = False) -> list[Conversation]:
    """One turn and several, no picture and several, a system text."""
    one, other = pictures
    asked = Conversation((Message.user("What is this?", [one]),))
    if captions_only:
        return [asked]
    return [
        asked,
        Conversation((Message.user("Hello"),), system="Be kind."),
        Conversation((Message.user("", [other]),)),
        Conversation((Message.user("Both?", [one, other]), Message.assistant("A thing."), Message.user("And  now?"))),
        Conversation((Message.user("x y"), Message.assistant("Fine."), Message.user("again", [other]))),
    ]


def check_inputs(checkpoint: Checkpoint, processor: Any, pictures: Sequence[Picture]) -> None:
    """Texts, prompts and pictures become the same numbers there and here."""
    for text in TEXTS:
        ours = assemble([TextSpan(text, "user", special=True)], checkpoint.tokenizer, [], -1).ids
        assert processor.tokenizer(text).input_ids == list(ours), text
    for conversation in conversations(pictures, captions_only=checkpoint.template.captions_only):
        inputs = inputs_of(processor, conversation)
        assert inputs.input_ids[0].tolist() == _ids(checkpoint, conversation, processor.image_token_id)
        views = [checkpoint.preprocessing.views(picture) for picture in conversation.pictures]
        if views:
            theirs = inputs.pixel_values.numpy().reshape(len(views), -1, *views[0].shape[1:])
            for place, view in enumerate(views):
                np.testing.assert_allclose(theirs[place, : len(view)], view, rtol=0, atol=1e-5)


def check(checkpoint: Checkpoint, folder: Path, pictures: Sequence[Picture], atol: float = 1e-5) -> None:
    """Hold transformers' model of a converted folder to the checkpoint that it came from, in all that counts."""
    theirs, processor = model_of(folder), processor_of(folder)
    check_inputs(checkpoint, processor, pictures)
    ours = load_trainable(checkpoint.config, checkpoint.tensors).double().eval()
    rows = checkpoint.config.language.vocab_size
    asked = conversations(pictures, captions_only=checkpoint.template.captions_only)
    for conversation in asked[::3]:  # one picture, and two in several turns
        inputs = inputs_of(processor, conversation)
        if conversation.pictures:
            inputs["pixel_values"] = inputs.pixel_values.double()
        with torch.inference_mode():
            logits = theirs(**inputs).logits
            expected = _logits(ours, inputs, conversation.pictures, processor.image_token_id)
        torch.testing.assert_close(logits[..., :rows].float(), expected, rtol=0, atol=atol)
        if logits.shape[-1] > rows:  # the token for pictures never wins
            assert (logits[..., rows:] <= logits[..., :rows].max(-1, keepdim=True).values).all()
            assert (logits.argmax(-1) < rows).all()
    _check_greedy(checkpoint, theirs, processor, asked[0])


def _ids(checkpoint: Checkpoint, conversation: Conversation, placeholder: int) -> list[int]:
    lengths = [picture_tokens(checkpoint.config, _size(picture)) for picture in conversation.pictures]
    return list(assemble(spans(conversation, checkpoint.template), checkpoint.tokenizer, lengths, placeholder).ids)


def _logits(model: Any, inputs: Any, pictures: Sequence[Picture], placeholder: int) -> Tensor:
    """Ours, on the pixels of theirs."""
    ids = inputs.input_ids
    x = model.language_model.embed(ids.clamp_max(model.config.language.vocab_size - 1))
    if pictures:
        pixels = inputs.pixel_values.reshape(len(pictures), -1, *inputs.pixel_values.shape[-3:])
        features = []
        for picture, views in zip(pictures, pixels, strict=True):
            used = views[: views.flatten(1).any(1).sum()]  # the rest fills up the batch
            features.append(model.picture_features(used, _size(picture)))
        x = x.masked_scatter((ids == placeholder).unsqueeze(-1), torch.cat(features))
    logits: Tensor = model.language_model.logits(model.language_model(x, torch.arange(ids.shape[1])))
    return logits.float()


def _check_greedy(checkpoint: Checkpoint, model: Any, processor: Any, conversation: Conversation) -> None:
    engine = Engine(
        load_for_inference(checkpoint.config, checkpoint.tensors, Placement(device="cpu", dtype="float32")), checkpoint
    )
    [reply] = [each for each in engine.stream(conversation, Sampling(max_new_tokens=12)) if isinstance(each, Reply)]
    inputs = inputs_of(processor, conversation)
    inputs["pixel_values"] = inputs.pixel_values.double()
    tokens = model.generate(**inputs, do_sample=False, max_new_tokens=12)[0, inputs.input_ids.shape[1] :].tolist()
    assert reply.token_ids
    assert tokens[: len(reply.token_ids)] == list(reply.token_ids)


def _size(picture: Picture) -> tuple[int, int]:
    return picture.size[1], picture.size[0]
