"""tokenizer.model is cut as SentencePiece itself cuts with the very file, whoever extended it and however."""

from __future__ import annotations

import json
import random
from collections.abc import Collection
from typing import Any

import pytest
import sentencepiece
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.checkpoints.layouts.hf.tokenizer import hf_tokenizer
from llava_engine.conversation.sentencepiece import read_pieces, tokenizer_spec, unsaid
from llava_engine.conversation.spans import TextSpan
from llava_engine.conversation.tokenizer import Tokenizer, assemble
from llava_engine.errors import ModelError
from tests.llava_engine.conversation.tiny_tokenizers import piece_file, sentencepiece_model

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
BYTES = [(f"<0x{byte:02X}>", 0.0, BYTE) for byte in range(256)]
LETTERS = "▁abcde"

words = st.text(LETTERS, min_size=2, max_size=5)
scores = st.sampled_from([0.0, -1.0, -2.0, -3.5, 4.0]) | st.floats(-50, 5, width=32)
texts = st.text(" abcdefü世\n<|>▁", max_size=40)


@st.composite
def vocabularies(draw: st.DrawFn) -> tuple[bytes, list[tuple[str, float, int]]]:
    """A file: some letters missing, pieces with any scores, user-defined and unused ones, words that are bracketed."""
    fallback = draw(st.booleans())
    pieces = [("<unk>", 0.0, UNKNOWN), ("<s>", 0.0, CONTROL), ("</s>", 0.0, CONTROL), *(BYTES if fallback else ())]
    letters = draw(st.sets(st.sampled_from(LETTERS), min_size=1))
    entries = {letter: (draw(scores), NORMAL) for letter in sorted(letters)}
    for word in draw(st.lists(words, max_size=25)):
        entries[word] = (draw(scores), draw(st.sampled_from([NORMAL] * 6 + [USER, UNUSED])))
    for word in draw(st.sets(st.sampled_from(["foo", "▁ab", "世", "cc", "\n\n"]), max_size=3)):
        entries[word] = (0.0, USER)
    pieces += [(text, score, kind) for text, (score, kind) in entries.items()]
    return piece_file(pieces, dummy_prefix=draw(st.booleans()), byte_fallback=fallback), pieces


@settings(max_examples=400, deadline=None)
@given(vocabularies(), texts)
def test_text_is_cut_as_sentencepiece_cuts_it(vocabulary: tuple[bytes, Any], text: str) -> None:
    model, _ = vocabulary
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model).encode(text)
    assert of_file(model).encode(text, first=True) == theirs


@settings(max_examples=400, deadline=None)
@given(vocabularies(), texts)
def test_what_tokenizer_json_can_say_it_says(vocabulary: tuple[bytes, Any], text: str) -> None:
    model, _ = vocabulary
    pieces = read_pieces(model)
    text = text.lstrip(" ▁")  # this dialect of tokenizer.json puts no space before one
    if unsaid(pieces) is None:
        theirs = sentencepiece.SentencePieceProcessor(model_proto=model).encode(text)
        assert as_json(model).encode(text, add_special_tokens=False).ids == theirs


def test_most_vocabularies_are_said_whole() -> None:
    assert unsaid(read_pieces(sentencepiece_model())) is None


@pytest.mark.parametrize(
    ("added", "why"),
    [
        ([("zq", 5.0, NORMAL)], "letters"),  # q and z are no pieces
        ([("cat", 0.0, USER)], "user-defined"),
        ([("▁x", -1e6, NORMAL), ("x▁", -1e6, NORMAL)], "equal scores"),
    ],
)
def test_what_tokenizer_json_can_not_say_is_known(added: list[tuple[str, float, int]], why: str) -> None:
    model = extended(drop={"z", "q"}, more=added)
    assert why in str(unsaid(read_pieces(model)))


def test_a_piece_of_letters_that_are_no_pieces_is_reached() -> None:
    model = extended(drop={"z", "q"}, more=[("zq", 5.0, NORMAL)])
    tokenizer = of_file(model)
    assert tokenizer.encode("zq", first=False) == [read_pieces(model).ids["zq"]]


MARK = "<|im_start|>"


@pytest.mark.parametrize("legacy", [True, False])
def test_a_user_defined_mark_is_one_id_in_a_template_and_letters_in_a_users_words(legacy: bool) -> None:
    model = extended(more=[(MARK, 0.0, USER)])
    mark = read_pieces(model).ids[MARK]
    tokenizer = of_file(model, legacy=legacy)
    written = assemble([TextSpan(f"{MARK}user", "user", special=True)], tokenizer, [], -200)
    typed = assemble([TextSpan(f"{MARK}user", "user")], tokenizer, [], -200)
    # SentencePiece cuts it out of the text: what follows goes on without a space of its own.
    assert list(written.ids[1:]) == sentencepiece.SentencePieceProcessor(model_proto=model).encode(f"{MARK}user")
    assert mark not in typed.ids
    assert tokenizer.decode(typed.ids) == f"{MARK}user"
    assert tokenizer.decode([mark]) == ""


def test_a_user_defined_word_is_a_word() -> None:
    model = extended(more=[("▁zebra", 0.0, USER)])
    tokenizer = of_file(model)
    zebra = read_pieces(model).ids["▁zebra"]
    assert tokenizer.encode("the zebra", first=True)[-1] == zebra
    assert tokenizer.decode([zebra]) == "zebra"


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_broken_file_is_a_users_error(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    whole = bytearray(extended(more=[(MARK, 0.0, USER)]))
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(whole)) | st.just(len(whole)))
    folder = tmp_path_factory.mktemp("broken")
    (folder / "tokenizer.model").write_bytes(whole[:cut])
    try:
        tokenizer = Tokenizer.from_folder(folder)
    except ModelError as error:
        assert "tokenizer.model" in error.cause
        return
    tokenizer.encode("the cat is red", first=True)


def test_scores_that_are_no_numbers_and_sizes_that_are_none_are_refused() -> None:
    for pieces in ([("a", float("nan"), NORMAL)], [("a", float("inf"), NORMAL)], [("", 0.0, NORMAL)], [("a", 0.0, 9)]):
        with pytest.raises(ValueError, match="piece"):
            read_pieces(piece_file([("<unk>", 0.0, UNKNOWN), *pieces]))


def test_a_hugging_face_folder_of_it_cuts_alike_where_that_can_be_said() -> None:
    model = sentencepiece_model()
    tokenizer = of_file(model)
    config = {"bos_token": "<s>", "eos_token": "</s>"}
    spec = tokenizer_spec(read_pieces(model), {}, legacy=True)
    written = tokenizers.Tokenizer.from_str(as_text(hf_tokenizer(spec, config, tokenizer, -200, 100).spec))
    theirs = sentencepiece.SentencePieceProcessor(model_proto=model)
    chance = random.Random(0)
    for _ in range(300):
        text = "".join(chance.choices("the cat ASSISTing USER###\n世界é", k=chance.randrange(1, 30)))
        assert written.encode(text, add_special_tokens=False).ids == theirs.encode(text), text


def of_file(model: bytes, *, legacy: bool = True) -> Tokenizer:
    pieces = read_pieces(model)
    spec = tokenizer_spec(pieces, {}, legacy=legacy, marks=pieces.marks)
    config = {"bos_token": "<s>", "eos_token": "</s>", "add_bos_token": True}
    return Tokenizer(spec, config, pieces=pieces, inside=pieces.marks)


def as_json(model: bytes) -> tokenizers.Tokenizer:
    pieces = read_pieces(model)
    whole = tokenizers.Tokenizer.from_str(as_text(tokenizer_spec(pieces, {}, legacy=False)))
    whole.encode_special_tokens = True
    return whole


def as_text(spec: dict[str, Any]) -> str:
    return json.dumps(spec)


def extended(*, more: list[tuple[str, float, int]], drop: Collection[str] = ()) -> bytes:
    """The made file with pieces appended, and some taken out."""
    kept = [tuple(piece) for piece in read_pieces(sentencepiece_model()).pieces if piece.text not in drop]
    return piece_file([*kept, *more])


def test_the_made_file_is_one_of_sentencepieces() -> None:
    processor = sentencepiece.SentencePieceProcessor(model_proto=sentencepiece_model())
    assert processor.decode(processor.encode("the cat is red")) == "the cat is red"
