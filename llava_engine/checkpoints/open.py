"""A folder of any LLaVA -> one `Checkpoint`.

Whole checkpoints of every generation, adapters and projectors over a base, towers inside or elsewhere: parts.py finds
what there is, its layout reads it, and what belongs together is checked here. Reads headers and small files only;
nothing is fetched or written.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from llava_engine.checkpoints import sniff
from llava_engine.checkpoints.agreement import check_pixels, check_wrapping, refuse_delta, with_stored_vocabulary
from llava_engine.checkpoints.catalog import find
from llava_engine.checkpoints.checkpoint import Checkpoint, Found
from llava_engine.checkpoints.config_limits import check_sizes
from llava_engine.checkpoints.layouts.hf import reading as hf
from llava_engine.checkpoints.layouts.layout import Layout
from llava_engine.checkpoints.layouts.original import reading as original
from llava_engine.checkpoints.parts import Parts, find_parts
from llava_engine.checkpoints.template_choice import choose_template
from llava_engine.conversation import templates
from llava_engine.errors import ModelError
from llava_engine.model.config import LanguageConfig
from llava_engine.opening import Source

_LAYOUTS: dict[sniff.LayoutName, Layout] = {"hf": hf, "original": original}


def open_source(source: Source) -> Checkpoint:
    """Open what a user names: names looked up as `find` does, then `open_checkpoint`; `ModelError` as from both."""
    return open_checkpoint(
        find(source.model),
        base=None if source.base is None else find(source.base),
        towers=None if source.tower is None else {"": find(source.tower)},
        template=source.template,
        force=source.force,
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
        return _read(find_parts(folder, base=base, towers=towers or {}, force=force), template)
    except OSError as error:
        raise ModelError(
            f"{error.filename or folder} can not be read: {error.strerror or error}.", "Check its permissions."
        ) from None


def _read(parts: Parts, asked_template: str | None) -> Checkpoint:
    name = sniff.layout(parts.raw)
    layout = _LAYOUTS[name]
    layout.check(parts)  # whether it is a LLaVA at all comes before what its files lack
    reading = layout.read(parts)
    config, tensors = reading.config, reading.tensors
    if parts.own_head and isinstance(config.language, LanguageConfig):
        config = replace(config, language=replace(config.language, tie_word_embeddings=False))

    refuse_delta(parts.folder, config, tensors)
    tokenizer, raw = parts.tokenizer(layout.added_tokens(parts.raw, config), tensors)
    config, notes = with_stored_vocabulary(parts.folder, config, tensors, tokenizer)
    check_sizes(config, tensors.tensors)
    config = replace(config, image_token_id=layout.image_token_id(config, tokenizer))
    check_wrapping(parts.folder, config, tokenizer)
    check_pixels(parts.folder, config, reading.preprocessing)

    choice = choose_template(parts.raw, config, tokenizer, parts.form, parts.folder)
    template, why = choice.name, choice.why
    generation = layout.generation(config, tokenizer, parts.form)
    template_notes = choice.notes
    if asked_template is not None:
        template, why, template_notes = asked_template, f"you asked for it (its content speaks for {template})", ()
    notes = (*parts.notes, *parts.weight_notes, *reading.notes, *notes, *template_notes)
    return Checkpoint(
        parts.folder,
        replace(config, template=templates.get(template).name),
        tensors,
        tokenizer,
        reading.preprocessing,
        Found(generation, name, parts.form, reading.tower, parts.base.folder if parts.base else None, why, notes),
        raw,
    )
