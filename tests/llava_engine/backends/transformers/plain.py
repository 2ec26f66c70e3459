"""What plain transformers makes of a conversation: the whole prompt by its own chat, `generate` with nothing kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from llava_engine import Conversation, Message, Reply, Sampling
from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.processor import processor_of
from llava_engine.pictures.opening import Picture, open_picture


class PlainTransformers:
    """A folder, opened by transformers alone; but for the processor, which needs torchvision for some."""

    def __init__(self, folder: Path, family: str) -> None:
        import transformers

        models: Any = transformers.AutoModelForImageTextToText
        self.processor = processor_of(folder, family)
        self.model = models.from_pretrained(folder, dtype="float32").eval()

    def inputs(self, conversation: Conversation) -> Any:
        """The inputs of a prompt."""
        messages: list[dict[str, Any]] = []
        if conversation.system is not None:
            messages.append({"role": "system", "content": [{"type": "text", "text": conversation.system}]})
        for message in conversation.messages:
            pictures = [{"type": "image", "image": picture.image} for picture in message.pictures]
            messages.append({"role": message.role, "content": [*pictures, {"type": "text", "text": message.text}]})
        return self.processor.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )

    def prompt(self, conversation: Conversation) -> list[int]:
        """The ids of a prompt."""
        ids: list[int] = self.inputs(conversation).input_ids[0].tolist()
        return ids

    def answer(self, conversation: Conversation, tokens: int) -> list[int]:
        """Greedy tokens, without the end."""
        inputs = self.inputs(conversation)
        out = self.model.generate(**inputs, do_sample=False, max_new_tokens=tokens)
        ids: list[int] = out[0, inputs.input_ids.shape[1] :].tolist()
        end = self.model.generation_config.eos_token_id
        return ids[: ids.index(end)] if end in ids else ids

    def text(self, ids: list[int]) -> str:
        """Ids as text."""
        return str(self.processor.tokenizer.decode(ids, skip_special_tokens=True))


def noise(seed: int, width: int, height: int) -> Picture:
    """A picture in which every pixel matters."""
    pixels = np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)
    return open_picture(Image.fromarray(pixels))


def run(engine: TransformersEngine, conversation: Conversation, begun: str = "", **sampling: Any) -> Reply:
    """A whole answer, its pieces held to its text."""
    *pieces, reply = engine.stream(conversation, Sampling(**sampling), begun=begun)
    assert isinstance(reply, Reply)
    assert "".join(piece for piece in pieces if isinstance(piece, str)) == reply.text
    return reply


def asked(*turns: tuple[str, list[Picture]] | str, system: str | None = None) -> Conversation:
    """A conversation: user and assistant in turn, a user's turn with pictures or without."""
    messages: list[Message] = []
    for place, turn in enumerate(turns):
        text, pictures = turn if isinstance(turn, tuple) else (turn, [])
        messages.append(Message.assistant(text) if place % 2 else Message.user(text, pictures))
    return Conversation(tuple(messages), system)
