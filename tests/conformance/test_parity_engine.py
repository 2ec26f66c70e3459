"""The switch: the engine of `llava ask --parity` gives the original's answers, also where it loses pictures."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ConversationError, ModelError
from llava_engine.parity.engine import ParityEngine
from llava_engine.parity.original_templates import OriginalTemplate
from llava_tui import cli
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.odd_pictures import plain_pictures
from tests.conformance.originals import (
    allowed,
    case_of,
    forward,
    forward_cases,
    is_open,
    is_sure,
    new_ids,
    original_of,
    pictures,
    shows_its_pictures,
    tag_turns,
    template_of,
)
from tests.conformance.test_conversation import conversation_of

pytestmark = needs_fixtures

OPEN = [pair for pair in forward_cases() if is_open(case_of(*pair)) and shows_its_pictures(case_of(*pair))]
WHOLE = next((name for name, _ in OPEN if not forward(name).get("base")), "")


def said(case: Any, commit: str) -> str | None:
    """The question about a single picture, if it is all that the case is and stands where the command line puts it."""
    turns = tag_turns(case)
    if len(turns) != 2 or len(case["images"]) != 1 or turns[0][0] != 0:
        return None
    text = turns[0][1] or ""
    rest = text.removesuffix("\n<image>") if commit == "b4be90b" else text.removeprefix("<image>\n")
    return rest if rest and rest != text and "<image>" not in rest else None


def questions(name: str) -> list[Any]:
    """Cases that the original's command line asked its own way."""
    original = original_of(name)
    own = [case_of(*pair) for pair in OPEN if pair[0] == name]
    return [
        case for case in own if template_of(name, case) == original.template and said(case, original.commit) is not None
    ]


@cache
def engine(name: str, template: OriginalTemplate | None = None) -> ParityEngine:
    original = original_of(name)
    return ParityEngine(original if template is None else replace(original, template=template))


def answer(asked: ParityEngine, conversation: Conversation, most: int) -> Reply:
    *_, reply = asked.stream(conversation, Sampling(max_new_tokens=most))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(("name", "case_name"), OPEN)
def test_every_golden_answer_is_given(name: str, case_name: str) -> None:
    case, asked = case_of(name, case_name), engine(name, template_of(name, case_of(name, case_name)))
    conversation = conversation_of(case, pictures(case["images"]))
    reply = answer(asked, conversation, allowed(name))
    patches = "<im_patch>" * forward(name).get("image_token_len", 0)
    written = case["prompt"]
    if patches and case["images"]:
        written = written.replace(f"<im_start>{patches}<im_end>", "<image>").replace(patches, "<image>")
    assert reply.prompt == written
    assert reply.prompt_tokens == case.get("embedded_length", len(case["input_ids"]))
    assert asked.count(conversation).total == reply.prompt_tokens
    if is_sure(name, case):
        assert reply.text == case["generate_text"]
        assert list(reply.token_ids) == new_ids(name, case)


@pytest.mark.parametrize("name", sorted({name for name, _ in OPEN}))
def test_a_question_about_a_picture_is_put_as_by_the_originals_command_line(name: str) -> None:
    """June's picture after the question, newest's before it."""
    for case in questions(name):
        by_hand = Conversation((Message.user(said(case, original_of(name).commit) or "", pictures(case["images"])),))
        reply = answer(engine(name), by_hand, 1)
        tagged = answer(engine(name), conversation_of(case, pictures(case["images"])), 1)
        assert (reply.prompt, reply.token_ids) == (tagged.prompt, tagged.token_ids)


@pytest.mark.parametrize("name", sorted({name for name, _ in OPEN}))
def test_what_the_original_can_not_do_is_said(name: str) -> None:
    original = original_of(name)
    two = plain_pictures()[-2:]
    asked = Conversation((Message.user("What are these?", two),))
    if original.commit == "b4be90b" and original.marks.around is None:
        with pytest.raises(ConversationError, match="patch tokens"):
            answer(engine(name), asked, 1)
    else:
        assert len(answer(engine(name), asked, 1).picture_tokens) == 2
    with pytest.raises(ConversationError, match="system"):
        answer(engine(name), Conversation(asked.messages, system="Be brief."), 1)
    with pytest.raises(ConversationError, match="likeliest"):
        list(engine(name).stream(asked, Sampling(temperature=0.2)))


def test_only_the_originals_own_checkpoints_have_an_original() -> None:
    from llava_engine.checkpoints.catalog import EMBEDDED

    with pytest.raises(ModelError, match="original"):
        ParityEngine.load(EMBEDDED)
    assert ParityEngine.load(FIXTURES / forward(WHOLE)["checkpoint"]).card.device == "cpu"


@pytest.mark.parametrize("name", sorted({name for name, _ in OPEN}))
def test_the_command_line_has_the_switch(
    name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    golden, asked = forward(name), questions(name)
    if not asked:  # captions, which no question goes with
        return
    case = asked[0]
    question = said(case, golden["commit"])
    picture = str(FIXTURES / "images" / case["images"][0])
    model = ["--model", str(FIXTURES / golden["checkpoint"])]
    base = ["--base", str(FIXTURES / golden["base"])] if golden.get("base") else []
    most = ["--max-new-tokens", str(allowed(name))]
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path))

    def llava(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["llava", "ask", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capfd.readouterr().out

    code, answer = llava("--parity", *model, *base, *most, "-i", picture, f"--query={question}")
    assert code == 0
    if is_sure(name, case):
        assert answer == f"{case['generate_text']}\n"
    code, answer = llava("--parity", *model, *base, "--template", "v1", "-i", picture, f"--query={question}")
    assert (code, answer) == (2, "")
