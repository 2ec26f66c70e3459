"""What the second set's models compute, by transformers' own classes and arithmetic written out here.

Tower: CLIPVisionModel. Language: LlamaForCausalLM or MptForCausalLM. Between them a projector, and pictures put among
the embeddings, by hand. In: tensors as checkpoints store them. Owes nothing to our engine or its parity room.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from transformers import (
    CLIPVisionConfig,
    CLIPVisionModel,
    LlamaConfig,
    LlamaForCausalLM,
    MptConfig,
    MptForCausalLM,
)

PICTURE = -200


@dataclass(frozen=True)
class Answer:
    """A prompt's continuation.

    Attributes:
        logits: (T, vocabulary) of the prompt.
        ids: the likeliest tokens, one after the other, without an end.
        gaps: how much likelier each was than the next.
    """

    logits: Tensor
    ids: list[int]
    gaps: list[float]


class Reference:
    """One checkpoint in float32."""

    def __init__(
        self,
        config: Mapping[str, Any],
        tensors: Mapping[str, Tensor],
        tower_config: Mapping[str, Any],
        tower: Mapping[str, Tensor],
    ) -> None:
        """Take config.json, the stored tensors (adapters folded in), and the tower's two."""
        self.config = config
        stored = {name: tensor.float() for name, tensor in tensors.items()}
        self.language = _language(config, stored)
        self.vision = CLIPVisionModel(CLIPVisionConfig(**tower_config)).train(False)
        _load(self.vision, {_bare(name): tensor for name, tensor in tower.items() if "position_ids" not in name})
        found = sorted(name for name in stored if "mm_projector" in name and name.endswith("weight"))
        self._layers = [(stored[name], stored[name.removesuffix("weight") + "bias"]) for name in found]
        self._newline = stored.get("model.image_newline")

    @torch.inference_mode()
    def features(self, views: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3, S, S) -> the tower's (N, P, C) and the projected (N, P, hidden)."""
        states = self.vision(views, output_hidden_states=True).hidden_states
        seen = states[self.config["mm_vision_select_layer"]][:, 1:]
        x = seen
        for place, (weight, bias) in enumerate(self._layers):
            x = F.linear(F.gelu(x) if place else x, weight, bias)
        return seen, x

    def embed(self, ids: Sequence[int]) -> Tensor:
        """(T, hidden)."""
        embedded: Tensor = self.language.get_input_embeddings()(torch.tensor(ids, dtype=torch.long))
        return embedded

    @torch.inference_mode()
    def newest(self, ids: Sequence[int], shown: Sequence[Tensor]) -> Tensor:
        """Each placeholder replaced by its picture's (T, hidden); what is too long is cut."""
        parts, left, start = [], list(shown), 0
        for place, token in enumerate(ids):
            if token == PICTURE:
                parts += [self.embed(ids[start:place]), left.pop(0)]
                start = place + 1
        parts.append(self.embed(ids[start:]))
        whole = torch.cat(parts)
        return whole[: self.config["tokenizer_model_max_length"]] if shown else whole

    @torch.inference_mode()
    def june(self, ids: Sequence[int], shown: Sequence[Tensor], patch: int) -> Tensor:
        """The last run of patch tokens replaced by the last picture: all that June's code does with several."""
        x = self.embed(ids)
        if shown:
            end = max(place for place, token in enumerate(ids) if token == patch) + 1
            x = torch.cat([x[: end - len(shown[-1])], shown[-1], x[end:]])
        return x

    @torch.inference_mode()
    def unpadded(self, features: Tensor, tiles: tuple[int, int], size: tuple[int, int]) -> Tensor:
        """Tiles' (1 + rows * columns, P, hidden) -> one picture's (T, hidden).

        The whole picture first; then the tiles' patches row by row, without those that lie in the padding, a newline
        after each row. `tiles` is (columns, rows), `size` the picture's (width, height).
        """
        columns, rows = tiles
        side = round(features.shape[1] ** 0.5)
        plane = features[1:].view(rows, columns, side, side, -1).permute(0, 2, 1, 3, 4)
        plane = plane.reshape(rows * side, columns * side, -1)
        height, width = plane.shape[:2]
        if size[0] / size[1] > width / height:
            border = (height - int(size[1] * (width / size[0]))) // 2
            plane = plane[border : height - border]
        else:
            border = (width - int(size[0] * (height / size[1]))) // 2
            plane = plane[:, border : width - border]
        assert self._newline is not None
        newline = self._newline.expand(plane.shape[0], 1, -1)
        return torch.cat([features[0], torch.cat([plane, newline], dim=1).flatten(0, 1)])

    @torch.inference_mode()
    def answer(self, embeddings: Tensor, tokens: int) -> Answer:
        """To (T, hidden)."""
        out = self.language(inputs_embeds=embeddings[None], use_cache=True)
        logits, ids, gaps = out.logits[0], [], []
        last = logits[-1]
        for _ in range(tokens):
            best = last.topk(2)
            ids.append(int(best.indices[0]))
            gaps.append(float(best.values[0] - best.values[1]))
            next_token = self.embed(ids[-1:])[None]
            out = self.language(inputs_embeds=next_token, past_key_values=out.past_key_values, use_cache=True)
            last = out.logits[0, -1]
        return Answer(logits, ids, gaps)


def _language(config: Mapping[str, Any], stored: Mapping[str, Tensor]) -> Any:
    ours = ("mm_projector", "vision_tower", "image_newline", "inv_freq")
    weights = {name: tensor for name, tensor in stored.items() if not any(part in name for part in ours)}
    if "d_model" in config:
        keys = ("d_model", "n_heads", "n_layers", "max_seq_len", "vocab_size", "expansion_ratio", "no_bias")
        made = MptForCausalLM(
            MptConfig(**{key: config[key] for key in keys}, attn_config={"alibi": True, "alibi_bias_max": 8})
        )
        _load(made, weights | {"lm_head.weight": weights["transformer.wte.weight"]})
        return made.train(False)
    sizes = (
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "rms_norm_eps",
        "rope_theta",
        "vocab_size",
        "max_position_embeddings",
    )
    model = LlamaForCausalLM(LlamaConfig(**{key: config[key] for key in sizes if key in config}))
    _load(model, weights)
    return model.train(False)


def _load(model: Any, weights: Mapping[str, Tensor]) -> None:
    model.load_state_dict({name: tensor.float() for name, tensor in weights.items()}, strict=True)


def _bare(name: str) -> str:
    """A tower's tensor as transformers names it today."""
    return name.rpartition("vision_model.")[2]


def folded(
    base: Mapping[str, Tensor], adapter: Mapping[str, Tensor], others: Mapping[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """A base with an adapter's products added and its other trained tensors in place."""
    made = {name: tensor.float() for name, tensor in base.items()}
    for name, down in adapter.items():
        if ".lora_A." in name:
            up = adapter[name.replace(".lora_A.", ".lora_B.")]
            target = name.removeprefix("base_model.model.").replace(".lora_A", "")
            made[target] = made[target] + scale * (up.float() @ down.float())
    return made | {name.removeprefix("base_model.model."): tensor.float() for name, tensor in others.items()}
