"""Ids, slots and masks against the tokenizers library itself, for every template and arbitrary text."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st

from llava_engine.conversation import templates
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import PictureSpan, Span, TextSpan, prompt_text, spans
from llava_engine.conversation.tokenizer import Slot, Tokenizer, assemble
from llava_engine.pictures.opening import Picture
from tests.llava_engine.conversation.tiny_tokenizers import (
    byte_level,
    byte_level_spec,
    llama,
    llama_3,
    llama_3_spec,
    llama_spec,
    sentencepiece_model,
)

PICTURE = cast(Picture, None)
IMAGE = -200
CHAT_TEMPLATES = [template for template in templates.TEMPLATES.values() if not template.captions_only]
# Ours, and the library's own with the same file.
KINDS: dict[str, tuple[Tokenizer, tokenizers.Tokenizer]] = {
    "llama legacy": (llama(legacy=True), tokenizers.Tokenizer.from_str(json.dumps(llama_spec(legacy=True)))),
    "llama": (llama(legacy=False), tokenizers.Tokenizer.from_str(json.dumps(llama_spec(legacy=False)))),
    "byte level": (byte_level(), tokenizers.Tokenizer.from_str(json.dumps(byte_level_spec()))),
    "llama 3": (llama_3(), tokenizers.Tokenizer.from_str(json.dumps(llama_3_spec()))),
}

# No space at the start: SentencePiece puts its own before it, and the library's Metaspace does not (see below).
words = st.text(st.sampled_from("the cat\n#:?.USERHumani世🙂é</>s|"), min_size=1, max_size=24)
typed = words.map(str.lstrip).filter(bool)


@st.composite
def conversations(draw: st.DrawFn) -> Conversation:
    turns = draw(st.integers(1, 3))
    messages = []
    for _ in range(turns):
        messages.append(Message.user(draw(typed), [PICTURE] * draw(st.integers(0, 2))))
        messages.append(Message.assistant(draw(typed)))
    closed = draw(st.booleans())
    return Conversation(tuple(messages if closed else messages[:-1]), draw(st.sampled_from([None, "", "Be brief."])))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", CHAT_TEMPLATES, ids=lambda template: template.name)
@settings(max_examples=40)
@given(conversation=conversations())
def test_ids_are_the_librarys_for_the_whole_text(
    kind: str, template: templates.Template, conversation: Conversation
) -> None:
    tokenizer, whole = KINDS[kind]
    if template.name == "llama3" and kind == "byte level":
        return  # GPT-2's pattern looks from the two line ends of the tag into the answer; Llama 3's own does not
    typed_text = "".join(message.text for message in conversation.messages)
    if any(mark in typed_text for mark in tokenizer.special_ids):
        return  # the library would make special tokens of them; see the test of that below
    parts = spans(conversation, template)
    prompt = assemble(parts, tokenizer, [2] * len(conversation.pictures), IMAGE)

    expected = [] if tokenizer.bos_id is None else [tokenizer.bos_id]
    edges: set[int] = set()
    for count, text in enumerate(prompt_text(parts).split("<image>")):
        expected += [IMAGE] * (2 if count else 0)
        if text.startswith(" ") or any(f"{mark} " in text for mark in tokenizer.special_ids):
            return  # there the library leaves out SentencePiece's own space; see below
        encoded = whole.encode(text, add_special_tokens=False)
        expected += encoded.ids
        edges |= _straddled(text, template, encoded.offsets, looks_ahead=kind == "byte level")
    if not edges:
        assert list(prompt.ids) == expected


def _straddled(
    text: str, template: templates.Template, offsets: list[tuple[int, int]], *, looks_ahead: bool
) -> set[int]:
    """Where the library makes one token of an answer's end or beginning and what stands beside it: we cut there.

    Byte-level patterns also look ahead: of several spaces or line ends, the last goes with the word that follows.
    """
    places = []
    for mark, side in (
        (template.assistant_tag, len(template.assistant_tag)),
        (template.answer_end, len(template.answer_end)),
    ):
        start = text.find(mark)
        while start >= 0:
            places.append(start + side)
            start = text.find(mark, start + 1)
    ahead = {place for place in places if looks_ahead and len(text[:place]) - len(text[:place].rstrip()) > 1}
    return ahead | {place for place in places for start, end in offsets if start < place < end}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", CHAT_TEMPLATES, ids=lambda template: template.name)
@settings(max_examples=40)
@given(conversation=conversations())
def test_the_mask_covers_the_answers_and_their_ends_and_nothing_else(
    kind: str, template: templates.Template, conversation: Conversation
) -> None:
    tokenizer, _ = KINDS[kind]
    prompt = assemble(spans(conversation, template), tokenizer, [2] * len(conversation.pictures), IMAGE)
    learned = [token for token, flag in zip(prompt.ids, prompt.supervised, strict=True) if flag]

    texts = {token_id: text.encode() for text, token_id in tokenizer.special_ids.items()}
    answers = [message.text for message in conversation.messages if message.role == "assistant"]
    said = "".join(template.answer_lead + text + template.answer_end for text in answers)
    assert b"".join(texts.get(token) or tokenizer.token_bytes(token) for token in learned).decode() == said
    count = sum(token in tokenizer.special_ids.values() for token in learned)
    assert count == len(answers) * sum(template.answer_end.count(mark) for mark in tokenizer.special_ids)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", CHAT_TEMPLATES, ids=lambda template: template.name)
@settings(max_examples=40)
@given(conversation=conversations())
def test_an_open_prompt_begins_the_prompt_with_its_answer(
    kind: str, template: templates.Template, conversation: Conversation
) -> None:
    tokenizer, _ = KINDS[kind]
    lengths = [3] * len(conversation.pictures)
    whole = assemble(spans(conversation, template), tokenizer, lengths, IMAGE)
    for count in range(1, len(conversation.messages), 2):
        earlier = replace(conversation, messages=conversation.messages[:count])
        prompt = assemble(spans(earlier, template), tokenizer, lengths, IMAGE)
        assert whole.ids[: len(prompt.ids)] == prompt.ids


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("template", CHAT_TEMPLATES, ids=lambda template: template.name)
@settings(max_examples=20)
@given(conversation=conversations(), answer=typed)
def test_a_begun_answer_is_read_as_a_whole_one_without_its_end(
    kind: str, template: templates.Template, conversation: Conversation, answer: str
) -> None:
    tokenizer, _ = KINDS[kind]
    if conversation.messages[-1].role == "assistant":
        conversation = replace(conversation, messages=conversation.messages[:-1])
    lengths = [3] * len(conversation.pictures)
    begun = assemble(spans(conversation, template, begun=answer), tokenizer, lengths, IMAGE)
    whole = assemble(spans(conversation.then(Message.assistant(answer)), template), tokenizer, lengths, IMAGE)
    assert begun.text + template.answer_end == whole.text
    if template.answer_end in tokenizer.special_ids:  # text is cut there; a letter of the end could become one with it
        assert begun.ids == whole.ids[:-1]
    else:
        assert tokenizer.decode(whole.ids).startswith(tokenizer.decode(begun.ids))


@pytest.mark.parametrize("kind", KINDS)
@given(text=st.text(max_size=40))
def test_text_survives_encoding_and_decoding(kind: str, text: str) -> None:
    tokenizer, _ = KINDS[kind]
    text = text.replace("▁", " ")
    assert tokenizer.decode(tokenizer.encode(text, first=True)) == text


@pytest.mark.parametrize("kind", KINDS)
@given(
    text=st.lists(st.sampled_from(["</s>", "<s>", "<unk>", "<|im_end|>", "<im_start>", "<image>", "a", " "])).map(
        "".join
    )
)
def test_what_a_user_types_never_becomes_a_special_token(kind: str, text: str) -> None:
    tokenizer, _ = KINDS[kind]
    for template in CHAT_TEMPLATES:
        mine = spans(Conversation((Message.user("x" + text),)), template)
        plain = spans(Conversation((Message.user("x"),)), template)
        count = [
            sum(token in tokenizer.special_ids.values() for token in assemble(parts, tokenizer, [], IMAGE).ids)
            for parts in (mine, plain)
        ]
        assert count[0] == count[1]


@pytest.mark.parametrize("written", [["</s", ">"], "</s >"], ids=["a pair", "a line"])
def test_a_merge_that_would_make_a_special_token_is_left_out(written: object) -> None:
    """Some converters list it, because the end token's text is in the vocabulary like any piece."""
    spec = llama_spec(legacy=True)
    merges = spec["model"]["merges"]
    old_style = isinstance(written, str)
    spec["model"]["merges"] = [*([" ".join(pair) for pair in merges] if old_style else merges), written]
    tokenizer = Tokenizer(spec, {"bos_token": "<s>", "eos_token": "</s>"})
    ids = tokenizer.encode("</s>", first=False)
    assert tokenizer.eos_id not in ids
    assert b"".join(map(tokenizer.token_bytes, ids)) == b"</s>"


def test_the_first_words_space_is_put_even_before_a_space() -> None:
    """As SentencePiece does: "▁" and then the text's own; decoding takes exactly one away again."""
    tokenizer = llama(legacy=False)
    doubled = tokenizer.encode(" cat", first=True)
    assert doubled == tokenizer.encode("  cat", first=False)
    assert tokenizer.decode(doubled) == " cat"


@pytest.mark.parametrize(("legacy", "expected"), [(True, b" cat"), (False, b"cat")])
def test_text_after_a_mark_gets_the_space_again_only_in_old_checkpoints(legacy: bool, expected: bytes) -> None:
    tokenizer = llama(legacy=legacy)
    prompt = assemble([TextSpan("</s>cat", "user", special=True)], tokenizer, [], IMAGE)
    assert prompt.ids[:2] == (tokenizer.bos_id, tokenizer.eos_id)
    assert b"".join(map(tokenizer.token_bytes, prompt.ids[2:])) == expected


def _june(folder: Path, **config: object) -> Tokenizer:
    (folder / "tokenizer.model").write_bytes(sentencepiece_model())
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return Tokenizer.from_folder(folder, added=("<im_patch>", "<im_start>", "<im_end>"))


def test_in_june_white_space_around_added_tokens_is_theirs(tmp_path: Path) -> None:
    """As its trainers' tokenizer had it; </s> is none that was added."""
    tokenizer = _june(tmp_path)
    patch = tokenizer.special_ids["<im_patch>"]
    tight, loose = (
        assemble([TextSpan("the", "user"), *part, TextSpan("cat</s>is", "user", special=True)], tokenizer, [2], patch)
        for part in (
            [PictureSpan(0)],
            [TextSpan(" \n", "user"), PictureSpan(0), TextSpan("\n\n ", "user")],
        )
    )
    assert loose == tight
    assert loose.slots == (Slot(1 + len(tokenizer.encode("the", first=True)), 2, 0),)
    text = b"".join(map(tokenizer.token_bytes, loose.ids))
    assert text == b" the cat is"
    wrapped = assemble([TextSpan("the\n<im_start><im_end> cat </s> is", "user", special=True)], tokenizer, [], patch)
    assert b"".join(map(tokenizer.token_bytes, wrapped.ids)) == b" the cat   is"


@pytest.mark.parametrize("config", [{"legacy": True}, {"legacy": False}, {"added_tokens_decoder": {}}])
def test_later_it_is_text(tmp_path: Path, config: dict[str, object]) -> None:
    tokenizer = _june(tmp_path, **config)
    prompt = assemble([TextSpan("the\n<im_start>", "user", special=True)], tokenizer, [], IMAGE)
    assert b"".join(map(tokenizer.token_bytes, prompt.ids)) == b" the\n"


def test_a_tokenizer_json_says_itself_on_which_side_a_token_takes_white_space() -> None:
    spec = byte_level_spec()
    for token in spec["added_tokens"]:
        token["rstrip"] = token["content"] == "<|im_end|>"
    tokenizer = Tokenizer(spec, {"eos_token": "<|endoftext|>"})
    prompt = assemble([TextSpan("a <|im_end|> \n b <|im_start|> c", "user", special=True)], tokenizer, [], IMAGE)
    assert b"".join(map(tokenizer.token_bytes, prompt.ids)) == b"a b  c"


def test_slots_are_where_the_pictures_are() -> None:
    tokenizer = byte_level()
    parts: list[Span] = [TextSpan("ab", "user"), PictureSpan(1), PictureSpan(0), TextSpan("c", "user")]
    prompt = assemble(parts, tokenizer, [1, 3], IMAGE)
    assert prompt.slots == (Slot(2, 3, 1), Slot(5, 1, 0))
    assert prompt.ids[2:6] == (IMAGE,) * 4
    assert len(prompt.ids) == len(prompt.supervised) == 7


def test_half_a_character_does_not_break_a_prompt() -> None:
    assert byte_level().decode(byte_level().encode("a\udcffb", first=True)) == "a?b"


def test_stop_ids_are_the_end_token_and_marks_that_are_tokens() -> None:
    tokenizer = byte_level()
    assert tokenizer.stop_ids(("<|im_end|>",)) == {tokenizer.eos_id, tokenizer.special_ids["<|im_end|>"]}
    assert tokenizer.stop_ids(("###",)) == {tokenizer.eos_id}
