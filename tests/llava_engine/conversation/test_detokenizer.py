"""Text from ids, piece by piece, against the tokenizers library's decoding of all of them."""

from __future__ import annotations

import json

import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.conversation.tokenizer import Detokenizer, Tokenizer
from tests.llava_engine.conversation.tiny_tokenizers import byte_level, byte_level_spec, llama, llama_spec

KINDS = {
    "llama": (llama(legacy=False), tokenizers.Tokenizer.from_str(json.dumps(llama_spec(legacy=False)))),
    "byte level": (byte_level(), tokenizers.Tokenizer.from_str(json.dumps(byte_level_spec()))),
}
texts = st.text(st.sampled_from("the cat is\n🙂👩‍👧世界éñ"), max_size=20)


def pieces(tokenizer: Tokenizer, ids: list[int], lead: str = "") -> list[str]:
    stream = Detokenizer(tokenizer, lead=lead)
    return [*(stream.push(token) for token in ids), stream.flush()]


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts, marks=st.lists(st.integers(0, 20), max_size=3))
def test_the_pieces_are_the_librarys_text(kind: str, text: str, marks: list[int]) -> None:
    tokenizer, whole = KINDS[kind]
    ids = tokenizer.encode(text, first=True)
    for place in marks:  # special tokens anywhere have no text
        ids.insert(place, tokenizer.special_ids["<|im_end|>"])
    assert "".join(pieces(tokenizer, ids)) == whole.decode(ids, skip_special_tokens=True) == text


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
def test_no_piece_shows_half_a_character(kind: str, text: str) -> None:
    tokenizer, _ = KINDS[kind]
    assert not any("\ufffd" in piece for piece in pieces(tokenizer, tokenizer.encode(text, first=True)))


def test_a_character_comes_with_its_last_byte() -> None:
    tokenizer = llama(legacy=False)
    ids = tokenizer.encode("🙂", first=False)
    assert len(ids) == 4
    assert pieces(tokenizer, ids) == ["", "", "", "🙂", ""]


def test_bytes_that_never_become_a_character_are_shown_as_such_at_the_end() -> None:
    tokenizer = llama(legacy=False)
    ids = tokenizer.encode("a🙂", first=False)
    assert pieces(tokenizer, ids[:-1])[-1] == "\ufffd"


@pytest.mark.parametrize("kind", KINDS)
def test_the_space_that_the_template_lets_an_answer_begin_with_is_dropped_once(kind: str) -> None:
    tokenizer, _ = KINDS[kind]
    ids = tokenizer.encode("  the cat", first=False)
    assert "".join(pieces(tokenizer, ids, lead=" ")) == " the cat"
    assert "".join(pieces(tokenizer, tokenizer.encode("the", first=False), lead=" ")) == "the"


def test_an_id_beyond_the_vocabulary_has_no_text() -> None:
    assert byte_level().decode([10**6]) == ""
