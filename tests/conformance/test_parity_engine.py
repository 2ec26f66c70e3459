"""The switch: the engine of `llava ask --parity` gives the original's answers, also where it loses pictures."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import pytest

from llava_engine.contract import Reply, Sampling
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ConversationError, ModelError
from llava_engine.parity.engine import ParityEngine
from llava_tui import cli
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.conformance.originals import case_of, forward, forward_cases, original_of, pictures, sure
from tests.conformance.test_conversation import conversation_of

pytestmark = needs_fixtures

OPEN = [pair for pair in forward_cases() if case_of(*pair)["turns"][-1][1] is None]
ALONE = [pair for pair in OPEN if len(case_of(*pair)["turns"]) == 2 and len(case_of(*pair)["images"]) == 1]

NAMES = sorted({name for name, case in ALONE if len(case_of(name, case)["turns"][0][1]) > len("<image>")})
WHOLE = next((name for name, _ in OPEN if not forward(name).get("base")), "")


@cache
def engine(name: str) -> ParityEngine:
    return ParityEngine(original_of(name))


def answer(name: str, conversation: Conversation, most: int) -> Reply:
    *_, reply = engine(name).stream(conversation, Sampling(max_new_tokens=most))
    assert isinstance(reply, Reply)
    return reply


@pytest.mark.parametrize(("name", "case_name"), OPEN)
def test_every_golden_answer_is_given(name: str, case_name: str) -> None:
    case = case_of(name, case_name)
    conversation = Conversation(conversation_of(case, "b4be90b").messages)
    reply = answer(name, conversation, len(case["greedy_ids"]))
    patches = forward(name).get("image_token_len", 0)
    written = case["prompt"].replace("<im_start>", "").replace("<im_end>", "") if patches else case["prompt"]
    assert reply.prompt == written.replace("<im_patch>" * patches or "<image>", "<image>")
    assert reply.prompt_tokens == case.get("embedded_length", len(case["input_ids"]))
    assert engine(name).count(conversation).total == reply.prompt_tokens
    if sure(case) == len(case["greedy_ids"]):
        assert reply.text == case["generate_text"]
        assert len(reply.token_ids) == len(case["generate_ids"]) - (forward(name)["commit"] == "c121f04")


@pytest.mark.parametrize(("name", "case_name"), ALONE)
def test_a_question_about_a_picture_is_put_as_by_the_originals_command_line(name: str, case_name: str) -> None:
    """June's picture after the question, newest's before it."""
    case = case_of(name, case_name)
    said = case.get("turns_with_tag", case["turns"])[0][1].replace("<image>", "").strip("\n")
    by_hand = Conversation((Message.user(said, pictures(case["images"])),))
    reply = answer(name, by_hand, 1)
    if said:
        tagged = answer(name, Conversation(conversation_of(case, "b4be90b").messages), 1)
        assert (reply.prompt, reply.token_ids) == (tagged.prompt, tagged.token_ids)


@pytest.mark.parametrize("name", sorted({name for name, _ in OPEN}))
def test_what_the_original_can_not_do_is_said(name: str) -> None:
    original = original_of(name)
    two = pictures(case_of(name, forward(name)["cases"][0]["case"])["images"]) * 2
    asked = Conversation((Message.user("What are these?", two),))
    if original.commit == "b4be90b" and original.marks.around is None:
        with pytest.raises(ConversationError, match="patch tokens"):
            answer(name, asked, 1)
    else:
        assert len(answer(name, asked, 1).picture_tokens) == 2
    with pytest.raises(ConversationError, match="system"):
        answer(name, Conversation(asked.messages, system="Be brief."), 1)
    with pytest.raises(ConversationError, match="likeliest"):
        list(engine(name).stream(asked, Sampling(temperature=0.2)))


def test_only_the_originals_own_checkpoints_have_an_original() -> None:
    from llava_engine.checkpoints.catalog import EMBEDDED

    with pytest.raises(ModelError, match="original"):
        ParityEngine.load(EMBEDDED)
    assert ParityEngine.load(FIXTURES / forward(WHOLE)["checkpoint"]).card.device == "cpu"


@pytest.mark.parametrize(("name", "case_name"), [next(pair for pair in ALONE if pair[0] == name) for name in NAMES])
def test_the_command_line_has_the_switch(
    name: str, case_name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    golden, case = forward(name), case_of(name, case_name)
    said = case.get("turns_with_tag", case["turns"])[0][1].replace("<image>", "").strip("\n")
    picture = str(FIXTURES / "images" / case["images"][0])
    model = ["--model", str(FIXTURES / golden["checkpoint"])]
    base = ["--base", str(FIXTURES / golden["base"])] if golden.get("base") else []
    most = ["--max-new-tokens", str(len(case["greedy_ids"]))]
    monkeypatch.setenv("LLAVA_HOME", str(tmp_path))

    def llava(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["llava", "ask", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), capfd.readouterr().out

    code, answer = llava("--parity", *model, *base, *most, "-i", picture, "-q", said)
    assert code == 0
    if sure(case) == len(case["greedy_ids"]):
        assert answer == f"{case['generate_text']}\n"
    code, answer = llava("--parity", *model, *base, "--template", "v1", "-i", picture, "-q", said)
    assert (code, answer) == (2, "")
