"""What a stranger's chat template (a Jinja program) writes for a conversation. Runs in a process of its own.

The program gets what transformers gives it: messages, the begin and end tokens, whether an answer is to come. It is
sandboxed, and its process has so much time and memory.
"""

from __future__ import annotations

import json
import re
from typing import Any

MOST_LETTERS = 100_000  # of what it writes; a probe takes a few hundred
_GENERATION = re.compile(r"\{%-?\s*(?:end)?generation\s*-?%\}")  # transformers' own tag: it marks what is learned


def render(request: dict[str, Any]) -> str | None:
    """The text of the first form of the messages that the template takes; None where it takes none.

    Args:
        request: "template", "bos", "eos", and "conversations": the same conversation in several forms.
    """
    from jinja2.exceptions import TemplateError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def refuse(message: str) -> None:
        raise TemplateError(message)

    world = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"])
    world.filters["tojson"] = lambda value, **options: json.dumps(value, ensure_ascii=False)
    world.globals |= {"raise_exception": refuse, "strftime_now": lambda form: "26 Jul 2024"}
    try:
        template = world.from_string(_GENERATION.sub("", request["template"]))
    except (TemplateError, RecursionError):
        return None
    for messages in request["conversations"]:
        try:
            text = template.render(
                messages=messages,
                bos_token=request["bos"],
                eos_token=request["eos"],
                add_generation_prompt=True,
                tools=None,
                documents=None,
            )
        except Exception:  # a program may fail in every way over a form of messages that it was not made for
            continue
        return text[:MOST_LETTERS]
    return None
