"""The shape of a LLaVA model: numbers and choices only. Read and written by checkpoints/layouts/."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class VisionConfig:
    """A CLIP vision tower (Radford et al. 2021); the defaults are ViT-L/14 at 336 pixels."""

    image_size: int = 336
    patch_size: int = 14
    hidden_size: int = 1024
    intermediate_size: int = 4096
    num_hidden_layers: int = 24
    num_attention_heads: int = 16
    hidden_act: str = "quick_gelu"
    layer_norm_eps: float = 1e-5

    @property
    def grid(self) -> int:
        """Patches along one side."""
        return self.image_size // self.patch_size


@dataclass(frozen=True)
class LanguageConfig:
    """A language model of the Llama family (Touvron et al. 2023); the defaults are LLaMA-7B."""

    vocab_size: int = 32000
    hidden_size: int = 4096
    intermediate_size: int = 11008
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 32
    head_dim: int = 128
    max_position_embeddings: int = 2048
    rope_theta: float = 10000.0
    rms_norm_eps: float = 1e-6
    tie_word_embeddings: bool = False
    bos_token_id: int = 1
    eos_token_ids: tuple[int, ...] = (2,)


@dataclass(frozen=True)
class MptConfig:
    """An MPT (MosaicML 2023): ALiBi instead of positions, no biases, GELU, its head tied to its embeddings.

    The defaults are MPT-7B. Attributes that a `LanguageConfig` has too mean the same.
    """

    vocab_size: int = 50432
    hidden_size: int = 4096
    intermediate_size: int = 16384
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    max_position_embeddings: int = 2048
    alibi_bias_max: float = 8.0
    layer_norm_eps: float = 1e-5
    bos_token_id: int = 0
    eos_token_ids: tuple[int, ...] = (0,)

    tie_word_embeddings = True

    @property
    def num_key_value_heads(self) -> int:
        """As many as heads: MPT-7B does not group them."""
        return self.num_attention_heads

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.num_attention_heads


PatchMerge = Literal["flat", "spatial", "spatial_unpad"]


@dataclass(frozen=True)
class TilesConfig:
    """How LLaVA 1.6 ("anyres") sees a large picture: whole, and once more in tiles of the tower's size.

    Attributes:
        pinpoints: the (height, width) in pixels that a picture may be fitted into.
        merge: "flat" strings the tiles' features together; "spatial" puts them into one grid, row by row;
            "spatial_unpad" also takes off the padding and ends each row with the learned `image_newline`.
        rounded: whether what padding leaves is rounded to 7 decimals before it is cut to whole patches, as in Hugging
            Face's code; the original does not, and floating point costs it a patch for few sizes in a million.
    """

    pinpoints: tuple[tuple[int, int], ...]
    merge: PatchMerge = "spatial_unpad"
    rounded: bool = True


@dataclass(frozen=True)
class LlavaConfig:
    """Tower + projector + language model.

    Attributes:
        vision: the tower.
        language: the language model.
        projector: "mlp2x_gelu" (two linear layers with GELU between them, LLaVA-1.5), "linear" (LLaVA v0, v1), or
            "mlp2x_linear" (two with nothing between: how the Hugging Face layout writes a linear one).
        vision_feature_layer: which hidden state of the tower is projected; 0 is the embeddings, -1 the last layer.
        keep_class_token: whether the tower's class token is projected too ("full") or dropped ("default").
        tiles: how large pictures are cut up; None when each is seen once (all but 1.6).
        image_token_id: the id that holds a picture's place, once for each projected patch; negative (-200) where the
            checkpoint has no such token (LLaVA 1.5 and later in the original layout).
        template: name of the conversation template; None when the checkpoint does not say.
        system: system text that the weights were trained with; None for the template's own.
        wrap_pictures: whether a picture stands between <im_start> and <im_end>; None for the template's own way.
    """

    vision: VisionConfig
    language: LanguageConfig | MptConfig
    projector: str = "mlp2x_gelu"
    vision_feature_layer: int = -2
    keep_class_token: bool = False
    tiles: TilesConfig | None = None
    image_token_id: int = 32000
    template: str | None = None
    system: str | None = None
    wrap_pictures: bool | None = None

    @property
    def picture_tokens(self) -> int:
        """Tokens that one view of a picture costs: all there is, but for tiles (model/tiles.py counts those)."""
        return self.vision.grid**2 + int(self.keep_class_token)
