"""The Modelfile with which `ollama create` takes the pair: its template language is Go's.

Ollama puts a picture's mark before the text of its message, or where the text says [img]; what a template writes around
a picture can not be said in it. Knows no files.
"""

from __future__ import annotations

import json

from llava_engine.conversation.templates import Template

_FORM = """\
# ollama create NAME -f Modelfile
# Write a question about a picture as {question}: the model learned it so.
FROM ./{language}
FROM ./{mmproj}
TEMPLATE \"\"\"{template}\"\"\"
{system}PARAMETER temperature 0
PARAMETER num_ctx {context}
{stops}"""


def modelfile(template: Template, language: str, mmproj: str, context: int) -> str:
    """The file's content.

    Args:
        template: how a conversation is written.
        language, mmproj: the pair's names.
        context: how many tokens the model can read.
    """
    picture = "<im_start>[img]<im_end>" if template.wrap_pictures else "[img]"
    joiner = template.picture_joiner.replace("\n", "\\n")
    order = (picture, joiner, "QUESTION") if template.pictures_first else ("QUESTION", joiner, picture)
    stops = [stop for stop in template.stops if stop.strip() and "\n" not in stop]
    return _FORM.format(
        question="".join(order),
        language=language,
        mmproj=mmproj,
        template=_go(template),
        system=f'SYSTEM """{template.system}"""\n' if template.system else "",
        context=context,
        stops="".join(f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}\n" for stop in stops),
    )


def _go(template: Template) -> str:
    system = f"{{{{ if .System }}}}{_say(template.system_tag)}{{{{ .System }}}}{_say(template.system_end)}{{{{ end }}}}"
    before, inside = ("", system) if template.system_inside else (system, "")
    t = template
    examples = "".join(
        t.user_tag + question + t.user_end + t.assistant_tag + t.answer_lead + answer + t.answer_end
        for question, answer in t.examples
    )
    if template.examples:  # the system text, where it is inside, belongs to the first of them
        before, inside = before + inside, ""
    first = f"{{{{ if $first }}}}{inside}{{{{ $first = false }}}}{{{{ end }}}}"
    start = f"{{{{ if not $first }}}}{_say(template.turn_start)}{{{{ end }}}}" if template.turn_start else ""
    content = "" if template.captions_only else "{{ .Content }}"
    user = f"{start}{_say(template.user_tag)}{first}{content}{_say(template.user_end)}"
    answer = f"{_say(template.assistant_tag + template.answer_lead)}{{{{ .Content }}}}{_say(template.answer_end)}"
    turns = (
        f'{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{user}'
        f'{{{{ else if eq .Role "assistant" }}}}{answer}{{{{ end }}}}{{{{ end }}}}'
    )
    return f"{{{{ $first := true }}}}{before}{_say(examples)}{turns}{_say(template.assistant_tag)}"


def _say(text: str) -> str:
    """Text as it is; braces and quotes that would end something as Go's own strings."""
    return f"{{{{ {json.dumps(text, ensure_ascii=False)} }}}}" if "{{" in text or '"""' in text else text
