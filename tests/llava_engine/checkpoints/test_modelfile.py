"""The Modelfile's template, run by a small reader of Go's template language: it writes what spans.py writes."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from llava_engine.checkpoints.convert.gguf.modelfile import modelfile
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import prompt_text, spans
from llava_engine.conversation.templates import TEMPLATES

TALK = [("user", "What is {{ this }}?"), ("assistant", "A dog."), ("user", "Sure?")]


def run(template: str, system: str) -> str:
    """The parts of Go's text/template that a Modelfile has here."""
    pieces = re.split(r"\{\{ ?(.*?) ?\}\}", template)  # text, action, text, …
    variables: dict[str, bool] = {}
    out: list[str] = []

    def holds(condition: str, message: Any) -> bool:
        if condition == ".System":
            return bool(system)
        if found := re.fullmatch(r'eq \.Role "(\w+)"', condition):
            return bool(message[0] == found[1])
        return not variables[condition[4:]] if condition.startswith("not ") else variables[condition]

    def block(at: int, live: bool, message: Any) -> int:
        """From a place to the `end` or `else` that belongs to it, which it gives."""
        while at < len(pieces):
            if live:
                out.append(pieces[at])
            if at + 1 == len(pieces):
                return at
            action = pieces[at + 1]
            if action == "end" or action.startswith("else"):
                return at + 1
            if action.startswith("if "):
                taken = holds(action[3:], message) if live else False
                end = block(at + 2, live and taken, message)
                while pieces[end] != "end":
                    now = live and not taken and holds(pieces[end].removeprefix("else if "), message)
                    taken = taken or now
                    end = block(end + 1, now, message)
                at = end + 1
                continue
            if action == "range .Messages":
                end = at
                for each in TALK:
                    end = block(at + 2, live, each)
                at = end + 1
                continue
            if live and "=" in action.split('"')[0]:
                name, value = re.fullmatch(r"(\$\w+) :?= (true|false)", action).groups()  # type: ignore[union-attr]
                variables[name] = value == "true"
            elif live:
                said = {".System": system, ".Content": message[1] if message else ""}.get(action)
                out.append(json.loads(action) if said is None else said)
            at += 2
        return at

    block(0, True, None)
    return "".join(out)


@pytest.mark.parametrize("name", [name for name, template in TEMPLATES.items() if not template.captions_only])
@pytest.mark.parametrize("system", [None, "Be brief."])
def test_it_writes_the_same(name: str, system: str | None) -> None:
    template = TEMPLATES[name]
    text = modelfile(template, "a.gguf", "mmproj-a.gguf", 2048)
    (go,) = re.findall(r'^TEMPLATE """(.*?)"""$', text, re.MULTILINE | re.DOTALL)
    own = re.findall(r'^SYSTEM """(.*?)"""$', text, re.MULTILINE | re.DOTALL)
    messages = tuple(Message.user(said) if role == "user" else Message.assistant(said) for role, said in TALK)
    expected = prompt_text(spans(Conversation(messages, system=system), template))
    assert run(go, system or "".join(own)) == expected


def test_what_else_it_says() -> None:
    text = modelfile(TEMPLATES["v0"], "a.gguf", "mmproj-a.gguf", 2048)
    assert "FROM ./a.gguf\nFROM ./mmproj-a.gguf\n" in text
    assert 'PARAMETER stop "###"\n' in text and "PARAMETER num_ctx 2048\n" in text
    assert r"QUESTION\n<im_start>[img]<im_end>" in text
