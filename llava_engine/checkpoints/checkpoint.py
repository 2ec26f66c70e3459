"""What an opened checkpoint is: shape, all tensors under one spelling, tokenizer, picture settings, and what was found.

Values only; open.py makes them. What follows (loading, converting, showing) sees no difference between layouts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from llava_engine.checkpoints import tensor_names
from llava_engine.checkpoints.sniff import Form, LayoutName
from llava_engine.conversation import templates
from llava_engine.conversation.encoder import PromptEncoder
from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig
from llava_engine.model.tiles import picture_tokens
from llava_engine.pictures.processing import Preprocessing

_AN = {"adapter": "an adapter", "projector": "a projector"}
_KIND = {"MPT": "LLaVA-MPT", "llava-hf 1.5": "LLaVA 1.5", "llava-hf NeXT": "LLaVA NeXT"}


@dataclass(frozen=True)
class Found:
    """What a folder turned out to be, for a person to read.

    Attributes:
        generation: "v0", "v0 ScienceQA", "v1", "MPT", "1.5", "1.6", "llava-hf 1.5", "llava-hf NeXT".
        layout: whose names its config and tensors have.
        form: a whole model, an adapter, or a projector alone (the last two over a base).
        tower: where the vision tower's weights come from.
        base: the folder of the base model, for an adapter or a projector.
        template_why: why this conversation template.
        notes: what is odd but works: one sentence each.
    """

    generation: str
    layout: LayoutName
    form: Form
    tower: str
    base: Path | None
    template_why: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class RawFiles:
    """A checkpoint's small files as they are, for what writes them in another layout.

    Attributes:
        config: the parsed config.json.
        tokenizer: the folder that the tokenizer's files are in.
        added: special tokens beyond those files'.
    """

    config: Mapping[str, Any]
    tokenizer: Path
    added: tuple[str, ...]


@dataclass(frozen=True)
class Checkpoint:
    """An opened checkpoint; no weights are in memory yet.

    Attributes:
        folder: what the user named, or the snapshot in it.
        config: the model's shape; sizes that the config gets wrong are the tensors'.
        tensors: everything that `LlavaModel` needs, by canonical names (tensor_names.py).
        tokenizer: with all added tokens.
        preprocessing: how pictures are made ready.
        found: what it is.
        raw: its small files as they are.
    """

    folder: Path
    config: LlavaConfig
    tensors: TensorSource
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    found: Found
    raw: RawFiles

    @property
    def template(self) -> Template:
        """How this checkpoint wants a conversation written."""
        template = templates.get(self.config.template or "v1")
        if self.config.system is not None:
            template = replace(template, system=self.config.system)
        if self.config.wrap_pictures is not None:
            template = replace(template, wrap_pictures=self.config.wrap_pictures)
        return template

    @property
    def encoder(self) -> PromptEncoder:
        """How a conversation becomes what this checkpoint reads."""
        tokens_of = partial(picture_tokens, self.config)
        return PromptEncoder(self.tokenizer, self.template, None, self.config.image_token_id, tokens_of)

    @property
    def about(self) -> tuple[str, ...]:
        """What it is, for a person: a sentence a line."""
        found = self.found
        layout = "the original's layout" if found.layout == "original" else "the Hugging Face layout"
        over = f", {_AN[found.form]} over {found.base}" if found.base else ""
        return (
            f"{_KIND.get(found.generation, f'LLaVA {found.generation}')} in {layout}{over}.",
            f"Conversations are written as {self.config.template}: {found.template_why}.",
            *found.notes,
        )


def left_out(checkpoint: Checkpoint) -> dict[str, str]:
    """Stored tensors that are knowingly not used, by canonical name, each with the reason."""
    reasons = {name: tensor_names.ignored_because(name) for name in checkpoint.tensors.tensors}
    return {name: reason for name, reason in reasons.items() if reason is not None}
