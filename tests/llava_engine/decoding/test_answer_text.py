"""Where an answer ends, and that nothing of its end is shown: for every template with either kind of tokenizer."""

from __future__ import annotations

import pytest

from llava_engine.conversation import templates
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.decoding.text import AnswerText
from tests.llava_engine.conversation.tiny_tokenizers import byte_level, llama


def answer(tokenizer: Tokenizer, template: templates.Template, said: str) -> AnswerText:
    """What is shown when the model says this, and would go on."""
    shown = AnswerText(tokenizer, template.stops, template.answer_lead, 100)
    pieces = []
    for part in tokenizer.split_marks(said + " and more"):
        for token in [part] if isinstance(part, int) else tokenizer.encode(part, first=False):
            if shown.finish is None:
                pieces.append(shown.push(token))
    assert "".join(pieces) == shown.text
    return shown


@pytest.mark.parametrize("tokenizer", [llama(legacy=True), llama(legacy=False), byte_level()])
@pytest.mark.parametrize("name", templates.TEMPLATES)
def test_an_answer_ends_where_its_template_ends_it(tokenizer: Tokenizer, name: str) -> None:
    template = templates.get(name)
    shown = answer(tokenizer, template, f"{template.answer_lead}the cat{template.answer_end}")
    assert (shown.text, shown.finish) == ("the cat", "stop")


def test_a_space_of_the_answers_own_stays() -> None:
    """Only one, and only right before the end, belongs to Llama 2's end of an answer."""
    llama2 = templates.get("llama2")
    assert answer(llama(legacy=True), llama2, " the cat  </s>").text == "the cat "
    assert answer(llama(legacy=True), templates.get("v1"), " the cat </s>").text == "the cat "


def test_june_models_end_their_last_line_before_they_end_the_answer() -> None:
    assert answer(llama(legacy=True), templates.get("v0"), " the cat\n###").text == "the cat"
    assert answer(llama(legacy=True), templates.get("v0"), " the\ncat###").text == "the\ncat"


@pytest.mark.parametrize("tokenizer", [llama(legacy=True), llama(legacy=False), byte_level()])
@pytest.mark.parametrize("name", templates.TEMPLATES)
def test_an_answer_goes_on_where_it_was_cut(tokenizer: Tokenizer, name: str) -> None:
    """Whatever its template, wherever it is cut: the second part is what the whole one says from there on."""
    template = templates.get(name)
    stops = (*template.stops, "cat is")
    said = [token for part in tokenizer.split_marks(f"{template.answer_lead}\u00e9 a the cat is on") for token in (
        [part] if isinstance(part, int) else tokenizer.encode(part, first=False)
    )]  # fmt: skip
    for cut in range(1, len(said)):
        first = AnswerText(tokenizer, template.stops, template.answer_lead, 100)
        for token in said[:cut]:
            first.push(token)
        first.end("cancelled")
        begun = first.text
        if not begun or "\ufffd" in begun or "cat is" in begun:
            continue
        rest = AnswerText(tokenizer, stops, template.answer_lead, 100, begun)
        for token in said[cut:]:
            if rest.finish is None:
                rest.push(token)
        assert rest.finish == "stop"
        assert begun + rest.text == max(begun, "\u00e9 a the ", key=len)  # a stop that began before is not taken back


def test_a_space_at_the_border_stays() -> None:
    shown = AnswerText(llama(legacy=True), (), " ", 100, "the")
    assert "".join(map(shown.push, llama(legacy=True).encode(" cat", first=False))) == " cat"
