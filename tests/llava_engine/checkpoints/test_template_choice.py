"""The conversation template that a folder's own chat template writes goes before what its family usually has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.conversation.sentencepiece import read_pieces
from llava_engine.errors import ModelError
from tests.llava_engine.conversation.tiny_tokenizers import piece_file, sentencepiece_model
from tests.llava_engine.originals import NEWEST, ROWS, language, projector, write, write_tower

TEXT = "{{ m.content if m.content is string else (m.content | selectattr('type', 'equalto', 'text') | first).text }}"
IMAGE = "{% if m.content is not string and m.content[0].type == 'image' %}<image>\n{% endif %}"
VICUNA = (
    "{% for m in messages %}{{ m.role | upper }}: " + IMAGE + TEXT + "{{ ' ' if m.role == 'user' else '</s>' }}"
    "{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"
)
STRINGS_ONLY = (
    "{{ bos_token }}{% for m in messages %}{% if m.role == 'user' %}{{ '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + eos_token }}{% endif %}{% endfor %}"
)
LLAMA_3 = (
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m.role }}<|end_header_id|>\n\n"
    + IMAGE
    + TEXT
    + "<|eot_id|>{% endfor %}<|start_header_id|>assistant<|end_header_id|>\n\n"
)
CHATML = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n"
    + IMAGE
    + "{% generation %}"
    + TEXT
    + "{% endgeneration %}<|im_end|>\n{% endfor %}<|im_start|>assistant\n"
)
OF_NOBODY = "{% for m in messages %}«{{ m.role }}» " + TEXT + " ¶{% endfor %}«assistant»"


@pytest.fixture
def room(tmp_path: Path) -> Path:
    write_tower(tmp_path / "eyes")
    return tmp_path


def folder(room: Path, *, mistral: bool = False, **config: Any) -> Path:
    raw = {**NEWEST, "vocab_size": ROWS, **({"model_type": "llava_mistral"} if mistral else {}), **config}
    return write(room / "model", raw, {**language(ROWS), **projector(2)})


def in_tokenizer_config(path: Path, said: object) -> None:
    file = path / "tokenizer_config.json"
    settings = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(settings | {"chat_template": said}))


@pytest.mark.parametrize(
    ("program", "mistral", "name"),
    [
        pytest.param(VICUNA, True, "v1", id="BakLLaVA: a Mistral that learned Vicuna's form"),
        pytest.param(VICUNA, False, "v1", id="Vicuna"),
        pytest.param(STRINGS_ONLY, True, "mistral", id="Mistral"),
        pytest.param(STRINGS_ONLY, False, "mistral", id="a Llama in Mistral's form"),
        pytest.param(LLAMA_3, False, "llama3", id="Llama 3"),
        pytest.param(CHATML, False, "chatml", id="ChatML"),
        pytest.param(CHATML, True, "chatml", id="a Mistral in ChatML"),
    ],
)
@pytest.mark.parametrize("where", ["jinja", "json", "tokenizer_config", "list"])
def test_what_it_writes_chooses(room: Path, program: str, mistral: bool, name: str, where: str) -> None:
    path = folder(room, mistral=mistral)
    match where:
        case "jinja":
            (path / "chat_template.jinja").write_text(program, encoding="utf-8")
        case "json":
            (path / "chat_template.json").write_text(json.dumps({"chat_template": program}))
        case "tokenizer_config":
            in_tokenizer_config(path, program)
        case _:
            other = {"name": "tool_use", "template": OF_NOBODY}
            in_tokenizer_config(path, [other, {"name": "default", "template": program}])
    checkpoint = open_checkpoint(path)
    assert checkpoint.config.template == name
    assert not any("none of ours" in note for note in checkpoint.found.notes)


@pytest.mark.parametrize("mistral", [True, False])
def test_the_system_text_decides_between_those_of_one_form(room: Path, mistral: bool) -> None:
    path = folder(room, mistral=mistral)
    system = (
        "A chat between a curious human and an artificial intelligence assistant. "
        "The assistant gives helpful, detailed, and polite answers to the human's questions. "
    )
    (path / "chat_template.jinja").write_text(system + VICUNA, encoding="utf-8")
    assert open_checkpoint(path).config.template == "v1-human"


@pytest.mark.parametrize(("rotary_base", "name"), [(10000.0, "v1"), (1000000.0, "mistral")])
def test_a_mistral_without_a_chat_template_is_told_by_its_base(room: Path, rotary_base: float, name: str) -> None:
    """BakLLaVA is on the first Mistral, LLaVA 1.6 on the second Mistral Instruct."""
    assert open_checkpoint(folder(room, mistral=True, rope_theta=rotary_base)).config.template == name


def test_one_that_is_none_of_ours_is_said_with_the_closest(room: Path) -> None:
    path = folder(room)
    (path / "chat_template.jinja").write_text(OF_NOBODY, encoding="utf-8")
    checkpoint = open_checkpoint(path)
    (note,) = [note for note in checkpoint.found.notes if "none of ours" in note]
    assert f"{checkpoint.config.template} is the closest" in note
    assert note in checkpoint.about
    asked = open_checkpoint(path, template="v1")
    assert not any("none of ours" in note for note in asked.found.notes)


@pytest.mark.parametrize(
    "program",
    [
        "{% set x = 'a' * 99999 %}{% for a in range(99999) %}{{ x }}{% endfor %}",
        "{{ 'a' * 10**10 }}",
        "{{ ''.__class__.__mro__ }}",
        "{% if %}",
        "{" * 50_000,
        "{{ raise_exception('no') }}",
        "",
    ],
    ids=range(7),
)
def test_a_hostile_or_broken_one_costs_little_and_is_said(room: Path, program: str) -> None:
    path = folder(room)
    (path / "chat_template.jinja").write_text(program, encoding="utf-8")
    checkpoint = open_checkpoint(path)
    assert checkpoint.config.template == "v1"
    assert any("chat_template.jinja" in note for note in checkpoint.found.notes)


def test_one_that_never_ends_is_ended_and_said(room: Path) -> None:
    path = folder(room)
    endless = "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}"
    (path / "chat_template.jinja").write_text(endless, encoding="utf-8")
    (note,) = [note for note in open_checkpoint(path).found.notes if "chat_template.jinja" in note]
    assert "was not read: it takes too" in note


def test_one_that_is_no_text_is_a_users_error(room: Path) -> None:
    path = folder(room)
    (path / "chat_template.jinja").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="UTF-8"):
        open_checkpoint(path)


MARKS = ("<|im_start|>", "<|im_end|>")


def with_pieces(room: Path, kind: int) -> Path:
    """A checkpoint whose tokenizer.model has ChatML's marks as pieces of this kind."""
    pieces = [*read_pieces(sentencepiece_model()).pieces, *((mark, 0.0, kind) for mark in MARKS)]
    rows = len(pieces)
    path = write(room / "model", {**NEWEST, "vocab_size": rows}, {**language(rows), **projector(2)}, names=False)
    (path / "tokenizer.model").write_bytes(piece_file(pieces))
    return path


@pytest.mark.parametrize("said", ["user-defined", "control", "added_tokens_decoder", "eos", "eos_id", "generation"])
def test_chatml_marks_choose_chatml_whichever_file_says_that_they_are_special(room: Path, said: str) -> None:
    path = with_pieces(room, {"user-defined": 4, "control": 3}.get(said, 1))
    ids = read_pieces((path / "tokenizer.model").read_bytes()).ids
    settings: dict[str, Any] = {}
    match said:
        case "added_tokens_decoder":
            settings["added_tokens_decoder"] = {str(ids[mark]): {"content": mark, "special": False} for mark in MARKS}
        case "eos":
            settings |= {"eos_token": MARKS[1], "additional_special_tokens": [MARKS[0]]}
        case "eos_id" | "generation":
            file = path / ("config.json" if said == "eos_id" else "generation_config.json")
            config = json.loads(file.read_text()) if file.exists() else {}
            config |= {"eos_token_id": [2, ids[MARKS[1]]], "bos_token_id": ids[MARKS[0]]}
            file.write_text(json.dumps(config))
    (path / "tokenizer_config.json").write_text(json.dumps(settings))
    checkpoint = open_checkpoint(path)
    assert checkpoint.config.template == "chatml"
    assert [checkpoint.tokenizer.special_ids[mark] for mark in MARKS] == [ids[mark] for mark in MARKS]
    if said in ("eos", "eos_id", "generation"):
        assert ids[MARKS[1]] in checkpoint.tokenizer.stop_ids(())
    typed = checkpoint.tokenizer.encode("".join(MARKS), first=True)
    assert not {ids[mark] for mark in MARKS} & set(typed)


def test_a_wrong_number_makes_no_word_special(room: Path) -> None:
    path = with_pieces(room, 3)
    ids = read_pieces(sentencepiece_model()).ids
    (path / "generation_config.json").write_text(json.dumps({"eos_token_id": [2, ids["▁cat"]]}))
    tokenizer = open_checkpoint(path).tokenizer
    assert tokenizer.decode(tokenizer.encode("the cat", first=True)) == "the cat"
    assert ids["▁cat"] in tokenizer.stop_ids(())
