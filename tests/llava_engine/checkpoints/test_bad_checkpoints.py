"""Checkpoints that are broken, lie or mean harm: one clear error that names the file; nothing runs, nothing is written."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints import delta
from llava_engine.checkpoints.checkpoint import open_checkpoint
from llava_engine.checkpoints.convert import convert
from llava_engine.contract import Sampling
from llava_engine.conversation.messages import Conversation, Message
from llava_engine.engine import Engine
from llava_engine.errors import LlavaError, ModelError
from tests.llava_engine import originals
from tests.llava_engine.checkpoints import mutants
from tests.llava_engine.checkpoints.mutants import PAIR, try_out
from tests.llava_engine.originals import NEWEST, ROWS, WIDTH

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 12345\n"
NAME = "model.layers.1.self_attn.k_proj.weight"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    room = tmp_path_factory.mktemp("whole")
    mutants.write_all(room)
    return room


@pytest.fixture
def room(whole: Path, tmp_path: Path) -> Path:
    """Checkpoints of every form, to be broken: files are replaced, never written into."""
    return mutants.copy(whole, tmp_path / "room")


def refusal(folder: Path, **options: Any) -> LlavaError:
    """The error that opening and loading ends with. It has a remedy, and converting the same folder writes nothing."""
    with pytest.raises(LlavaError) as told:
        try_out(folder, **options)
    assert told.value.remedy.endswith((".", "FOLDER", "ID", "list")), told.value
    target = folder.parent / "target"
    if folder.is_dir():
        with pytest.raises(LlavaError):
            convert(folder, "hf", target, **options)
    assert not [path.name for path in folder.parent.iterdir() if "target" in path.name]
    return told.value


def change(file: Path, **tensors: torch.Tensor | None) -> None:
    content = {**load_file(file), **tensors}
    file.unlink()
    save_file({name: tensor for name, tensor in content.items() if tensor is not None}, file)


def edit_header(file: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    """Change what a safetensors file says of itself, and nothing else."""
    content = file.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    edit(header)
    text = json.dumps(header).encode()
    mutants.replace(file, len(text).to_bytes(8, "little") + text + content[8 + length :])


class Bomb:
    """A pickle that leaves a folder where it was run."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.target),)


@pytest.mark.parametrize("form", ["archive", "old archive", "bare pickle", "protocol 4"])
@pytest.mark.parametrize(
    ("folder", "stem"),
    [
        ("newest", "model"),
        ("adapter", "adapter_model"),
        ("adapter", "non_lora_trainables"),
        ("projector", "mm_projector"),
        ("eyes", "model"),
    ],
)
def test_a_pickle_with_code_is_named_and_never_runs(room: Path, folder: str, stem: str, form: str) -> None:
    old = room / folder / f"{stem}.safetensors"
    file = old.with_name("pytorch_model.bin" if stem == "model" else f"{stem}.bin")
    content = {**load_file(old), "x": Bomb(room / "ran")}
    old.unlink()
    if "archive" in form:
        torch.save(content, file, _use_new_zipfile_serialization=form == "archive")
    else:
        file.write_bytes(pickle.dumps({"x": Bomb(room / "ran")}, protocol=2 if form == "bare pickle" else 4))
    error = refusal(room / ("newest" if folder == "eyes" else folder))
    assert str(file) in error.cause and "could run code" in error.cause
    assert not (room / "ran").exists()
    if "archive" in form:  # it is one that works
        torch.load(file, weights_only=False)
    else:
        pickle.loads(file.read_bytes())
    assert (room / "ran").exists()


def bins(room: Path, content: Any, name: str = "pytorch_model.bin") -> Path:
    (room / "newest" / "model.safetensors").unlink()
    torch.save(content, room / "newest" / name)
    return room / "newest" / name


@pytest.mark.parametrize(
    "value",
    [
        torch.ones(1).expand(10**6, 10**6),
        torch.eye(3).to_sparse(),
        torch.ones(2, dtype=torch.complex64),
        torch.ones(2, device="meta"),
        [1, 2],
        {"inner": torch.ones(2)},
        7,
    ],
    ids=["a trillion numbers of one", "sparse", "complex", "of no memory", "list", "table", "number"],
)
def test_what_is_no_plain_tensor_is_named(room: Path, value: Any) -> None:
    file = bins(room, {**originals.language(ROWS), **originals.projector(2), "odd.one": value})
    error = refusal(room / "newest")
    assert str(file) in error.cause and "odd.one" in error.cause


@pytest.mark.parametrize("content", [[torch.ones(2)], {3: torch.ones(2)}, torch.ones(2), None])
def test_a_bin_file_that_is_no_table_is_refused(room: Path, content: Any) -> None:
    assert "not a table" in refusal(bins(room, content).parent).cause


def test_an_archive_that_swells_is_not_unpacked(room: Path) -> None:
    file = bins(room, {"a": torch.zeros(10**6)})
    entries = {entry: zipfile.ZipFile(file).read(entry) for entry in zipfile.ZipFile(file).namelist()}
    file.unlink()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for entry, content in entries.items():
            archive.writestr(entry, content)
    assert "packed" in refusal(room / "newest").cause


def test_bin_files_of_old_and_of_odd_layout_are_read(room: Path) -> None:
    tensors = {**originals.language(ROWS), **originals.projector(2)}
    tensors[NAME] = tensors[NAME].T.contiguous().T
    for old in (True, False):
        folder = originals.write(room / f"old {old}", {**NEWEST, "vocab_size": ROWS}, {})
        torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=not old)
        try_out(folder)


def _longer(header: dict[str, Any]) -> None:
    start, end = header[NAME]["data_offsets"]
    header[NAME] |= {"shape": [WIDTH, WIDTH * 2], "data_offsets": [start, end + WIDTH * WIDTH * 4]}


LIES: dict[str, Callable[[dict[str, Any]], object]] = {
    "shape of more": lambda header: header[NAME].update(shape=[WIDTH, WIDTH * 2]),
    "shape of less": lambda header: header[NAME].update(shape=[WIDTH]),
    "shape turned round": lambda header: header["model.mm_projector.0.weight"]["shape"].reverse(),
    "negative shape": lambda header: header[NAME].update(shape=[-WIDTH, -WIDTH]),
    "endless shape": lambda header: header[NAME].update(shape=[2**40, 2**40]),
    "wide dtype": lambda header: header[NAME].update(dtype="F64"),
    "narrow dtype": lambda header: header[NAME].update(dtype="F16"),
    "whole numbers": lambda header: header[NAME].update(dtype="I32"),
    "dtype of no use": lambda header: header[NAME].update(dtype="U32"),
    "unknown dtype": lambda header: header[NAME].update(dtype="F3"),
    "overlapping": _longer,
    "backwards": lambda header: header[NAME]["data_offsets"].reverse(),
    "beyond the end": lambda header: header[NAME].update(data_offsets=[2**40, 2**40 + WIDTH * WIDTH * 4]),
    "no numbers at all": lambda header: header[NAME].update(shape=[0, WIDTH]),
    "no offsets": lambda header: header[NAME].pop("data_offsets"),
    "not an entry": lambda header: header.update({NAME: 7}),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_header_that_lies_is_refused(room: Path, lie: str) -> None:
    file = room / "newest" / "model.safetensors"
    edit_header(file, LIES[lie])
    error = refusal(room / "newest")
    assert str(file) in error.cause or NAME.removeprefix("model.") in error.cause or "projector" in error.cause


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x08",
        (2**63).to_bytes(8, "little"),
        (10**9).to_bytes(8, "little") + b"{}",
        (99).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (2).to_bytes(8, "little") + b"{}",
        (8).to_bytes(8, "little") + b"\xff\xfe" * 4,
        b"<html><body>404 Not Found</body></html>",
    ],
    ids=["empty", "a byte", "huge header", "header of 1 GB", "longer than the file", "list", "nothing", "junk", "page"],
)
@pytest.mark.parametrize("folder", ["newest", "eyes"])
def test_what_is_no_weight_file_is_refused(room: Path, folder: str, content: bytes) -> None:
    mutants.replace(room / folder / "model.safetensors", content)
    error = refusal(room / "newest")
    assert "safetensors" in error.cause or "lacks tensor" in error.cause or "layers" in error.cause


@pytest.mark.parametrize("share", [0.01, 0.5, 0.999])
def test_a_cut_shard_is_named(room: Path, share: float) -> None:
    file = room / "shards" / "model-00002-of-00002.safetensors"
    content = file.read_bytes()
    mutants.replace(file, content[: int(len(content) * share)])
    assert str(file) in refusal(room / "shards").cause


def edit_index(room: Path, edit: Callable[[dict[str, str]], object]) -> Path:
    file = room / "shards" / "model.safetensors.index.json"
    table = json.loads(file.read_text())["weight_map"]
    edit(table)
    mutants.replace(file, json.dumps({"weight_map": table}).encode())
    return room / "shards"


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("model-00003-of-00002.safetensors", "model-00003-of-00002"),
        ("../eyes/model.safetensors", "outside"),
        ("/etc/passwd", "outside"),
        ("", "outside"),
        ("..", "outside"),
        ("a" * 5000, "aaa"),
        ("a\x00b", "lacks"),
        ("\ud800", "lacks"),
    ],
)
def test_an_index_that_names_what_is_not_there_or_outside(room: Path, name: str, said: str) -> None:
    folder = edit_index(room, lambda table: table.update({NAME: name}))
    assert said in refusal(folder).cause


def test_a_shard_that_the_index_does_not_name(room: Path) -> None:
    last = "model-00002-of-00002.safetensors"
    folder = edit_index(
        room, lambda table: [table.pop(name) for name in [name for name in table if table[name] == last]]
    )
    assert "lacks tensor" in refusal(folder).cause


@pytest.mark.parametrize(
    "content", [b"{}", b'{"weight_map": []}', b'{"weight_map": {"a": 1}}', b"[", b'{"weight_map": {}}']
)
def test_an_index_that_is_none(room: Path, content: bytes) -> None:
    mutants.replace(room / "shards" / "model.safetensors.index.json", content)
    error = refusal(room / "shards")
    assert "index.json" in error.cause or "lacks" in error.cause


def test_a_tensor_in_two_shards(room: Path) -> None:
    one, two = (room / "shards" / f"model-0000{number}-of-00002.safetensors" for number in (1, 2))
    name = next(iter(load_file(one)))
    change(two, **{name: load_file(one)[name]})
    error = refusal(room / "shards")
    assert name in error.cause and one.name in error.cause and two.name in error.cause


def test_one_tensor_in_two_spellings(room: Path) -> None:
    change(room / "newest" / "model.safetensors", **{"language_model.model.norm.weight": torch.ones(WIDTH)})
    assert "two spellings" in refusal(room / "newest").cause


def test_tensors_without_numbers_and_of_whole_numbers(room: Path) -> None:
    file = room / "newest" / "model.safetensors"
    change(file, **{NAME: torch.zeros(0, WIDTH)})
    assert "k_proj" in refusal(room / "newest").cause
    change(file, **{NAME: torch.zeros(WIDTH, WIDTH, dtype=torch.int8)})
    assert "int8" in refusal(room / "newest").cause


# Files that are not there, not files, or not the folder's own


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
    mutants.replace(room / "newest" / "model.safetensors", POINTER)
    error = refusal(room / "newest")
    assert "pointers" in error.cause and "git lfs pull" in error.remedy
    mutants.replace(room / "eyes" / "model.safetensors", POINTER)
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
    mutants.replace(file, json.dumps(spec).encode())
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
    engine = Engine.load(folder, device="cpu")
    for sampling in (Sampling(max_new_tokens=5), Sampling(max_new_tokens=5, temperature=0.5, repetition_penalty=1.3)):
        conversation = Conversation((Message.user("Hello"),))
        pieces = list(engine.stream(conversation, sampling))
        reply = pieces[-1]
        assert not isinstance(reply, str)
        assert set(reply.token_ids) <= {rows - 1, rows - 2} and len(reply.token_ids) == 5
        assert reply.text == "" and pieces[:-1] == []
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
    settings = {**mutants.ADAPTER, "llava": {"base_sha256": "0" * 64}}
    mutants.replace(room / "adapter" / "adapter_config.json", json.dumps(settings).encode())
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


@pytest.mark.parametrize("lie", LIES.keys() - {"shape turned round"})  # a projector is the delta's own
def test_a_delta_with_a_lying_header_writes_nothing(room: Path, lie: str) -> None:
    delta.make(room / "base", room / "newest", room / "delta")
    edit_header(room / "delta" / "model.safetensors", LIES[lie])
    with pytest.raises(ModelError) as told:
        delta.apply(room / "base", room / "delta", room / "sum")
    assert told.value.remedy
    assert not [path.name for path in room.iterdir() if "sum" in path.name]


# Numbers that are none


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_end_an_answer_with_one_clear_error(room: Path, number: float) -> None:
    head = load_file(room / "hf" / "model.safetensors")["language_model.lm_head.weight"]
    change(room / "hf" / "model.safetensors", **{"language_model.lm_head.weight": torch.full_like(head, number)})
    engine = Engine.load(room / "hf", device="cpu")
    for sampling in (Sampling(), Sampling(temperature=1.0)):
        with pytest.raises(ModelError, match="no numbers"):
            list(engine.stream(Conversation((Message.user("Hello"),)), sampling))
    with pytest.raises(ModelError, match="no numbers"):
        engine.answer([("Hello", [])])
