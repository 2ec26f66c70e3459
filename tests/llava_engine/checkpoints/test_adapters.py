"""Adapters and projectors go onto their base by the formulas of their papers, whole, or are refused with the reason."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from llava_engine.checkpoints.adapters.base_check import base_sha256
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import match
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.checkpoints.renamed_tensors import View, canonical_names
from llava_engine.errors import ModelError
from llava_engine.files.tensor_files import TensorFiles
from llava_engine.model.skeleton import skeleton
from tests.llava_engine.originals import (
    INNER,
    JUNE,
    LLAMA,
    NEWEST,
    ROWS,
    SEES,
    WIDTH,
    language,
    projector,
    tower,
    write,
    write_tower,
)
from tests.llava_engine.tiny import IMAGE_TOKEN, TINY, complete

RANK, ALPHA = 4, 6
SETTINGS = {"peft_type": "LORA", "r": RANK, "lora_alpha": ALPHA, "base_model_name_or_path": "base"}
Q, DOWN = "model.layers.0.self_attn.q_proj", "model.layers.1.mlp.down_proj"


def drawn(*shape: int, seed: int = 7) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def matrices(module: str, out: int, into: int, rank: int = RANK, end: str = ".weight") -> dict[str, Tensor]:
    return {
        f"{module}.lora_A{end}": drawn(rank, into, seed=len(module)),
        f"{module}.lora_B{end}": drawn(out, rank, seed=len(module) + 1),
    }


def product(adapter: Mapping[str, Tensor], module: str) -> Tensor:
    parts = {name.split("lora_")[1][0]: each for name, each in adapter.items() if module in name and "lora_" in name}
    return parts["B"] @ parts["A"]


@pytest.fixture
def room(tmp_path: Path) -> Path:
    """A bare language model and a tower, both found by what an adapter beside them says."""
    write(tmp_path / "base", {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, language(ROWS))
    write_tower(tmp_path / "eyes")
    return tmp_path


def lora(folder: Path, adapter: dict[str, Tensor], rest: dict[str, Tensor] | None = None, **settings: Any) -> Path:
    """A LoRA folder of the original: config, settings, matrices, and what was trained whole."""
    write(folder, {**NEWEST, "vocab_size": ROWS}, {}, names=False)
    (folder / "adapter_config.json").write_text(json.dumps({**SETTINGS, **settings}))
    prefix = "base_model.model."
    save_file(
        {prefix + name: each.contiguous() for name, each in adapter.items()}, folder / "adapter_model.safetensors"
    )
    torch.save(
        {prefix + name: each for name, each in (rest or projector(2)).items()}, folder / "non_lora_trainables.bin"
    )
    return folder


def read(checkpoint: Checkpoint, module: str) -> Tensor:
    return checkpoint.tensors.read(f"language_model.{module}.weight")


def refused(folder: Path, **more: Any) -> str:
    with pytest.raises(ModelError) as told:
        open_checkpoint(folder, **more)
    assert "\n" not in told.value.cause
    return f"{told.value.cause} {told.value.remedy}"


def test_low_rank_matrices_are_folded_in(room: Path) -> None:
    adapter = {**matrices(Q, WIDTH, WIDTH), **matrices(DOWN, WIDTH, INNER)}
    checkpoint = open_checkpoint(lora(room / "x", adapter))
    base = language(ROWS)
    for module in (Q, DOWN):
        expected = base[f"{module}.weight"] + ALPHA / RANK * product(adapter, module)
        torch.testing.assert_close(read(checkpoint, module), expected)
    untouched = "model.layers.0.self_attn.k_proj"
    assert torch.equal(read(checkpoint, untouched), base[f"{untouched}.weight"])
    assert (checkpoint.found.form, checkpoint.found.base) == ("adapter", room / "base")
    match(skeleton(checkpoint.config), checkpoint.config, checkpoint.tensors)


@pytest.mark.parametrize(
    ("settings", "scale"),
    [
        ({"use_rslora": True}, ALPHA / RANK**0.5),
        ({"alpha_pattern": {"q_proj": 10}}, 10 / RANK),
        ({"alpha_pattern": {"layers.0.self_attn.q_proj": 10, "q_proj": 3}}, 10 / RANK),
        ({"alpha_pattern": {r"layers\.\d+\.self_attn\.(q|v)_proj": 10}}, 10 / RANK),
        ({"alpha_pattern": {"proj": 10}}, ALPHA / RANK),  # it has to be a whole end of the name
        ({"r": 9, "rank_pattern": {"q_proj": RANK}}, ALPHA / RANK),
        ({"r": 9, "rank_pattern": {".*self_attn.*": RANK}, "alpha_pattern": {"q_proj": 2}}, 2 / RANK),
    ],
)
def test_the_scale_is_as_the_settings_say(room: Path, settings: dict[str, Any], scale: float) -> None:
    adapter = matrices(Q, WIDTH, WIDTH)
    folded = read(open_checkpoint(lora(room / "x", adapter, **settings)), Q)
    torch.testing.assert_close(folded, language(ROWS)[f"{Q}.weight"] + scale * product(adapter, Q))


def test_dora_gives_each_row_its_length(room: Path) -> None:
    lengths = drawn(WIDTH).abs() + 1
    adapter = {**matrices(Q, WIDTH, WIDTH), f"{Q}.lora_magnitude_vector.weight": lengths}
    folded = read(open_checkpoint(lora(room / "x", adapter, use_dora=True)), Q)
    direction = language(ROWS)[f"{Q}.weight"] + ALPHA / RANK * product(adapter, Q)
    torch.testing.assert_close(folded.norm(dim=1), lengths)
    torch.testing.assert_close(torch.nn.functional.cosine_similarity(folded, direction), torch.ones(WIDTH))


def test_embeddings_by_low_rank_and_by_rows(room: Path) -> None:
    embed = "model.embed_tokens"
    base = language(ROWS)[f"{embed}.weight"]
    adapter = {f"{embed}.lora_embedding_A": drawn(RANK, ROWS), f"{embed}.lora_embedding_B": drawn(WIDTH, RANK, seed=8)}
    folded = read(open_checkpoint(lora(room / "x", adapter)), embed)
    change = (adapter[f"{embed}.lora_embedding_B"] @ adapter[f"{embed}.lora_embedding_A"]).T
    torch.testing.assert_close(folded, base + ALPHA / RANK * change)

    rows = drawn(2, WIDTH)
    named = {f"{embed}.token_adapter.trainable_tokens_delta": rows}
    replaced = read(open_checkpoint(lora(room / "y", named, trainable_token_indices={"embed_tokens": [5, 9]})), embed)
    assert torch.equal(replaced[[5, 9]], rows)
    assert torch.equal(replaced[6:9], base[6:9])


@pytest.mark.parametrize(
    "spelled",
    [
        lambda module: f"base_model.model.model.language_model.layers.0.{module}",  # transformers from 4.52 on
        lambda module: f"base_model.model.language_model.model.layers.0.{module}",  # before
        lambda module: f"model.language_model.layers.0.{module}",
    ],
)
@pytest.mark.parametrize("end", [".weight", ".default.weight"])
def test_peft_over_a_hugging_face_model(tmp_path: Path, spelled: Callable[[str], str], end: str) -> None:
    base = complete(TINY, tmp_path / "base")
    wide, heads = TINY.language.hidden_size, TINY.language.num_attention_heads * TINY.language.head_dim
    adapter = matrices(spelled("self_attn.q_proj"), heads, wide, end=end)
    adapter |= matrices("base_model.model.model.vision_tower.vision_model.encoder.layers.1.mlp.fc1", 48, 32, end=end)
    first = "multi_modal_projector.linear_1.bias"
    adapter[f"base_model.model.model.{first}".replace("r.lin", "r.modules_to_save.default.lin")] = drawn(wide)
    (tmp_path / "x").mkdir()
    save_file(adapter, tmp_path / "x" / "adapter_model.safetensors")
    (tmp_path / "x" / "adapter_config.json").write_text(json.dumps({**SETTINGS, "base_model_name_or_path": str(base)}))

    checkpoint, before = open_checkpoint(tmp_path / "x"), open_checkpoint(base)
    match(skeleton(checkpoint.config), checkpoint.config, checkpoint.tensors)
    changed = {
        "language_model.model.layers.0.self_attn.q_proj.weight": "q_proj",
        "vision_tower.vision_model.encoder.layers.1.mlp.fc1.weight": "fc1",
    }
    for name in before.tensors.tensors:
        expected = before.tensors.read(name)
        if name in changed:
            expected = expected + ALPHA / RANK * product(adapter, changed[name])
        if name == first:
            expected = drawn(wide)
        torch.testing.assert_close(checkpoint.tensors.read(name), expected, msg=name)
    assert checkpoint.template == before.template
    assert checkpoint.config.image_token_id == IMAGE_TOKEN


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"r": 0}, "r is 0"),
        ({"r": "8"}, "r is '8'"),
        ({"r": True}, "r is True"),
        ({"lora_alpha": "much"}, "lora_alpha is 'much'"),
        ({"lora_alpha": float("nan")}, "lora_alpha is nan"),
        ({"alpha_pattern": {"q_proj": None}}, "q_proj is None"),
        ({"alpha_pattern": ["q_proj"]}, "not an object"),
        ({"rank_pattern": {"(a+)+": 4}}, "pattern"),
        ({"rank_pattern": {"(": 4}}, "pattern"),
        ({"peft_type": "IA3"}, "IA3"),
        ({"fan_in_fan_out": True}, "fan_in_fan_out"),
        ({"layer_replication": [[0, 1]]}, "layer_replication"),
        ({"init_lora_weights": "pissa"}, "pissa"),
        ({"trainable_token_indices": ["a"]}, "trainable_token_indices"),
        ({"r": RANK + 1}, "says rank 5"),
        ({"use_dora": True}, "lora_magnitude_vector"),
    ],
)
def test_settings_that_can_not_be_followed(room: Path, settings: dict[str, Any], words: str) -> None:
    assert words in refused(lora(room / "x", matrices(Q, WIDTH, WIDTH), **settings))


@pytest.mark.parametrize(
    ("adapter", "words"),
    [
        (matrices("model.layers.9.self_attn.q_proj", WIDTH, WIDTH), "layers.9.self_attn.q_proj, which the base"),
        (matrices(Q, WIDTH + 1, WIDTH), f"for a layer that is {WIDTH} by {WIDTH}"),
        (matrices(Q, WIDTH, WIDTH + 1), f"for a layer that is {WIDTH} by {WIDTH}"),
        (matrices("model.norm", WIDTH, WIDTH), "no linear layer"),
        ({f"{Q}.lora_A.weight": drawn(RANK, WIDTH)}, "lacks lora_B"),
        ({f"{Q}.lora_A.weight": drawn(RANK), f"{Q}.lora_B.weight": drawn(WIDTH, RANK)}, "matrices 4 and"),
        ({f"{Q}.lora_C.weight": drawn(RANK, WIDTH)}, "no place"),
        ({**matrices(Q, WIDTH, WIDTH), f"{Q}.base_layer.weight.absmax": drawn(WIDTH)}, "no place"),
        ({f"{Q}.weight": drawn(WIDTH, WIDTH + 1)}, "and the base's is"),
        ({**matrices(Q, WIDTH, WIDTH), **matrices(Q, WIDTH, WIDTH, end=".default.weight")}, "two adapters in one file"),
        ({f"{Q}.lora_magnitude_vector": drawn(WIDTH), **matrices(Q, WIDTH, WIDTH)}, "does not speak"),
        ({"x" * 400: drawn(2)}, "417 letters"),
    ],
)
def test_each_tensor_has_a_place_or_the_adapter_is_refused(room: Path, adapter: dict[str, Tensor], words: str) -> None:
    assert words in refused(lora(room / "x", adapter))
    assert words in refused(room / "x", force=True)


def test_another_base_is_told_by_its_settings_and_one_may_insist(room: Path) -> None:
    other = {"model_type": "llama", **LLAMA, "vocab_size": ROWS, "rms_norm_eps": 1e-5}
    write(room / "other", other, language(ROWS, seed=9))
    folder = lora(room / "x", matrices(Q, WIDTH, WIDTH))
    told = refused(folder, base=room / "other")
    assert "rms_norm_eps is 1e-06 there and 1e-05 here" in told and "--force" in told
    assert open_checkpoint(folder, base=room / "other", force=True).found.base == room / "other"


def test_our_own_adapters_know_their_base_by_its_weights(room: Path) -> None:
    sha256 = base_sha256(View(room, canonical_names(TensorFiles(room / "base"))))
    folder = lora(room / "x", matrices(Q, WIDTH, WIDTH), llava={"base_sha256": sha256})
    open_checkpoint(folder)
    relative = {**language(ROWS), "model.norm.weight": language(ROWS)["model.norm.weight"] + 1e-3}
    write(room / "relative", {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, relative)
    assert "weights are others" in refused(folder, base=room / "relative")
    open_checkpoint(folder, base=room / "relative", force=True)
    half = {name: tensor.half() for name, tensor in relative.items()}
    exact = write(room / "half", {"model_type": "llama", **LLAMA}, half)
    wide = write(room / "wide", {"model_type": "llama", **LLAMA}, {name: each.float() for name, each in half.items()})
    views = [View(each, canonical_names(TensorFiles(each))) for each in (exact, wide)]
    assert base_sha256(views[0]) == base_sha256(views[1])  # the same numbers, whatever they are stored in


def test_a_base_that_is_not_there(room: Path) -> None:
    folder = lora(room / "x", matrices(Q, WIDTH, WIDTH), base_model_name_or_path="some/where")
    told = refused(folder)
    assert "some/where" in told and "--base FOLDER" in told
    assert "no config.json" in refused(folder, base=room / "nowhere")


class TestProjectors:
    """A projector alone, in a folder with its config or as a file; June's carry embeddings."""

    def file(self, room: Path, tensors: dict[str, Tensor]) -> Path:
        torch.save(tensors, room / "projector.bin")
        return room / "projector.bin"

    def opened(self, room: Path, file: Path) -> Checkpoint:
        checkpoint = open_checkpoint(file, base=room / "base", towers={"": room / "eyes"})
        match(skeleton(checkpoint.config), checkpoint.config, checkpoint.tensors)
        return checkpoint

    def test_a_file_over_a_base(self, room: Path) -> None:
        checkpoint = self.opened(room, self.file(room, projector(2)))
        assert (checkpoint.found.form, checkpoint.found.generation) == ("projector", "1.5")
        assert checkpoint.config.projector == "mlp2x_gelu"
        stored = checkpoint.tensors.read("multi_modal_projector.linear_2.weight")
        assert torch.equal(stored, projector(2)["model.mm_projector.2.weight"])
        assert "--tower" in refused(room / "projector.bin", base=room / "base")
        assert "--base" in refused(room / "projector.bin", towers={"": room / "eyes"})

    @pytest.mark.parametrize(
        ("new", "template", "patch"),
        [(1, "v1-june", ROWS), (2, "sqa", ROWS + 1), (3, "v1-june", ROWS), (4, "v0", ROWS + 1)],
    )
    def test_junes_files_bring_rows_for_their_tokens(self, room: Path, new: int, template: str, patch: int) -> None:
        base = language(ROWS)
        rows = torch.cat([base["model.embed_tokens.weight"], drawn(new, WIDTH)])
        checkpoint = self.opened(room, self.file(room, {"model.embed_tokens.weight": rows, **projector(1)}))
        assert torch.equal(read(checkpoint, "model.embed_tokens"), rows)
        assert (checkpoint.config.template, checkpoint.config.image_token_id) == (template, patch)
        assert checkpoint.template.wrap_pictures is (new > 2)
        head = checkpoint.tensors.read("language_model.lm_head.weight")
        assert torch.equal(head[:ROWS], base["lm_head.weight"])
        torch.testing.assert_close(head[ROWS:], base["lm_head.weight"].mean(0).expand(new, -1))
        # By name it is the embeddings' "weight" and the projector's: each finds its own place.
        linear = checkpoint.tensors.read("multi_modal_projector.linear_1.weight")
        assert torch.equal(linear, projector(1)["model.mm_projector.weight"])

    def test_or_the_rows_of_the_two_marks_alone(self, room: Path) -> None:
        marks = drawn(2, WIDTH)
        checkpoint = self.opened(room, self.file(room, {"model.embed_tokens.weight": marks, **projector(1)}))
        embeddings, special = read(checkpoint, "model.embed_tokens"), checkpoint.tokenizer.special_ids
        assert torch.equal(embeddings[[special["<im_start>"], special["<im_end>"]]], marks)
        assert torch.equal(embeddings[:ROWS], language(ROWS)["model.embed_tokens.weight"])

    def test_a_config_beside_the_file_counts(self, room: Path) -> None:
        folder = write(room / "x", {**NEWEST, "vocab_size": ROWS, "mm_vision_select_layer": -1}, {}, names=False)
        torch.save(projector(2), folder / "step.bin")
        assert open_checkpoint(folder / "step.bin", base=room / "base").config.vision_feature_layer == -1

    @pytest.mark.parametrize(
        ("made", "words"), [(4096, "4096 into 5120: this projector belongs to a 7B"), (48, "48 into 5120: this")]
    )
    def test_widths_that_do_not_fit_are_said_as_people_say_them(self, tmp_path: Path, made: int, words: str) -> None:
        config = {"model_type": "llama", **LLAMA, "hidden_size": 5120}
        thin = {"model.embed_tokens.weight": torch.zeros(8, 5120), "model.norm.weight": torch.ones(5120)}
        write(tmp_path / "base", {**config, "vocab_size": 8}, thin)
        weights = {"model.mm_projector.weight": torch.zeros(made, SEES), "model.mm_projector.bias": torch.zeros(made)}
        torch.save(weights, tmp_path / "p.bin")
        told = refused(tmp_path / "p.bin", base=tmp_path / "base", force=True)
        assert words in told and ("is a 13B" in told) == (made == 4096)

    def test_a_tower_that_does_not_fit(self, room: Path) -> None:
        folder = write(room / "x", {**JUNE, "vocab_size": ROWS, "mm_hidden_size": SEES}, {}, names=False)
        wide = {"model.mm_projector.weight": torch.zeros(WIDTH, 99), "model.mm_projector.bias": torch.zeros(WIDTH)}
        torch.save(wide, folder / "mm_projector.bin")
        assert f"{SEES} into 99" in refused(folder, base=room / "base")

    def test_embeddings_of_another_base(self, room: Path) -> None:
        other = torch.cat([language(ROWS, seed=5)["model.embed_tokens.weight"], drawn(3, WIDTH)])
        file = self.file(room, {"model.embed_tokens.weight": other, **projector(1)})
        assert "other words" in refused(file, base=room / "base", towers={"": room / "eyes"})

    def test_a_file_that_is_no_projector(self, room: Path) -> None:
        file = self.file(room, tower())
        assert "holds no projector" in refused(file, base=room / "base")
        assert "holds no projector" in refused(file)

    def test_a_projector_takes_the_place_of_the_bases_own(self, room: Path) -> None:
        whole = {**language(ROWS + 1), **projector(2, seed=5)}
        base = write(room / "whole", {**NEWEST, "vocab_size": ROWS + 1}, whole, added=("[PAD]",))
        checkpoint = open_checkpoint(lora(room / "x", matrices(Q, WIDTH, WIDTH)), base=base, force=True)
        stored = checkpoint.tensors.read("multi_modal_projector.linear_1.weight")
        assert torch.equal(stored, projector(2)["model.mm_projector.0.weight"])
