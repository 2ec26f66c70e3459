"""A conversation template as the Jinja that llama.cpp writes prompts with, which then get the ids that we give them.

It differs from Hugging Face's (layouts/hf/chat_template.py) in what programs around llama.cpp make of pictures: a mark
`<__media…__>` in a message's text, or parts of their own. And the white space around special tokens is as its
tokenizer needs it. Knows no files.
"""

from __future__ import annotations

import json
import re

from llava_engine.conversation.templates import Template
from llava_engine.conversation.tokenizer import Tokenizer

_PROGRAM = """\
{%- macro text_of(message) -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}{%- for part in message.content -%}
{{ part.text if part.text is defined else '<__media__>' }}
{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(system=system, start='', text='', pictures='') -%}
{%- if messages and messages[0].role == 'system' -%}{%- set ns.system = text_of(messages[0]) -%}{%- endif -%}
{%- if ns.system and not system_inside -%}
{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}
{%- endif -%}
{%- for pair in examples -%}
{{ ns.start + user_tag }}
{%- if ns.system -%}{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}{%- endif -%}
{{ pair[0] + user_end + assistant_tag + answer_lead + pair[1] + answer_end }}
{%- set ns.start = turn_start -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{ ns.start + user_tag }}
{%- if ns.system -%}{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}{%- endif -%}
{%- set ns.start = turn_start -%}
{%- set pieces = text_of(message).split('<__media') -%}
{%- set ns.text = pieces[0] -%}{%- set ns.pictures = '' -%}
{%- for piece in pieces[1:] -%}
{%- set halves = piece.split('__>', 1) -%}
{%- if halves | length > 1 -%}
{%- set ns.text = ns.text + halves[1] -%}
{%- if ns.pictures -%}{%- set ns.pictures = ns.pictures + between -%}{%- endif -%}
{%- set ns.pictures = ns.pictures + begin + '<__media' + halves[0] + '__>' + end -%}
{%- else -%}{%- set ns.text = ns.text + '<__media' + piece -%}
{%- endif -%}
{%- endfor -%}
{%- if captions_only -%}{%- set ns.text = '' -%}{%- endif -%}
{%- if not ns.pictures -%}{{ ns.text + user_end }}
{%- elif pictures_first -%}
{%- if strips -%}{%- set ns.text = ns.text.lstrip() -%}{%- endif -%}
{{ ns.pictures }}{%- if ns.text -%}{{ after + ns.text + user_end }}{%- else -%}{{ last_end }}{%- endif -%}
{%- else -%}
{%- if strips -%}{%- set ns.text = ns.text.rstrip() -%}{%- endif -%}
{%- if ns.text -%}{{ ns.text + before }}{%- endif -%}{{ ns.pictures + last_end }}
{%- endif -%}
{%- elif message.role == 'assistant' -%}
{{ assistant_tag + answer_lead + text_of(message) + answer_end }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ assistant_tag }}{%- endif -%}
"""


def gguf_chat_template(template: Template, tokenizer: Tokenizer, image_token_id: int) -> str:
    """The key's value.

    Args:
        template: how a conversation is written.
        tokenizer: the model's.
        image_token_id: what fills a picture's place; negative where no token does.
    """
    begin, end = ("<im_start>", "<im_end>") if template.wrap_pictures else ("", "")
    opens, closes = (tokenizer.special_ids.get(mark, image_token_id) for mark in (begin, end))
    strips = tokenizer.strips_before(opens) and tokenizer.strips_after(closes)
    joiner = "" if strips and not template.picture_joiner.strip() else template.picture_joiner

    def behind_picture(text: str) -> str:
        """What follows a picture, less the white space that belongs to its mark, or that llama.cpp puts there."""
        if strips:
            return text.lstrip()
        adds = bool(end) and not tokenizer.prefix_after(closes) and bool(tokenizer.first_space())
        return text.removeprefix(" ") if adds else text

    def said(text: str) -> str:
        """A mark of the template, less the one space that llama.cpp puts behind each special token in it."""
        if not tokenizer.first_space():
            return text
        marks = [mark for mark, number in tokenizer.special_ids.items() if not tokenizer.prefix_after(number)]
        return re.sub(f"({'|'.join(map(re.escape, marks))}) ", r"\1", text) if marks else text

    values = {
        "system": template.system,
        "system_tag": said(template.system_tag),
        "system_end": said(template.system_end),
        "system_inside": template.system_inside,
        "user_tag": said(template.user_tag),
        "user_end": said(template.user_end),
        "turn_start": said(template.turn_start),
        "assistant_tag": said(template.assistant_tag),
        "answer_lead": template.answer_lead,
        "answer_end": said(template.answer_end),
        "examples": [list(pair) for pair in template.examples],
        "pictures_first": template.pictures_first,
        "captions_only": template.captions_only,
        "begin": begin,
        "end": end,
        "before": joiner,
        "between": behind_picture(joiner),
        "after": behind_picture(joiner),
        "last_end": behind_picture(said(template.user_end)),
        "strips": strips,
    }
    return "".join(f"{{%- set {name} = {json.dumps(value)} -%}}\n" for name, value in values.items()) + _PROGRAM
