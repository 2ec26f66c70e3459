"""Whether the parts of a checkpoint belong together: config, tensors, tokenizer, tower and picture settings.

What they contradict each other about is believed where it can be (the tensors know the vocabulary), and refused else.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from llava_engine.checkpoints.layouts.hf.config import OWN_CONFIG
from llava_engine.checkpoints.tensor_names import sources
from llava_engine.checkpoints.towers import Tower
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorSource
from llava_engine.model.config import LlavaConfig
from llava_engine.pictures.processing import Preprocessing

_AGAIN = "The files do not belong together; copy the folder again."
# A delta's rotary tables, where it has any, are zero; else its last norm is near zero, and a model's is around one.
_ZERO, _SMALL_NORM = 1e-6, 0.1


def refuse_delta(folder: Path, config: LlavaConfig, tensors: TensorSource) -> None:
    """Refuse what training added to a base, without the base. Raises `ModelError`."""
    tables = [name for name in tensors.tensors if name.endswith(".rotary_emb.inv_freq")]
    told_by = tables[0] if tables else sources(config, "language_model.norm.weight")[0]
    if told_by not in tensors.tensors:
        return
    if tensors.read(told_by).float().abs().mean() < (_ZERO if tables else _SMALL_NORM):
        raise ModelError(
            f"{folder} is a delta: what training added to a base model, not a model.",
            "Apply it first: llava delta apply --base DIR --delta DIR --target DIR.",
        )


def with_stored_vocabulary(
    folder: Path, config: LlavaConfig, tensors: TensorSource, tokenizer: Tokenizer
) -> tuple[LlavaConfig, tuple[str, ...]]:
    """The config with as many tokens as the tensors have, and notes on who says otherwise.

    Raises:
        ModelError: there are no embeddings, or fewer than the tokenizer has tokens.
    """
    name, notes = sources(config, "language_model.embed_tokens.weight")[0], []
    embeddings = tensors.tensors.get(name)
    if embeddings is None or len(embeddings.shape) != 2:
        raise ModelError(
            f"{folder}: the checkpoint lacks tensor {name}.",
            "The weights do not belong to this config.json, or the copy is not whole.",
        )
    count = embeddings.shape[0]
    if tokenizer.vocabulary > count:
        raise ModelError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary:,} tokens and the model only {count:,}.", _AGAIN
        )
    if count != config.language.vocab_size:
        notes.append(
            f"config.json says {config.language.vocab_size:,} tokens; the weights have {count:,}: that counts."
        )
        config = replace(config, language=replace(config.language, vocab_size=count))
    if tokenizer.vocabulary < count:
        notes.append(
            f"The tokenizer has {tokenizer.vocabulary:,} tokens and the model {count:,}: the rest are no text."
        )
    return config, tuple(notes)


def check_projector(folder: Path, stored: TensorSource, tower: Tower) -> None:
    """Refuse a tower of another width than the projector's. Raises `ModelError`."""
    first = stored.tensors.get("multi_modal_projector.linear_1.weight")
    if first is not None and first.shape[1:] != (tower.config.hidden_size,):
        raise ModelError(
            f"{folder}: {tower.config.hidden_size} into {first.shape[-1]}: the projector was trained with another "
            f"vision tower than {tower.where}.",
            "Give the right one: --tower FOLDER.",
        )


def check_wrapping(folder: Path, config: LlavaConfig, tokenizer: Tokenizer) -> None:
    """Refuse a config that asks for tokens around pictures that there are not. Raises `ModelError`."""
    for token in ("<im_start>", "<im_end>") if config.wrap_pictures else ():
        if tokenizer.special_ids.get(token, config.language.vocab_size) >= config.language.vocab_size:
            raise ModelError(
                f"{folder}: config.json asks for {token} around pictures, and the tokenizer has no such token.",
                "Copy the folder again, with added_tokens.json.",
            )


def check_pixels(folder: Path, config: LlavaConfig, preprocessing: Preprocessing) -> None:
    """Refuse picture settings of another tower, or of other tiles. Raises `ModelError`."""
    side = config.vision.image_size
    if preprocessing.size != (side, side):
        height, width = preprocessing.size
        raise ModelError(
            f"{folder}: its picture settings make {width} by {height} pixels, "
            f"and the vision tower takes {side} by {side}.",
            _AGAIN,
        )
    if preprocessing.pinpoints != (config.tiles.pinpoints if config.tiles else ()):
        raise ModelError(f"{folder}: config.json and the picture settings name different image_grid_pinpoints.", _AGAIN)
    if config.tiles and config.tiles.merge != "flat" and config.keep_class_token:
        raise ModelError(
            f"{folder}: config.json keeps the tower's class token, which has no place among tiles.", OWN_CONFIG
        )
