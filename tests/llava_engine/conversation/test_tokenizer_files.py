"""A model folder's tokenizer files: what is read of them, which tokens are special or end an answer, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from llava_engine.conversation.spans import PictureSpan, Span, TextSpan
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.errors import ModelError
from tests.llava_engine.conversation.tiny_tokenizers import (
    byte_level,
    byte_level_spec,
    llama,
    llama_spec,
    piece_file,
    sentencepiece_model,
)

IMAGE = -200


def _save(folder: Path, spec: object, config: object) -> Path:
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_is_read(tmp_path: Path) -> None:
    config = {"bos_token": {"content": "<s>"}, "eos_token": "</s>", "pad_token": "<unk>", "add_bos_token": True}
    tokenizer = Tokenizer.from_folder(_save(tmp_path, llama_spec(legacy=False), config))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (1, 2, 0)
    assert tokenizer.strips_space
    assert not any(map(tokenizer.prefix_after, tokenizer.special_ids.values()))


@pytest.mark.parametrize("form", ["json", "sentencepiece"])
def test_an_adapters_tokens_are_appended_to_its_bases_tokenizer(tmp_path: Path, form: str) -> None:
    """As the original's add_tokens: what is there keeps its id, what is not gets the next one."""
    if form == "json":
        _save(tmp_path, llama_spec(legacy=True), {"bos_token": "<s>", "eos_token": "</s>"})
    else:
        (tmp_path / "tokenizer.model").write_bytes(sentencepiece_model())
        (tmp_path / "added_tokens.json").write_text(
            json.dumps({token["content"]: token["id"] for token in llama_spec(legacy=True)["added_tokens"][3:]})
        )
    before = Tokenizer.from_folder(tmp_path)
    after = Tokenizer.from_folder(tmp_path, added=("<im_patch>", "<im_start>", "</s>", "[PAD]"))

    new = {"<im_patch>": before.vocabulary, "[PAD]": before.vocabulary + 1}
    assert after.special_ids == before.special_ids | new
    assert after.vocabulary == before.vocabulary + 2
    written = assemble([TextSpan("the<im_patch>", "user", special=True)], after, [], IMAGE)
    assert written.ids[-1] == before.vocabulary
    assert after.encode("the cat", first=True) == before.encode("the cat", first=True)


def test_an_ordinary_word_becomes_special_under_its_own_id(tmp_path: Path) -> None:
    _save(tmp_path, llama_spec(legacy=True), {"bos_token": "<s>", "eos_token": "</s>"})
    before = Tokenizer.from_folder(tmp_path)
    after = Tokenizer.from_folder(tmp_path, added=("###",))
    assert [after.special_ids["###"]] == before.encode("###", first=False)
    assert after.vocabulary == before.vocabulary


def test_the_begin_token_is_also_known_from_the_post_processor(tmp_path: Path) -> None:
    spec = llama_spec(legacy=False)
    spec["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
        "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
    }
    with_begin = Tokenizer.from_folder(_save(tmp_path, spec, {"bos_token": "<s>", "eos_token": "</s>"}))
    assert with_begin.bos_id == 1
    assert with_begin.encode("cat", first=True)[0] != 1
    without = Tokenizer(llama_spec(legacy=False), {"bos_token": "<s>", "eos_token": "</s>"})
    assert without.bos_id is None


def test_the_prepend_dialect_is_the_old_rule() -> None:
    """Files converted before 2024 state the first word's space as a normalizer."""
    spec = llama_spec(legacy=True)
    spec["pre_tokenizer"] = None
    spec["normalizer"] = {
        "type": "Sequence",
        "normalizers": [
            {"type": "Prepend", "prepend": "▁"},
            {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
        ],
    }
    config = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    old, new = Tokenizer(spec, config), llama(legacy=True)
    assert all(map(old.prefix_after, old.special_ids.values()))
    parts: list[Span] = [
        TextSpan("the cat</s>the  cat", "user", special=True),
        PictureSpan(0),
        TextSpan("is red", "user"),
    ]
    assert assemble(parts, old, [1], IMAGE) == assemble(parts, new, [1], IMAGE)
    assert assemble(parts, Tokenizer(spec, config | {"legacy": False}), [1], IMAGE) == assemble(
        parts, llama(legacy=False), [1], IMAGE
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "no tokenizer.json"),
        ("", "not valid JSON"),
        ("[1]", "not an object"),
        ("{}", "not a tokenizer that we can read"),
        ('{"model": {"type": "WordPiece", "vocab": {}}}', "not BPE"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}', "tokenizer.json is"),
    ],
)
def test_a_broken_folder_is_a_users_error(tmp_path: Path, content: str | None, said: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(ModelError, match=said):
        Tokenizer.from_folder(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"\xff" * 40, b"\x0a\x05abc", b"version https://git-lfs.github.com/spec/v1\n"]
)
def test_a_broken_sentencepiece_file_is_a_users_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "tokenizer.model").write_bytes(content)
    with pytest.raises(ModelError, match=r"tokenizer\.model"):
        Tokenizer.from_folder(tmp_path)


def _extended(folder: Path, **files: object) -> Tokenizer:
    """Llama's kind with three more tokens that its tokenizer.json calls text, and files beside it."""
    spec = llama_spec(legacy=False)
    count = max(token["id"] for token in spec["added_tokens"]) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": False}
    spec["added_tokens"] += [
        {"id": count + place, "content": text} | flags for place, text in enumerate(["[MARK]", "stop!", "   "])
    ]
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    for name, content in ({"tokenizer_config": config} | files).items():
        (folder / f"{name}.json").write_text(json.dumps(content))
    (folder / "tokenizer.json").write_text(json.dumps(spec))
    return Tokenizer.from_folder(folder)


def test_an_added_token_that_is_written_like_a_mark_is_one_and_words_and_spaces_are_text(tmp_path: Path) -> None:
    tokenizer = _extended(tmp_path)
    assert "[MARK]" in tokenizer.special_ids
    assert not {"stop!", "   "} & tokenizer.special_ids.keys()
    assert tokenizer.decode(tokenizer.encode("stop!   a", first=False)).endswith("stop!   a")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("tokenizer_config", {"eos_token": "Human"}),
        ("tokenizer_config", {"eos_token": {"content": "Human", "special": False}}),
        ("tokenizer_config", {"additional_special_tokens": ["Human"]}),
        ("tokenizer_config", {"extra_special_tokens": {"user_token": "Human"}}),
        ("special_tokens_map", {"pad_token": "Human"}),
        ("special_tokens_map", {"additional_special_tokens": [{"content": "Human"}]}),
    ],
)
def test_a_token_is_special_when_any_file_names_it(tmp_path: Path, name: str, content: dict[str, object]) -> None:
    tokenizer = _extended(tmp_path, **{name: content})
    assert "Human" in tokenizer.special_ids
    typed = tokenizer.encode("Human", first=False)
    assert tokenizer.special_ids["Human"] not in typed
    assert tokenizer.decode(typed).endswith("Human")


@pytest.mark.parametrize("kind", [1, 4], ids=["normal", "user-defined"])
def test_marks_that_only_the_vocabulary_has_are_one_id_each(tmp_path: Path, kind: int) -> None:
    """Some files list <|im_end|>, which ends an answer, and not <|im_start|>."""
    first = [("<unk>", 0.0, 2), ("<s>", 0.0, 3), ("</s>", 0.0, 3), *((f"<0x{b:02X}>", 0.0, 6) for b in range(256))]
    marks = [("<|im_start|>", -1.0, kind), ("<|im_end|>", -2.0, kind)]
    (tmp_path / "tokenizer.model").write_bytes(piece_file([*first, *marks]))
    of_pieces = Tokenizer.from_folder(tmp_path)
    assert [of_pieces.special_ids[text] for text, _, _ in marks] == [259, 260]
    assert not {259, 260} & set(of_pieces.encode("<|im_start|>", first=True))


def test_marks_that_only_tokenizer_jsons_vocabulary_has_are_one_id_each(tmp_path: Path) -> None:
    spec = byte_level_spec()
    spec["model"]["vocab"] |= {"<|turn|>": 5000, "<|>": 5001}
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert tokenizer.special_ids["<|turn|>"] == 5000
    assert "<|>" not in tokenizer.special_ids


@pytest.mark.parametrize(
    ("files", "more"),
    [
        ({"generation_config": {"eos_token_id": [2, 300]}}, {300}),
        ({"generation_config": {"eos_token_id": 300}}, {300}),
        ({"config": {"eos_token_id": [2, 300]}}, {300}),
        ({"config": {"eos_token_id": 300}}, set()),  # a word: a class's default, not this tokenizer's
        ({"config": {"text_config": {"eos_token_id": 1}}}, {1}),
        ({"generation_config": {"eos_token_id": [True, -1, "2"]}}, set()),
    ],
)
def test_every_end_token_of_the_configs_stops_an_answer(
    tmp_path: Path, files: dict[str, object], more: set[int]
) -> None:
    assert _extended(tmp_path, **files).stop_ids(()) == {2} | more


def test_a_tokenizer_json_that_cuts_at_random_cuts_one_way(tmp_path: Path) -> None:
    spec = byte_level_spec()
    spec["model"]["dropout"] = 0.5
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    tokenizer = Tokenizer.from_folder(tmp_path)
    assert {tuple(tokenizer.encode("the cat the cat", first=True)) for _ in range(20)} == {
        tuple(byte_level().encode("the cat the cat", first=True))
    }
