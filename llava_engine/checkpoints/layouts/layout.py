"""What a layout answers when a checkpoint is opened: one module each for Hugging Face's and the original's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from llava_engine.checkpoints.parts import Parts
from llava_engine.checkpoints.sniff import Form
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig
from llava_engine.pictures.processing import Preprocessing


@dataclass(frozen=True)
class Reading:
    """What a layout makes of a checkpoint's parts.

    Attributes:
        config: the model's shape, as config.json and the tower say.
        tensors: everything that the model needs, by canonical names.
        preprocessing: how pictures are made ready.
        tower: where the vision tower's weights come from, for a person.
        notes: what is odd but works: one sentence each.
    """

    config: LlavaConfig
    tensors: TensorSource
    preprocessing: Preprocessing
    tower: str
    notes: tuple[str, ...] = ()


class Layout(Protocol):
    """A layout; its module is its only instance."""

    def check(self, parts: Parts) -> None:
        """Refuse a config that is of no LLaVA, before weights are looked for. Raises `ModelError`."""

    def read(self, parts: Parts) -> Reading:
        """Read config, picture settings and tensors. Raises `ModelError`."""

    def added_tokens(self, raw: Mapping[str, Any], config: LlavaConfig) -> tuple[str, ...]:
        """Special tokens that the layout's own code adds to the tokenizer when it loads a model."""

    def image_token_id(self, config: LlavaConfig, tokenizer: Tokenizer) -> int:
        """The id that stands for a picture; PLACEHOLDER where none of the vocabulary's does."""

    def generation(self, config: LlavaConfig, tokenizer: Tokenizer, form: Form) -> str:
        """The generation, as people call it: see `Found`."""
