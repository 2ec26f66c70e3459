"""Folders whose files are missing, strange, or do not belong together: one clear error, or they work and it is said."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import llava_engine
from llava_engine.checkpoints.delta import delta
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ModelError
from tests.llava_engine import originals
from tests.llava_engine.checkpoints import rooms
from tests.llava_engine.checkpoints.rooms import PAIR, change, refusal, replace, try_out
from tests.llava_engine.originals import NEWEST, ROWS, WIDTH

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"]
)
@pytest.mark.parametrize(
    "put",
    [
        lambda path: path.write_bytes(POINTER),
        lambda path: path.symlink_to("/etc/hostname"),
        lambda path: path.symlink_to("../eyes/config.json"),
        lambda path: path.symlink_to("/dev/zero"),
        lambda path: path.symlink_to(path.name),
        lambda path: os.mkfifo(path),
        lambda path: path.mkdir(),
    ],
    ids=["pointer", "link out", "link beside", "endless device", "link to itself", "pipe", "folder"],
)
def test_what_is_not_the_folders_own_file(room: Path, file: str, put: Callable[[Path], object]) -> None:
    (room / "hf" / file).unlink()
    put(room / "hf" / file)
    error = refusal(room / "hf")
    assert file in error.cause or "no weights" in error.cause


def test_pointers_of_a_checkout_say_what_to_run(room: Path) -> None:
    replace(room / "newest" / "model.safetensors", POINTER)
    error = refusal(room / "newest")
    assert "pointers" in error.cause and "git lfs pull" in error.remedy
    replace(room / "eyes" / "model.safetensors", POINTER)
    assert "eyes" in refusal(room / "tiles").cause


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("words")
    (tmp_path / "loop").symlink_to("loop")
    for name in ("empty", "file", "loop", "nowhere", "\x00", "a" * 5000):
        with pytest.raises(ModelError) as told:
            open_checkpoint(tmp_path / name)
        assert told.value.remedy


def test_a_weight_file_in_place_of_its_folder(room: Path) -> None:
    error = refusal(room / "newest" / "model.safetensors")
    assert "folder" in error.remedy


def test_what_may_not_be_read(room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said for files that the system keeps from us; the tests may be run by one who may read everything."""
    opened = Path.open

    def refuse(path: Path, *rest: Any, **more: Any) -> Any:
        if path.name == "tokenizer.json":
            raise PermissionError(13, "Permission denied", str(path))
        return opened(path, *rest, **more)

    monkeypatch.setattr(Path, "open", refuse)
    error = refusal(room / "hf")
    assert "tokenizer.json" in error.cause and "Permission denied" in error.cause


@pytest.mark.skipif(os.getuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_for_real(room: Path) -> None:
    for path in (room / "hf" / "config.json", room / "hf"):
        path.chmod(0)
        with pytest.raises(ModelError, match="can not be read"):
            open_checkpoint(room / "hf")
        path.chmod(0o755)


# Tokenizers


def tokenizer(room: Path, edit: Callable[[dict[str, Any]], object]) -> Path:
    file = room / "hf" / "tokenizer.json"
    spec = json.loads(file.read_text())
    edit(spec)
    replace(file, json.dumps(spec).encode())
    return room / "hf"


def mark(content: str, index: int) -> dict[str, Any]:
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    return {"id": index, "content": content} | flags


def test_a_tokenizer_with_more_tokens_than_rows(room: Path) -> None:
    more = {f"more{number}": 320 + number for number in range(100)}
    error = refusal(tokenizer(room, lambda spec: spec["model"]["vocab"].update(more)))
    assert "420 tokens" in error.cause and "400" in error.cause


@pytest.mark.parametrize("index", [400, 2**31, 2**32 - 1, 2**40, -1])
def test_a_token_beyond_the_rows(room: Path, index: int) -> None:
    for edit in (
        lambda spec: spec["added_tokens"].append(mark("<far>", index)),
        lambda spec: spec["model"]["vocab"].update({"far": index}),
    ):
        assert "token" in refusal(tokenizer(room, edit)).cause


def test_a_tokenizer_with_fewer_tokens_than_rows_speaks_and_keeps_silent_about_the_rest(room: Path) -> None:
    """The model prefers a row that no token has: it is chosen, has no text, and the next turn goes on."""
    folder = room / "hf"
    checkpoint = open_checkpoint(folder)
    count, rows = checkpoint.tokenizer.vocabulary, checkpoint.config.language.vocab_size
    assert count < rows and any(f"{count:,}" in note and f"{rows:,}" in note for note in checkpoint.found.notes)
    head = torch.zeros(rows, checkpoint.config.language.hidden_size)
    head[rows - 1] = 1000 * torch.randn(
        checkpoint.config.language.hidden_size, generator=torch.Generator().manual_seed(0)
    )
    head[rows - 2] = -head[rows - 1]
    change(folder / "model.safetensors", **{"language_model.lm_head.weight": head})
    engine = llava_engine.load(folder, device="cpu")
    for sampling in (Sampling(max_new_tokens=5), Sampling(max_new_tokens=5, temperature=0.5, repetition_penalty=1.3)):
        conversation = Conversation((Message.user("Hello"),))
        pieces = list(engine.stream(conversation, sampling))
        reply = pieces[-1]
        assert isinstance(reply, Reply)
        assert set(reply.token_ids) <= {rows - 1, rows - 2} and len(reply.token_ids) == 5
        assert reply.text == "" and not [piece for piece in pieces if isinstance(piece, str)]
        assert checkpoint.tokenizer.decode(reply.token_ids) == ""
    assert [reply.text for reply in engine.answer([("Hello", [])], max_new_tokens=3)] == [""]


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"words", b"\n\x05abc", b"\x0a\xff\xff\xff\xff\x0f", b"\x12\x02\x18\x01"]
)
def test_a_tokenizer_model_that_is_none(room: Path, content: bytes) -> None:
    (room / "hf" / "tokenizer.json").unlink()
    (room / "hf" / "tokenizer.model").write_bytes(content)
    assert "tokenizer.model" in refusal(room / "hf").cause


def test_no_tokenizer_at_all(room: Path) -> None:
    (room / "hf" / "tokenizer.json").unlink()
    assert "tokenizer" in refusal(room / "hf").cause


# Parts that do not belong together


def test_a_projector_of_another_width_says_whose_it_is(tmp_path: Path) -> None:
    originals.write_tower(tmp_path / "eyes")
    base = originals.write(tmp_path / "base", {"model_type": "llama", "num_hidden_layers": 2}, {}, names=False)
    wide = {"model.embed_tokens.weight": torch.zeros(8, 5120, dtype=torch.float16)}
    save_file(wide, base / "model.safetensors")
    folder = originals.write(tmp_path / "projector", {**NEWEST, "hidden_size": 5120}, {}, names=False)
    narrow = {
        "model.mm_projector.0.weight": torch.zeros(4096, originals.SEES, dtype=torch.float16),
        "model.mm_projector.0.bias": torch.zeros(4096, dtype=torch.float16),
        "model.mm_projector.2.weight": torch.zeros(4096, 4096, dtype=torch.float16),
        "model.mm_projector.2.bias": torch.zeros(4096, dtype=torch.float16),
    }
    save_file(narrow, folder / "mm_projector.safetensors")
    error = refusal(folder, base=base)
    assert "4096 into 5120: this projector belongs to a 7B" in error.cause


def test_a_projector_of_another_tower(room: Path) -> None:
    wrong = {"model.mm_projector.0.weight": torch.zeros(WIDTH, 24)}
    change(room / "newest" / "model.safetensors", **wrong)
    error = refusal(room / "newest")
    assert "16 into 24" in error.cause and "--tower" in error.remedy


def test_an_adapter_for_another_base(room: Path) -> None:
    other = originals.language(ROWS, seed=7)
    narrow = {name: tensor[..., : WIDTH // 2].contiguous() for name, tensor in other.items()}
    base = originals.write(room / "other", {"model_type": "llama", "num_hidden_layers": 2}, narrow)
    assert "--base" in refusal(room / "adapter", base=base).remedy
    shutil.rmtree(base)
    lower = {name: tensor for name, tensor in other.items() if ".1." not in name}
    base = originals.write(room / "other", {"model_type": "llama", "num_hidden_layers": 1}, lower)
    assert "--base" in refusal(room / "adapter", base=base).remedy


def test_an_adapter_that_says_another_fingerprint_needs_force(room: Path) -> None:
    settings = {**rooms.ADAPTER, "llava": {"base_sha256": "0" * 64}}
    replace(room / "adapter" / "adapter_config.json", json.dumps(settings).encode())
    error = refusal(room / "adapter")
    assert "another base" in error.cause and "--force" in error.remedy
    try_out(room / "adapter", force=True)


def test_a_matrix_for_what_the_base_lacks(room: Path) -> None:
    file = room / "adapter" / "adapter_model.safetensors"
    change(file, **{PAIR.replace("layers.1", "layers.9") + "A.weight": torch.zeros(2, WIDTH)})
    assert "layers.9" in refusal(room / "adapter").cause


def test_a_delta_is_applied_once(room: Path) -> None:
    base, target = room / "base", room / "newest"
    delta.make(base, target, room / "delta")
    delta.apply(base, room / "delta", room / "sum")
    for wrong in (room / "sum", target):
        with pytest.raises(ModelError, match="already"):
            delta.apply(wrong, room / "delta", room / "twice")
    with pytest.raises(ModelError):
        delta.apply(base, target, room / "twice")  # a finished model in the place of a delta
    assert "delta" in refusal(room / "delta").cause
    assert not [path.name for path in room.iterdir() if "twice" in path.name]


# Numbers that are none


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_end_an_answer_with_one_clear_error(room: Path, number: float) -> None:
    head = load_file(room / "hf" / "model.safetensors")["language_model.lm_head.weight"]
    change(room / "hf" / "model.safetensors", **{"language_model.lm_head.weight": torch.full_like(head, number)})
    engine = llava_engine.load(room / "hf", device="cpu")
    for sampling in (Sampling(), Sampling(temperature=1.0)):
        with pytest.raises(ModelError, match="no numbers"):
            list(engine.stream(Conversation((Message.user("Hello"),)), sampling))
    with pytest.raises(ModelError, match="no numbers"):
        engine.answer([("Hello", [])])
