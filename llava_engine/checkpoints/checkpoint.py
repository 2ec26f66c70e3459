"""A folder of any LLaVA -> one `Checkpoint`: shape, all tensors under one spelling, tokenizer and picture settings.

Whole checkpoints of every generation, adapters and projectors over a base, towers inside or elsewhere: what follows
(loading, converting, showing) sees no difference. Reads headers and small files only; nothing is fetched or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from llava_engine.checkpoints import sniff, tensor_names
from llava_engine.checkpoints.adapters import adapters
from llava_engine.checkpoints.config_limits import check_sizes
from llava_engine.checkpoints.layouts.hf.config import OWN_CONFIG, from_hf
from llava_engine.checkpoints.layouts.original.config import PLACEHOLDER, aspect_ratio, from_original
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.checkpoints.towers import Tower, find_tower, inner_tower, missing_tower, open_tower, settings
from llava_engine.conversation import templates
from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.files.json import read_json
from llava_engine.files.safety import check_own_file
from llava_engine.files.tensor_files import TensorFiles, TensorSource
from llava_engine.model.config import LlavaConfig, MptConfig
from llava_engine.pictures.processing import Preprocessing

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
)
_TOWER = "vision_tower."
_AN = {"adapter": "an adapter", "projector": "a projector"}
_KIND = {"MPT": "LLaVA-MPT", "llava-hf 1.5": "LLaVA 1.5", "llava-hf NeXT": "LLaVA NeXT"}
_EMBEDDINGS = {False: "language_model.model.embed_tokens.weight", True: "language_model.transformer.wte.weight"}
_NORM = {False: "language_model.model.norm.weight", True: "language_model.transformer.norm_f.weight"}


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
    layout: sniff.Layout
    form: sniff.Form
    tower: str
    base: Path | None
    template_why: str
    notes: tuple[str, ...]


@dataclass(frozen=True)
class Written:
    """What a checkpoint's files say, as converting needs it.

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
        folder: what the user named.
        config: the model's shape; sizes that the config gets wrong are the tensors'.
        tensors: everything that `LlavaModel` needs, by canonical names (tensor_names.py).
        tokenizer: with all added tokens.
        preprocessing: how pictures are made ready.
        found: what it is.
        written: what its files say.
    """

    folder: Path
    config: LlavaConfig
    tensors: TensorSource
    tokenizer: Tokenizer
    preprocessing: Preprocessing
    found: Found
    written: Written

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


def open_checkpoint(
    folder: Path,
    *,
    base: Path | None = None,
    towers: Mapping[str, Path] | None = None,
    template: str | None = None,
    force: bool = False,
) -> Checkpoint:
    """Open any LLaVA folder.

    Args:
        folder: the checkpoint; or a projector's file, over a base and with a tower that are given.
        base: the model that an adapter or a projector goes onto, where it can not be found by what the folder says.
        towers: folders of vision towers by the name that configs use for them; "" stands for any name.
        template: a conversation template, in place of the one that the content speaks for.
        force: take an adapter for another base all the same.

    Raises:
        ModelError: it is no LLaVA that we know, something is missing, or the parts do not belong together.
    """
    try:
        return _open(folder, base, towers or {}, template, force)
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder} can not be read: {error.strerror or error}.", "Check its permissions."
        ) from None


def _open(folder: Path, base: Path | None, towers: Mapping[str, Path], template: str | None, force: bool) -> Checkpoint:
    """`open_checkpoint`, when the disk gives what it has."""
    if not folder.exists():
        raise ModelError(f"There is no model folder {folder}.", "Give a folder that holds config.json and weights.")
    form = adapters.form(folder)
    notes: list[str] = []
    raw = read_json(folder / "config.json") if form == "whole" else adapters.own_config(folder)
    base_folder = None if form == "whole" else adapters.find_base(folder, raw, base)
    home = folder  # where config.json is, and what goes with it
    if base_folder is not None and not raw:
        raw = adapters.config_over(folder, base_folder)
        home = base_folder if folder.is_dir() else folder.parent
    if sniff.layout(raw) == "hf":
        _refuse_bare_parts(folder, raw)
        from_hf(raw)  # whether it is a LLaVA at all comes before what its files lack
    if base_folder is None:
        files: TensorSource = TensorFiles(folder)
    else:
        files = adapters.onto_base(folder, raw, base_folder, force=force)
    chosen = canonical_names(files)
    stored = View(folder, chosen)

    if sniff.layout(raw) == "hf":
        config = from_hf(raw)
        where, preprocessor = "in the checkpoint", home / "preprocessor_config.json"
        if base_folder is not None and not preprocessor.is_file():
            preprocessor = base_folder / "preprocessor_config.json"
        if not preprocessor.is_file():
            raise ModelError(f"{home} has no preprocessor_config.json.", "Take the model's folder complete.")
        preprocessing = _settings(preprocessor)
    else:
        tower = _tower(raw, home, stored, towers, notes)
        config = from_original(raw, tower.config)
        where = tower.where
        _check_projector(folder, stored, tower)
        preprocessing = _preprocessing(tower, raw, config)
        chosen = {name: source for name, source in chosen.items() if not name.startswith(_TOWER)}
        chosen |= {name: (tower.tensors, name) for name in tower.tensors.tensors}
        if config.tiles is None or config.tiles.merge != "spatial_unpad":
            chosen.pop("image_newline", None)  # a 1.6 that was tuned on without tiles keeps it, and never reads it
    tensors = View(folder, chosen)

    mpt = isinstance(config.language, MptConfig)
    embeddings = tensors.tensors.get(_EMBEDDINGS[mpt])
    rows = embeddings.shape[0] if embeddings is not None and embeddings.shape else 0
    tokenizer, written = _tokenizer(folder, base_folder, raw, config, rows)
    config = _sizes_from_tensors(folder, config, tensors, tokenizer, notes)
    check_sizes(config, tensors.tensors)
    if sniff.layout(raw) == "original":
        patch = tokenizer.special_ids.get("<im_patch>", PLACEHOLDER)
        config = replace(config, image_token_id=patch if patch < config.language.vocab_size else PLACEHOLDER)
    elif config.image_token_id >= config.language.vocab_size:
        config = replace(config, image_token_id=PLACEHOLDER)  # it only stands for a picture, and is never looked up
    _check_wrapping(folder, config, tokenizer)
    _check_pixels(folder, config, preprocessing)

    chosen_template, why = sniff.template(raw, config, tokenizer, form)
    generation = sniff.generation(raw, config, tokenizer, form)
    if template is not None:
        chosen_template, why = template, f"you asked for it (its content speaks for {chosen_template})"
    config = replace(config, template=templates.get(chosen_template).name)
    return Checkpoint(
        folder,
        config,
        tensors,
        tokenizer,
        preprocessing,
        Found(generation, sniff.layout(raw), form, where, base_folder, why, tuple(notes)),
        written,
    )


def _refuse_bare_parts(folder: Path, raw: Mapping[str, Any]) -> None:
    if "patch_size" in raw or ("vision_config" in raw and "projection_dim" in raw):
        raise ModelError(
            f"{folder} is a vision tower, without a language model.", "It can be the --tower of a model that lacks it."
        )
    if "vision_config" not in raw and ("num_hidden_layers" in raw or "n_layers" in raw):
        raise ModelError(
            f"{folder} is a language model without a vision tower and projector ({raw.get('model_type', 'no type')}).",
            "It can be the --base of an adapter, a projector or a delta.",
        )


def _tower(
    raw: Mapping[str, Any], folder: Path, stored: TensorSource, towers: Mapping[str, Path], notes: list[str]
) -> Tower:
    """The tower of an original checkpoint.

    One that was trained further is in the file. A frozen one that is there too is a copy, which the original ignores
    (it may have been through float16): the tower's own folder goes first, the copy serves where that is missing.
    """
    named = str(raw.get("mm_vision_tower") or "")
    found = find_tower(named, folder, towers)
    own = inner_tower(stored.tensors)
    if own is not None and (raw.get("unfreeze_mm_vision_tower") or found is None):
        tensors = View(folder, {name: (stored, name) for name in stored.tensors if name.startswith(_TOWER)})
        shape, preprocessor = settings(found) if found is not None else (own, None)
        if found is None:
            notes.append(f"Its tower {named} is not here; the copy in the checkpoint is used, its shape read off it.")
        return Tower(shape, tensors, preprocessor, "in the checkpoint")
    if found is None:
        raise missing_tower(named)
    if own is not None:
        notes.append("The copy of the frozen tower in the checkpoint is not used; the tower's own folder is.")
    return open_tower(found)


def _check_projector(folder: Path, stored: TensorSource, tower: Tower) -> None:
    first = stored.tensors.get("multi_modal_projector.linear_1.weight")
    if first is not None and first.shape[1:] != (tower.config.hidden_size,):
        raise ModelError(
            f"{folder}: {tower.config.hidden_size} into {first.shape[-1]}: the projector was trained with another "
            f"vision tower than {tower.where}.",
            "Give the right one: --tower FOLDER.",
        )


def _preprocessing(tower: Tower, raw: Mapping[str, Any], config: LlavaConfig) -> Preprocessing:
    size = config.vision.image_size
    if tower.preprocessor is None:
        preprocessing = Preprocessing("square", (size, size), size)
    else:
        preprocessing = _settings(tower.preprocessor)
    return preprocessing.as_original(aspect_ratio(raw), config.tiles.pinpoints if config.tiles else ())


def _settings(file: Path) -> Preprocessing:
    check_own_file(file.parent, file)
    return Preprocessing.from_file(file)


def _tokenizer(
    folder: Path, base: Path | None, raw: Mapping[str, Any], config: LlavaConfig, rows: int
) -> tuple[Tokenizer, Written]:
    """The folder's own, or its base's; with the tokens that the original adds when it loads such a model.

    v0 also began with a [PAD]; over a base, one more row than tokens tells that it is there.
    """
    added: list[str] = []
    if sniff.layout(raw) == "original":
        if raw.get("mm_use_im_patch_token", True):
            added.append("<im_patch>")
        if config.wrap_pictures:
            added += ["<im_start>", "<im_end>"]
    own = any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model"))
    room = folder if own or base is None else base
    for name in TOKENIZER_FILES:
        if (room / name).exists():
            check_own_file(room, room / name)
    tokenizer = Tokenizer.from_folder(room, added=tuple(added))
    if added and room != folder and rows == tokenizer.vocabulary + 1 and "[PAD]" not in tokenizer.special_ids:
        added = ["[PAD]", *added]
        tokenizer = Tokenizer.from_folder(room, added=tuple(added))
    return tokenizer, Written(raw, room, tuple(added))


def _sizes_from_tensors(
    folder: Path, config: LlavaConfig, tensors: TensorSource, tokenizer: Tokenizer, notes: list[str]
) -> LlavaConfig:
    """Believe the tensors about the vocabulary; refuse what can not be told or would be absurd to build."""
    mpt = isinstance(config.language, MptConfig)
    embeddings = tensors.tensors.get(_EMBEDDINGS[mpt])
    if embeddings is None or len(embeddings.shape) != 2:
        raise ModelError(
            f"{folder}: the checkpoint lacks tensor {_EMBEDDINGS[mpt]}.",
            "The weights do not belong to this config.json, or the copy is not whole.",
        )
    _refuse_delta(folder, tensors, mpt)
    count = embeddings.shape[0]
    if tokenizer.vocabulary > count:
        raise ModelError(
            f"{folder}: the tokenizer has {tokenizer.vocabulary:,} tokens and the model only {count:,}.",
            "The files do not belong together; copy the folder again.",
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
    return config


def _refuse_delta(folder: Path, tensors: TensorSource, mpt: bool) -> None:
    """A delta's rotary tables, where it has any, are zero; else its last norm is near zero, and a model's is not."""
    tables = [name for name in tensors.tensors if name.endswith(".rotary_emb.inv_freq")]
    told_by = tables[0] if tables else _NORM[mpt]
    if told_by in tensors.tensors and tensors.read(told_by).float().abs().mean() < (1e-6 if tables else 0.1):
        raise ModelError(
            f"{folder} is a delta: what training added to a base model, not a model.",
            "Apply it first: llava delta apply --base DIR --delta DIR --target DIR.",
        )


def _check_wrapping(folder: Path, config: LlavaConfig, tokenizer: Tokenizer) -> None:
    for token in ("<im_start>", "<im_end>") if config.wrap_pictures else ():
        if tokenizer.special_ids.get(token, config.language.vocab_size) >= config.language.vocab_size:
            raise ModelError(
                f"{folder}: config.json asks for {token} around pictures, and the tokenizer has no such token.",
                "Copy the folder again, with added_tokens.json.",
            )


def _check_pixels(folder: Path, config: LlavaConfig, preprocessing: Preprocessing) -> None:
    side = config.vision.image_size
    if preprocessing.size != (side, side):
        height, width = preprocessing.size
        raise ModelError(
            f"{folder}: preprocessor_config.json makes pictures of {width} by {height} pixels, "
            f"and the vision tower takes {side} by {side}.",
            "The files do not belong together; copy the folder again.",
        )
    if preprocessing.pinpoints != (config.tiles.pinpoints if config.tiles else ()):
        raise ModelError(
            f"{folder}: config.json and preprocessor_config.json name different image_grid_pinpoints.",
            "The files do not belong together; copy the folder again.",
        )
    if config.tiles and config.tiles.merge != "flat" and config.keep_class_token:
        raise ModelError(
            f"{folder}: config.json keeps the tower's class token, which has no place among tiles.", OWN_CONFIG
        )


def left_out(checkpoint: Checkpoint) -> dict[str, str]:
    """Stored tensors that are knowingly not used, by canonical name, each with the reason."""
    reasons = {name: tensor_names.ignored_because(name) for name in checkpoint.tensors.tensors}
    return {name: reason for name, reason in reasons.items() if reason is not None}
