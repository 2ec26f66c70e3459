"""A checkpoint of the original's, opened to be asked as the original's own code asks it: ids, pictures, embeddings.

Which of the original's two states speaks is told by what the checkpoint is: those before 1.5 are June 2023's. Always
on the CPU and in float32, since it is there to compare with. Knows no stopping and no training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import LoadedModel, load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.model.llava import LlavaModel
from llava_engine.opening import Placement
from llava_engine.parity.embedding import Marks, june, newest
from llava_engine.parity.original_templates import TEMPLATES, Commit, OriginalTemplate
from llava_engine.parity.pixels import opened, pixels
from llava_engine.parity.prompts import with_patches
from llava_engine.parity.tokens import OriginalTokenizer, ids_with_pictures, original_tokenizer
from llava_engine.pictures.opening import Picture

# The template that the original's command line would pick, had it looked into the checkpoint and not at its name.
_JUNE = {"v0": "multimodal", "sqa": "simple", "v1-june": "llava_v1", "mpt": "mpt_multimodal"}
_NEWEST = {
    "v1": "llava_v1",
    "mistral": "mistral_instruct",
    "chatml": "chatml_direct",
    "llama2": "llava_llama_2",
    "plain": "plain",
}


@dataclass(frozen=True)
class Original:
    """A checkpoint as the original has it.

    Attributes:
        commit: which state of the original: "b4be90b" (June 2023) or "c121f04".
        checkpoint: what was opened.
        loaded: its weights in float32.
        tokenizer: the one that answers questions; June trained with another.
        template: its conversation template in the original.
        eos_id: what ends an answer beside the stop string; None when the checkpoint's files name nothing.
        longest: where the newest state cuts prompts with pictures off; None when nowhere.
    """

    commit: Commit
    checkpoint: Checkpoint
    loaded: LoadedModel
    tokenizer: OriginalTokenizer
    template: OriginalTemplate
    eos_id: int | None
    longest: int | None

    @classmethod
    def load(cls, folder: Path, *, base: Path | None = None, towers: Mapping[str, Path] | None = None) -> Original:
        """Open a checkpoint; see `open_checkpoint`.

        Raises:
            ModelError: it can not be opened, or the original never had such a checkpoint.
        """
        checkpoint = open_checkpoint(folder, base=base, towers=towers)
        if checkpoint.found.layout != "original":
            raise ModelError(
                f"{folder} is not in the original's layout, so its code has no answer for it.",
                "Ask without parity.",
            )
        name = checkpoint.config.template or ""
        commit: Commit = "b4be90b" if name in _JUNE else "c121f04"
        raw = read_json(folder / "config.json")
        return cls(
            commit,
            checkpoint,
            load_for_inference(checkpoint.config, checkpoint.tensors, Placement(device="cpu", dtype="float32")),
            tokenizer_of(checkpoint, commit, fast=commit == "b4be90b"),
            TEMPLATES[commit][(_JUNE | _NEWEST)[name]],
            _eos_id(checkpoint, raw),
            raw.get("tokenizer_model_max_length") if commit == "c121f04" else None,
        )

    @property
    def model(self) -> LlavaModel:
        """The model itself."""
        return self.loaded.model

    def ids(self, prompt: str) -> list[int]:
        """The ids of a prompt with <image> tags; at June each becomes as many ids as a picture has patches."""
        if self.commit == "c121f04":
            return ids_with_pictures(prompt, self.tokenizer)
        config = self.checkpoint.config
        return self.tokenizer.ids(with_patches(prompt, config.picture_tokens, start_end=bool(config.wrap_pictures)))

    @torch.inference_mode()
    def features(self, pictures: Sequence[Picture]) -> list[Tensor]:
        """(n, hidden_size) of each picture, read as the original does; raises `ValueError` for some odd ones."""
        preprocessing = self.checkpoint.preprocessing
        mode = preprocessing.mode if preprocessing.mode != "stretch" else "square"  # the original has no such tower
        found: list[Tensor] = []
        for picture in pictures:
            image = opened(BytesIO(picture.data))
            made = torch.from_numpy(pixels(image, preprocessing, mode, preprocessing.pinpoints))
            views = made if made.ndim == 4 else made[None]
            found.append(self.model.picture_features(views, (image.height, image.width)))
        return found

    @torch.inference_mode()
    def embeddings(self, ids: Sequence[int], pictures: Sequence[Picture]) -> Tensor:
        """(1, T, hidden_size): a prompt as the language model gets it; raises `ValueError` where the original does."""
        features = self.features(pictures) or None
        if self.commit == "c121f04":
            return newest(self.model, ids, features, self.longest)
        return june(self.model, torch.tensor([ids]), features, self.marks)

    @property
    def marks(self) -> Marks:
        """June's tokens for pictures."""
        special = self.tokenizer.special_ids
        around = (special["<im_start>"], special["<im_end>"]) if self.checkpoint.config.wrap_pictures else None
        return Marks(self.checkpoint.config.image_token_id, around)


def tokenizer_of(checkpoint: Checkpoint, commit: Commit, *, fast: bool, renewed: bool = False) -> OriginalTokenizer:
    """One of the original's tokenizers for a checkpoint, with the tokens that its code adds when it loads it."""
    folder, base = checkpoint.folder, checkpoint.found.base
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    added = ["<im_patch>"] if commit == "b4be90b" else []
    if checkpoint.config.wrap_pictures:
        added += ["<im_start>", "<im_end>"]
    return original_tokenizer(
        folder if own or base is None else base, commit, fast=fast, added=tuple(added), renewed=renewed
    )


def _eos_id(checkpoint: Checkpoint, raw: Mapping[str, Any]) -> int | None:
    """From the generation settings, which an adapter takes from its base; else from config.json."""
    settings = (checkpoint.found.base or checkpoint.folder) / "generation_config.json"
    named = (read_json(settings) if settings.is_file() else raw).get("eos_token_id")
    return named if isinstance(named, int) else None
