"""The language model alone, on the world's sentences: it learns the tokens and the grammar before it sees a picture.

In: lines of text. Out: a language model that can be pretrained upon. Knows no pictures.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.model.config import LanguageConfig
from llava_engine.model.language import LanguageModel
from training.embedded.picture_world.captions import sentences
from training.figures import NONE, Figures
from training.saving import write_tensors
from training.trainer import ParameterGroup, Source

LANGUAGE_FILE = "language.safetensors"


def new_language_model(config: LanguageConfig, seed: int) -> LanguageModel:
    """A language model to train from nothing: normal weights of 1/√fan-in, halved where a layer adds to the stream."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = LanguageModel(config)
        for name, module in model.named_modules():
            if isinstance(module, nn.Linear) and not name.endswith("lm_head"):
                halved = name.endswith((".out", ".down"))
                nn.init.normal_(module.weight, std=module.in_features**-0.5 * (0.5 if halved else 1.0))
        nn.init.normal_(model.embed_tokens.weight, std=0.1)
        if not config.tie_word_embeddings:
            nn.init.normal_(model.lm_head.weight, std=0.1)
    return model


@dataclass(frozen=True)
class TextSource:
    """Lines of like length, padded: (B, T) ids with -1 after the end of each."""

    seed: int
    tokenizer: Tokenizer
    size: int = 64

    def __getitem__(self, step: int) -> Tensor:
        rng = random.Random(self.seed << 32 | step)
        lines = [self._ids(sentences(rng)) for _ in range(self.size)]
        longest = max(map(len, lines))
        ids = torch.full((self.size, longest + -longest % 8), -1)
        for row, line in zip(ids, lines, strict=True):
            row[: len(line)] = torch.tensor(line)
        return ids

    def _ids(self, line: str) -> list[int]:
        begin, end = self.tokenizer.bos_id, self.tokenizer.eos_id
        assert begin is not None and end is not None
        return [begin, *self.tokenizer.encode(line, first=True), end]


class TextStage:
    """Trains a language model on text."""

    name = "language"

    def __init__(self, model: LanguageModel, source: Source) -> None:
        self.model, self.source = model, source

    def batch_key(self, step: int, progress: float) -> int:
        """The step itself decides the lines."""
        return step

    def loss(self, batch: Tensor, step: int, progress: float) -> tuple[Tensor, Figures]:
        """Cross-entropy of each next token."""
        positions = torch.arange(batch.shape[1] - 1, device=batch.device)
        states = self.model(self.model.embed(batch[:, :-1].clamp(min=0)), positions)
        loss = F.cross_entropy(self.model.logits(states).flatten(0, 1), batch[:, 1:].flatten(), ignore_index=-1)
        return loss, NONE

    def groups(self) -> list[ParameterGroup]:
        """Everything."""
        return [ParameterGroup(tuple(self.model.parameters()))]

    def modules(self) -> dict[str, nn.Module]:
        """The language model."""
        return {"language": self.model}

    def state_dict(self) -> dict[str, Any]:
        """Nothing more."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing more."""

    def export(self, out: Path) -> None:
        """`language.safetensors`, a tied head left out."""
        tensors = self.model.state_dict()
        if self.model.config.tie_word_embeddings:
            del tensors["lm_head.weight"]
        write_tensors(tensors, out / LANGUAGE_FILE)
