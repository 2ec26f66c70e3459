"""Configs that can not be followed are refused before anything is built: by type, by size, and beside the tensors."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import LlavaError
from llava_engine.terminal_safe import strip_control
from tests.llava_engine.checkpoints.mutants import HOSTILE
from tests.llava_engine.checkpoints.rooms import change, little_memory, refusal, replace, try_out

HUGE = 10**12


def edit(file: Path, path: str, value: Any) -> Path:
    """Set one value in a JSON file, and give the folder."""
    content = json.loads(file.read_text())
    place = content
    *sections, last = path.split(".")
    for section in sections:
        place = place.setdefault(section, {})
    place[last] = value
    replace(file, json.dumps(content).encode())
    return file.parent


ABSURD = [
    *(("newest/config.json", key, value)
      for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                  "head_dim")
      for value in (HUGE, 0, -4, 7)),
    *(("eyes/config.json", key, value)
      for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "image_size",
                  "patch_size")
      for value in (HUGE, 10**6, 0, -1, 5)),
    *(("mpt/config.json", key, value)
      for key in ("d_model", "n_heads", "n_layers", "expansion_ratio", "max_seq_len") for value in (HUGE, 0, -4)),
    *(("hf/config.json", f"vision_config.{key}", value)
      for key in ("num_hidden_layers", "num_attention_heads", "patch_size", "image_size")
      for value in (HUGE, 10**9, 0)),
    *(("hf/config.json", f"text_config.{key}", 10**9)
      for key in ("num_hidden_layers", "num_attention_heads", "num_key_value_heads", "hidden_size")),
    ("hf/config.json", "vision_feature_layer", 99),
    ("hf/config.json", "vision_feature_layer", -99),
    ("hf/config.json", "vision_feature_layer", True),
    ("newest/config.json", "mm_vision_select_layer", -HUGE),
    ("newest/config.json", "mm_hidden_size", HUGE),
    ("newest/config.json", "rope_theta", 0),
    ("newest/config.json", "rms_norm_eps", float("nan")),
    ("newest/config.json", "rope_theta", 10**400),
    ("tiles/config.json", "image_grid_pinpoints", [[28, 56]] * 10**5),
    ("tiles/config.json", "image_grid_pinpoints", [[28 * 1000, 28 * 1000]]),
    ("tiles/config.json", "image_grid_pinpoints", [[29, 56]]),
    ("tiles/config.json", "image_grid_pinpoints", "[" * 9000),
    ("tiles/config.json", "image_grid_pinpoints", "(28, 56)," * 10**5),
    ("tiles/config.json", "mm_patch_merge_type", ["spatial"]),
    ("next/config.json", "image_grid_pinpoints", [[HUGE, HUGE]]),
    ("hf/preprocessor_config.json", "size.shortest_edge", 10**9),
    ("hf/preprocessor_config.json", "crop_size.height", 10**9),
    ("hf/preprocessor_config.json", "image_std", [0, 1, 1]),
    ("hf/preprocessor_config.json", "image_mean", [float("nan")] * 3),
    ("hf/preprocessor_config.json", "rescale_factor", float("inf")),
    ("adapter/adapter_config.json", "r", 10**9),
    ("adapter/adapter_config.json", "lora_alpha", 10**400),
    ("adapter/adapter_config.json", "rank_pattern", {"(a|a)" * 40: 2}),
    ("adapter/adapter_config.json", "rank_pattern", {"(.*)*x": 2}),
    ("adapter/adapter_config.json", "rank_pattern", {"(": 2}),
]  # fmt: skip


@pytest.mark.parametrize(("file", "path", "value"), ABSURD, ids=[f"{f}-{p}-{str(v)[:20]}" for f, p, v in ABSURD])
def test_what_no_model_can_have_is_refused_at_once(room: Path, file: str, path: str, value: Any) -> None:
    folder = edit(room / file, path, value)
    with little_memory():
        refusal(room / "newest" if folder.name == "eyes" else folder)


@pytest.mark.parametrize(
    ("file", "path", "value", "said"),
    [
        ("newest/config.json", "num_hidden_layers", 3, "the language model has 3 layers, the weights have 2"),
        ("eyes/config.json", "num_hidden_layers", 2, "the vision tower has 2 layers, the weights have 3"),
        ("newest/config.json", "intermediate_size", 41, "41"),
        ("newest/config.json", "num_key_value_heads", 2, "k_proj"),
        ("hf/config.json", "projector_hidden_act", "linear", None),
        ("newest/config.json", "mm_projector_type", "linear", "linear_2"),
        ("june/config.json", "mm_projector_type", "mlp2x_gelu", "linear_2"),
        ("hf/config.json", "text_config.tie_word_embeddings", True, None),
        ("hf/preprocessor_config.json", "crop_size", {"height": 28, "width": 28}, "28 by 28"),
    ],
)
def test_a_config_that_contradicts_its_tensors(room: Path, file: str, path: str, value: Any, said: str | None) -> None:
    folder = edit(room / file, path, value)
    if said is None:
        try_out(folder)  # shapes do not tell; the config is believed
        return
    assert said in refusal(room / "newest" if folder.name == "eyes" else folder).cause


@pytest.mark.parametrize("said", [77, 10**9, HUGE])
@pytest.mark.parametrize(("form", "path"), [("newest", "vocab_size"), ("hf", "text_config.vocab_size")])
def test_the_tensors_are_believed_about_the_vocabulary(room: Path, form: str, path: str, said: int) -> None:
    before = open_checkpoint(room / form)
    opened = open_checkpoint(edit(room / form / "config.json", path, said))
    assert opened.config == before.config
    assert any(f"{said:,}" in note for note in opened.found.notes)
    try_out(room / form)


def test_a_placeholder_beyond_the_vocabulary_is_never_looked_up(room: Path) -> None:
    try_out(edit(room / "hf" / "config.json", "image_token_index", 10**6))


# Files that are no configs

_SMALL = [
    b"",
    b"\xff\xfe{",
    b"\xef\xbb\xbf{}",
    b"null",
    b"[]",
    b'"x"',
    b"{} {}",
    b'{"a": 1' + b"0" * 10_000 + b"}",
    b"[" * 100_000,
    b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    b'{"a":' * 900 + b"1" + b"}" * 900,
]


@pytest.mark.parametrize(
    "file",
    ["config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"],
)
def test_json_that_is_none_names_its_file(room: Path, file: str) -> None:
    (room / "hf" / file).unlink(missing_ok=True)
    for content in _SMALL:
        nested = content.count(b"{") == 900
        if nested and file in ("tokenizer_config.json", "special_tokens_map.json", "preprocessor_config.json"):
            continue  # nobody looks into it; of picture settings that state nothing, a note speaks
        (room / "hf" / file).write_bytes(content)
        error = refusal(room / "hf")
        assert file in error.cause or nested, content[:20]


@pytest.mark.parametrize(
    "file", ["config.json", "tokenizer.json", "adapter_config.json", "model.safetensors.index.json"]
)
def test_a_gigabyte_of_json_is_not_read(room: Path, file: str) -> None:
    forms = {"config.json": "hf", "tokenizer.json": "hf", "adapter_config.json": "adapter"}
    folder = room / forms.get(file, "shards")
    (folder / file).unlink()
    (folder / file).write_bytes(b"{")
    os.truncate(folder / file, 2**30)  # takes no disk
    with little_memory():
        assert "larger than" in refusal(folder).cause


def test_a_config_of_many_small_things_is_not_parsed(room: Path) -> None:
    """Nine million empty lists: 27 MB of JSON, six seconds and 800 MB when it is read."""
    folder = room / "hf"
    (folder / "config.json").unlink()
    (folder / "config.json").write_bytes(b'{"a":[' + b"[]," * 9_000_000 + b"[]]}")
    with little_memory():
        assert "larger than" in refusal(folder).cause


# What is shown


def test_a_long_value_is_quoted_in_a_few_lines(room: Path) -> None:
    error = refusal(edit(room / "newest" / "config.json", "hidden_act", "a" * 10**6))
    assert len(error.cause) < 700 and "hidden_act" in error.cause and error.cause.endswith("is supported.")


@pytest.mark.parametrize("path", ["mm_vision_tower", "mm_projector_type", "hidden_act", "image_aspect_ratio"])
def test_a_value_that_commands_a_terminal_is_shown_without(room: Path, path: str) -> None:
    error = refusal(edit(room / "newest" / "config.json", path, "\x1b]0;owned\x07\x1b[2Jx\u202e"))
    shown = strip_control(f"{error.cause}\n{error.remedy}")
    assert "\x1b" not in shown and "owned" not in shown.replace("]0;owned", "") and "\u202e" not in shown


def test_names_in_other_letters_are_names(room: Path) -> None:
    folder = (room / "hf").rename(room / "модель \u202e\x1b[2J 模型")
    try_out(folder)
    name = "language_model.model.layers.0.\x1b[2J模"
    content = load_file(folder / "model.safetensors")
    assert name not in content
    change(folder / "model.safetensors", **{name: torch.ones(1)})
    assert "unknown tensor" in refusal(folder).cause


@pytest.mark.slow
@pytest.mark.parametrize("form", ["hf", "next", "newest", "tiles", "june", "mpt", "adapter", "projector", "eyes"])
def test_every_key_with_every_hostile_value(room: Path, form: str) -> None:
    """Each either works, shapes and all, or is refused with a remedy."""
    opens = room / {"eyes": "newest"}.get(form, form)
    for file in sorted((room / form).glob("*config.json")):
        sound = file.read_bytes()
        for path in _paths(json.loads(sound)):
            for value in HOSTILE:
                edit(file, path, value)
                try:
                    try_out(opens)
                except LlavaError as error:
                    assert error.remedy, (path, value, error)
                replace(file, sound)


def _paths(content: dict[str, Any], before: str = "") -> Iterator[str]:
    for key, value in content.items():
        if "." not in key:
            yield before + key
            if isinstance(value, dict):
                yield from _paths(value, f"{before}{key}.")
