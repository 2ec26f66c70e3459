"""LLaVA (Liu et al. 2023): a vision tower, a projector and a language model, and how they meet.

Pixels become features, features take the places of image tokens among the text's embeddings, and the language model
reads both alike. Readable top to bottom; knows no text, no files and no sampling.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from llava_engine.model.config import LlavaConfig, MptConfig
from llava_engine.model.language import Cached, LanguageModel
from llava_engine.model.mpt import MptModel
from llava_engine.model.projector import Projector
from llava_engine.model.tiles import merge
from llava_engine.model.vision import VisionTower


class LlavaModel(nn.Module):
    """The whole model; the same one for chat, training and evaluation."""

    def __init__(self, config: LlavaConfig) -> None:
        super().__init__()
        self.config = config
        self.vision_tower = VisionTower(config.vision)
        self.projector = Projector(config.projector, config.vision.hidden_size, config.language.hidden_size)
        self.language_model: LanguageModel | MptModel = (
            MptModel(config.language) if isinstance(config.language, MptConfig) else LanguageModel(config.language)
        )
        ends_rows = config.tiles is not None and config.tiles.merge == "spatial_unpad"
        self.image_newline = nn.Parameter(torch.zeros(config.language.hidden_size)) if ends_rows else None

    def encode_pictures(self, pixels: Tensor) -> Tensor:
        """(B, 3, image_size, image_size) -> (B, picture_tokens, language hidden_size)."""
        hidden = self.vision_tower(pixels, self.config.vision_feature_layer)
        if not self.config.keep_class_token:
            hidden = hidden[:, 1:]
        return self.projector(hidden)  # type: ignore[no-any-return]

    def picture_features(self, views: Tensor, size: tuple[int, int]) -> Tensor:
        """The tokens of one picture: (T, language hidden_size), where T is `tiles.picture_tokens(config, size)`.

        Args:
            views: (N, 3, image_size, image_size): the whole picture and its tiles; just the one without tiles.
            size: (height, width) of the picture itself, in pixels.
        """
        return self.join_views(self.encode_pictures(views), size)

    def join_views(self, features: Tensor, size: tuple[int, int]) -> Tensor:
        """The second half of `picture_features`, for views that were encoded one by one.

        Args:
            features: (N, picture_tokens, hidden_size) of the views.
            size: (height, width) of the picture itself, in pixels.
        """
        return features[0] if self.config.tiles is None else merge(features, size, self.config, self.image_newline)

    def embed(self, ids: Tensor, features: Tensor | None) -> Tensor:
        """Embed a prompt.

        Args:
            ids: (B, T); image_token_id stands where picture features go.
            features: (image tokens in all, hidden_size) in reading order, or None when there are none.

        Returns:
            (B, T, hidden_size).
        """
        x = self.language_model.embed(ids.clamp_min(0))  # a placeholder may be negative; it is no row
        if features is None:
            return x
        where = (ids == self.config.image_token_id).unsqueeze(-1)  # (B, T, 1)
        return x.masked_scatter(where, features.to(x.dtype))

    def forward(
        self,
        ids: Tensor,
        pixels: Tensor | None = None,
        *,
        positions: Tensor | None = None,
        mask: Tensor | None = None,
        cache: Sequence[Cached] | None = None,
    ) -> Tensor:
        """Logits for every position; without tiles, which go through `picture_features` and `embed`.

        Args:
            ids: (B, T) token ids with picture_tokens image tokens for each picture.
            pixels: (P, 3, image_size, image_size): all pictures of the batch in reading order, or None.
            positions: (T,) or (B, T); by default 0 … T-1.
            mask: see `LanguageModel.forward`.
            cache: see `LanguageModel.forward`.

        Returns:
            (B, T, vocab_size), float32.
        """
        features = None if pixels is None else self.encode_pictures(pixels).flatten(0, 1)
        if positions is None:
            positions = torch.arange(ids.shape[1], device=ids.device)
        x = self.embed(ids, features)
        return self.language_model.logits(self.language_model(x, positions, mask=mask, cache=cache))
