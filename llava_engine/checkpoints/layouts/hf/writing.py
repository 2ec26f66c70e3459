"""An opened checkpoint -> the folder that transformers' LlavaForConditionalGeneration or LlavaNext… opens as it is.

Names are those of the released llava-hf checkpoints. What the layout has no place for is written another way that
computes the same: a linear projector as two layers, the second of which changes nothing; a picture's place as a token
of its own. Our own loader reads all of it back.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.layouts.folder_plan import (
    FolderPlan,
    OutTensor,
    dtype_name,
    json_text,
    kept,
    used_tensors,
)
from llava_engine.checkpoints.layouts.hf.chat_template import chat_template
from llava_engine.checkpoints.layouts.hf.config import to_hf
from llava_engine.checkpoints.layouts.hf.picture_settings import picture_settings
from llava_engine.checkpoints.layouts.hf.tokenizer import HfTokenizer, hf_tokenizer
from llava_engine.checkpoints.tensor_names import EMBEDDINGS, HEAD
from llava_engine.conversation.sentencepiece import Pieces, unsaid
from llava_engine.conversation.tokenizer_files import read_files
from llava_engine.files.shards import PlannedTensor
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig

_PROJECTOR = "multi_modal_projector.linear_"


def hf_folder(checkpoint: Checkpoint, dtype: torch.dtype | None = None) -> FolderPlan:
    """Plan the folder.

    Args:
        checkpoint: in any layout.
        dtype: what the weights will be in, for config.json; None for what they are in.

    Raises:
        ModelError: the layout has no place for this model: an MPT, or tiles that are merged in another way.
    """
    to_hf(checkpoint.config)  # refuses what it can not hold, before anything else is looked at
    config, tensors = checkpoint.config, checkpoint.tensors
    files = read_files(checkpoint.raw.tokenizer, checkpoint.raw.added)
    names = hf_tokenizer(
        files.spec, files.config, checkpoint.tokenizer, config.image_token_id, config.language.max_position_embeddings
    )
    rows = max(config.language.vocab_size, names.picture_id + 1)
    unknown = checkpoint.tokenizer.special_ids.get(names.settings.get("unk_token", ""), 0)
    out = [
        _longer(tensors, name, rows, unknown) if name in (EMBEDDINGS[0], HEAD) else kept(tensors, name, name)
        for name in used_tensors(checkpoint)
    ]
    if config.projector == "linear":
        out += _second_layer(tensors, config.language.hidden_size)
    return FolderPlan(
        tuple(out), _files(checkpoint, names, rows, dtype_name(checkpoint, dtype)), _notes(config, files.pieces)
    )


def _files(checkpoint: Checkpoint, names: HfTokenizer, rows: int, dtype: str) -> dict[str, Any]:
    config = checkpoint.config
    language = replace(config.language, vocab_size=rows)
    written = to_hf(
        replace(
            config,
            language=language,
            image_token_id=names.picture_id,
            projector="mlp2x_linear" if config.projector == "linear" else config.projector,
            wrap_pictures=checkpoint.template.wrap_pictures,
        )
    )
    if config.image_token_id < 0:  # how many rows there were before the token for pictures, for the way back
        written["llava"]["rows"] = config.language.vocab_size
    written["dtype"] = dtype
    begin, end, pad = checkpoint.tokenizer.bos_id, checkpoint.tokenizer.eos_id, checkpoint.tokenizer.pad_id
    generation = {"bos_token_id": begin, "eos_token_id": end, "pad_token_id": pad}
    kind = "LlavaProcessor" if config.tiles is None else "LlavaNextProcessor"
    processor = {
        "processor_class": kind,
        "patch_size": config.vision.patch_size,
        "vision_feature_select_strategy": written["vision_feature_select_strategy"],
        "num_additional_image_tokens": 1,  # the class token, which "default" takes off again
        "image_token": names.picture,
    }
    template = checkpoint.template
    after_user = template.user_end + template.assistant_tag
    files: dict[str, Any] = {
        "config.json": json_text(written),
        "generation_config.json": json_text({key: value for key, value in generation.items() if value is not None}),
        "tokenizer.json": json.dumps(names.spec, ensure_ascii=False),
        "tokenizer_config.json": json_text({**names.settings, "processor_class": kind}),
        "preprocessor_config.json": json_text(picture_settings(checkpoint.preprocessing)),
        "processor_config.json": json_text(processor),
        "chat_template.jinja": chat_template(
            template,
            names.picture,
            after_picture=names.after_picture,
            end_is_text=bool(after_user) and not after_user.startswith(tuple(checkpoint.tokenizer.special_ids)),
        ),
    }
    pieces = checkpoint.raw.tokenizer / "tokenizer.model"
    return files | ({"tokenizer.model": pieces} if pieces.is_file() else {})


def _longer(tensors: TensorSource, name: str, rows: int, like: int) -> OutTensor:
    """Embeddings or head with rows for new tokens: copies of `<unk>`'s, the lower of which wins whenever they tie."""
    stored = tensors.tensors[name]
    more = rows - stored.shape[0]
    if more <= 0:
        return kept(tensors, name, name)

    def read() -> Tensor:
        weight = tensors.read(name)
        return torch.cat([weight, weight[like : like + 1].expand(more, -1)])

    return OutTensor(PlannedTensor(name, (rows, *stored.shape[1:]), stored.dtype), read)


def _second_layer(tensors: TensorSource, width: int) -> list[OutTensor]:
    dtype = tensors.tensors[f"{_PROJECTOR}1.weight"].dtype
    made: dict[str, Callable[[], Tensor]] = {
        "weight": lambda: torch.eye(width, dtype=dtype),
        "bias": lambda: torch.zeros(width, dtype=dtype),
    }
    shapes = {"weight": (width, width), "bias": (width,)}
    return [OutTensor(PlannedTensor(f"{_PROJECTOR}2.{kind}", shapes[kind], dtype), made[kind]) for kind in made]


def _notes(config: LlavaConfig, pieces: Pieces | None) -> tuple[str, ...]:
    notes = []
    if pieces is not None and (why := unsaid(pieces)):
        notes.append(
            f"Its tokenizer.model has {why}, which tokenizer.json can not say: some texts are cut differently there. "
            "tokenizer.model goes along."
        )
    if config.projector == "linear":
        notes.append("Its linear projector is written as two layers, the second of which changes nothing.")
    if config.image_token_id < 0:
        notes.append("A token <image> stands for a picture's place; the head never prefers it to <unk>.")
    return tuple(notes)
