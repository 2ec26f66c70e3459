"""Which folders are another family's, what is refused before transformers is imported, and what a folder may not do."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine import (
    DeviceError,
    LlavaError,
    LoadCancelledError,
    LoadProgress,
    ModelError,
    OutOfMemoryError,
    UsageError,
)
from llava_engine.backends.transformers.engine import TransformersEngine
from llava_engine.backends.transformers.recognition import as_foreign, check_files, foreign_folder
from llava_engine.checkpoints.catalog import EMBEDDED
from llava_engine.opening import Placement, Source
from tests.llava_engine.backends.transformers.families import FAMILIES
from tests.llava_engine.backends.transformers.plain import PlainTransformers, asked, noise, run
from tests.llava_engine.tiny import TILED, TINY, complete

FAMILY = "internvl"
CPU = Placement(device="cpu")


@pytest.fixture
def folder(folder_of: Callable[[str], Path], tmp_path: Path) -> Path:
    """One that may be spoiled."""
    return shutil.copytree(folder_of(FAMILY), tmp_path / "model")


def changed(file: Path, **values: Any) -> None:
    said = json.loads(file.read_text(encoding="utf-8"))
    file.write_text(json.dumps(said | values), encoding="utf-8")


def opened(folder: Path, placement: Placement = CPU, source: Source | None = None) -> TransformersEngine:
    return TransformersEngine.open(as_foreign(folder), source or Source(), placement)


def refused(folder: Path, kind: type[LlavaError] = ModelError, placement: Placement = CPU) -> LlavaError:
    with pytest.raises(kind) as told:
        opened(folder, placement)
    assert "\n" not in told.value.cause
    return told.value


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_told_by_its_config(family: str, folder_of: Callable[[str], Path]) -> None:
    found = foreign_folder(folder_of(family))
    assert found is not None and found.kind == family
    assert found.architecture.endswith("ForConditionalGeneration") and not found.has_code and not found.quantized


def test_ours_stays_ours(tmp_path: Path) -> None:
    for ours in (EMBEDDED, complete(TINY, tmp_path / "tiny"), complete(TILED, tmp_path / "tiled")):
        assert foreign_folder(ours) is None
    assert foreign_folder(tmp_path) is None


@pytest.mark.parametrize(
    ("raw", "is_foreign"),
    [
        ({"model_type": "llava", "text_config": {"model_type": "qwen2"}, "vision_config": {}}, True),
        ({"model_type": "llava", "text_config": {}, "vision_config": {"model_type": "siglip_vision_model"}}, True),
        ({"model_type": "llava", "text_config": {"vocab_size": "many"}, "vision_config": {}}, False),  # broken
        ({"model_type": "clip", "text_config": {}, "vision_config": {}, "projection_dim": 8}, False),
        ({"model_type": "llama", "num_hidden_layers": 2}, False),
        ({"model_type": "llava_llama", "mm_vision_tower": "openai/clip"}, False),
        ({"model_type": ["gemma3"], "vision_config": {}}, False),
        ({"vision_config": {}}, False),
    ],
)
def test_what_is_another_familys(raw: dict[str, Any], is_foreign: bool, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(raw), encoding="utf-8")
    assert (foreign_folder(tmp_path) is not None) == is_foreign


def test_a_llava_of_ours_is_opened_when_asked_for(tmp_path: Path) -> None:
    """As an oracle: the tokens of our own engine, by another library."""
    import llava_engine

    folder = complete(TINY, tmp_path / "tiny")
    template = "{{ bos_token }}{% for m in messages %}{{ m.role | upper }}: {% for p in m.content %}"
    template += "{{ '<image>\n' if p.type == 'image' else p.text }}{% endfor %} {% endfor %}"
    template += "{% if add_generation_prompt %}ASSISTANT:{% endif %}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    changed(folder / "tokenizer_config.json", image_token="<image>", extra_special_tokens={"image_token": "<image>"})
    settings = {"processor_class": "LlavaProcessor", "patch_size": 14, "num_additional_image_tokens": 1}
    settings["vision_feature_select_strategy"] = "default"
    (folder / "processor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    changed(folder / "preprocessor_config.json", image_processor_type="CLIPImageProcessor", do_pad=False)
    conversation = asked(("What is it?", [noise(1, 56, 56)]), system="")
    ours = llava_engine.load(folder, device="cpu", template="v1")
    theirs = opened(folder)
    [*_, mine] = ours.stream(conversation, llava_engine.Sampling(max_new_tokens=12))
    assert isinstance(mine, llava_engine.Reply)
    reply = run(theirs, conversation, max_new_tokens=12)
    assert reply.picture_tokens == mine.picture_tokens
    assert (reply.prompt_tokens, reply.token_ids) == (mine.prompt_tokens, mine.token_ids)
    theirs.close()


def test_news_while_it_loads_and_a_way_out(folder_of: Callable[[str], Path]) -> None:
    news: list[LoadProgress] = []
    found = as_foreign(folder_of(FAMILY))
    engine = TransformersEngine.open(found, Source(), CPU, on_progress=news.append)
    assert news[0] == LoadProgress("importing transformers", 0, 0)
    assert news[-1].done == news[-1].total == engine.card.memory_bytes
    card = engine.card
    assert (card.device, card.dtype, card.slots, card.context_length) == ("cpu", "float32", 1, 512)
    weights = load_file(folder_of(FAMILY) / "model.safetensors")
    assert card.parameters == sum(one.numel() for one in weights.values())
    assert any("InternVLForConditionalGeneration" in line for line in card.about)
    engine.close()
    with pytest.raises(LoadCancelledError):
        TransformersEngine.open(found, Source(), CPU, cancelled=lambda: True)


@pytest.mark.parametrize("placement", [Placement(quantize="int8"), Placement(max_memory="1GB"), Placement(devices="0")])
def test_what_is_not_held_is_refused_by_its_name(placement: Placement, folder: Path) -> None:
    [flag] = placement.changed()
    assert flag in refused(folder, UsageError, placement).cause


@pytest.mark.parametrize("source", [Source(base="x"), Source(tower="x"), Source(template="v1"), Source(force=True)])
def test_what_only_ours_have_is_refused_by_its_name(source: Source, folder: Path) -> None:
    with pytest.raises(UsageError, match=r"--(base|tower|template|force)"):
        opened(folder, CPU, source)


def test_without_the_extra_it_is_named(folder: Path) -> None:
    with patch("llava_engine.backends.transformers.asked.metadata.version", side_effect=PackageNotFoundError):
        assert refused(folder).remedy == "Install it with: pip install -c constraints.txt '.[hf]'"
    with patch("llava_engine.backends.transformers.asked.metadata.version", return_value="5.4.1"):
        assert "too old" in refused(folder).cause


def test_dtype_and_context_hold(folder: Path) -> None:
    engine = opened(folder, Placement(device="cpu", dtype="bfloat16", context=100))
    assert (engine.card.dtype, engine.card.context_length) == ("bfloat16", 100)
    assert engine._loaded.model.dtype == torch.bfloat16
    assert run(engine, asked(("Hi", [noise(1, 20, 20)])), max_new_tokens=3).prompt_tokens
    assert engine.card.memory_bytes == opened(folder).card.memory_bytes // 2  # type: ignore[operator]
    engine.close()
    assert "513" in refused(folder, DeviceError, Placement(device="cpu", context=513)).cause
    refused(folder, DeviceError, Placement(device="cuda:7"))


def test_what_does_not_fit_is_said_before_it_is_read(folder: Path) -> None:
    with patch("llava_engine.backends.transformers.memory.limit_for", return_value=150_000):
        told = refused(folder, OutOfMemoryError)
    assert isinstance(told, OutOfMemoryError) and not told.plan.fits
    assert told.plan.remedies and told.plan.remedies[0].options == "--dtype bfloat16"


def test_pickles_are_refused(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    torch.save(weights, folder / "pytorch_model.bin")
    opened(folder).close()  # safetensors are there too, and are taken
    (folder / "model.safetensors").unlink()
    told = refused(folder)
    assert "pickle" in told.cause and "safetensors" in told.remedy


def test_weights_that_are_not_whole(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    gone = next(name for name in weights if name.endswith("q_proj.weight"))
    save_file({name: one for name, one in weights.items() if name != gone}, folder / "model.safetensors")
    assert "missing" in refused(folder).cause
    save_file(weights | {gone: torch.zeros(3, 3)}, folder / "model.safetensors")
    refused(folder)
    (folder / "model.safetensors").write_bytes(b"\0" * 20)
    refused(folder)
    (folder / "model.safetensors").unlink()
    assert "no weights" in refused(folder).cause


def test_a_link_out_of_the_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.json").write_text("{}", encoding="utf-8")
    (folder / "extra.json").symlink_to(tmp_path / "secret.json")
    with pytest.raises(ModelError, match="leads out"):
        check_files(as_foreign(folder))


def test_a_folder_without_a_chat_template(folder: Path) -> None:
    (folder / "chat_template.jinja").unlink()
    assert "no chat template" in refused(folder).cause


@pytest.mark.parametrize(
    ("template", "why"),
    [
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "not run here"),
        ("{{ messages[0].nothing.more }}", "no conversation"),
        ("Hello", "no conversation"),
        ("{% if %}", "no conversation"),
    ],
)
def test_a_chat_template_that_is_none(template: str, why: str, folder: Path) -> None:
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    with patch("llava_engine.backends.transformers.writing._SECONDS", 1.0):
        assert why in refused(folder).cause


def test_a_template_that_takes_text_alone(folder: Path, plain_of: Callable[[str], PlainTransformers]) -> None:
    template = "{% for m in messages %}<|im_start|>{{ m.role + '\n' + m.content }}<|im_end|>\n{% endfor %}"
    template += "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
    engine = opened(folder)
    conversation = asked(("What is", [noise(1, 40, 30)]), "It", "And?")
    reply = run(engine, conversation, max_new_tokens=4)
    assert list(reply.token_ids) == plain_of(FAMILY).answer(conversation, 4)
    assert reply.prompt_tokens == len(plain_of(FAMILY).prompt(conversation))
    typed = run(engine, asked(("What <image>is <IMG_CONTEXT>", [noise(1, 40, 30)])), max_new_tokens=1)
    assert len(typed.picture_tokens) == 1 and "What <image>is <IMG_CONTEXT>" in typed.prompt
    engine.close()


def test_code_of_the_folder_is_never_run(folder: Path) -> None:
    ran = folder / "ran"
    (folder / "modeling_own.py").write_text(f"open({str(ran)!r}, 'w')\n", encoding="utf-8")
    own = {"auto_map": {"AutoConfig": "modeling_own.Own", "AutoModelForImageTextToText": "modeling_own.Own"}}
    changed(folder / "config.json", **own)
    changed(folder / "processor_config.json", auto_map={"AutoProcessor": "modeling_own.Own"})
    changed(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["modeling_own.Own", None]})
    opened(folder).close()
    changed(folder / "config.json", model_type="own_vl", architectures=["Own"])
    told = refused(folder)
    assert "its own code is not run" in told.cause and not ran.exists()


def test_a_kind_that_transformers_has_no_class_for(folder: Path) -> None:
    changed(folder / "config.json", model_type="siglip")
    assert "no vision-language model" in refused(folder).cause


@pytest.mark.parametrize("file", ["config.json", "tokenizer.json", "preprocessor_config.json", "processor_config.json"])
@pytest.mark.parametrize("content", ["", "[]", '{"a": ' * 5000, "\ud800"])
def test_broken_files_are_one_line(file: str, content: str, folder: Path) -> None:
    (folder / file).write_bytes(content.encode("utf-8", "surrogatepass"))
    refused(folder)


def test_nothing_is_asked_of_the_network(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def none(*args: object, **kwargs: object) -> None:
        raise AssertionError("it asked the network")

    monkeypatch.setattr(socket.socket, "connect", none)
    monkeypatch.setattr(socket, "getaddrinfo", none)
    changed(folder / "config.json", attn_implementation="kernels-community/flash-attn")
    opened(folder).close()
