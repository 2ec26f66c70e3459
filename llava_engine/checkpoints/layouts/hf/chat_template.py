"""A conversation template as chat_template.jinja, which transformers' tokenizers and processors write prompts with.

The file states the template's texts and ends in one program that puts them in the order in which spans.py does. Knows
no files.
"""

from __future__ import annotations

import json

from llava_engine.conversation.templates import Template

# For a conversation of text alone, `content` is a string; else a list of parts.
_PROGRAM = """\
{%- macro text_of(message) -%}
{%- if message.content is string -%}{{ message.content }}
{%- else -%}{%- for part in message.content if part.type == 'text' -%}{{ part.text }}{%- endfor -%}
{%- endif -%}
{%- endmacro -%}
{%- set ns = namespace(system=system, start='') -%}
{%- if messages and messages[0].role == 'system' -%}{%- set ns.system = text_of(messages[0]) -%}{%- endif -%}
{%- if ns.system and not system_inside -%}
{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}
{%- endif -%}
{%- for question, answer in examples -%}
{{ ns.start + user_tag }}
{%- if ns.system -%}{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}{%- endif -%}
{{ question + user_end + assistant_tag + answer_lead + answer + answer_end }}
{%- set ns.start = turn_start -%}
{%- endfor -%}
{%- for message in messages -%}
{%- if message.role == 'user' -%}
{{ ns.start + user_tag }}
{%- if ns.system -%}{{ system_tag + ns.system + system_end }}{%- set ns.system = '' -%}{%- endif -%}
{%- set ns.start = turn_start -%}
{%- set text = '' if captions_only else text_of(message) -%}
{%- set parts = [] if message.content is string else message.content -%}
{%- set pictures = parts | selectattr('type', 'equalto', 'image') | list | length -%}
{%- if not pictures_first -%}{{ text }}{%- endif -%}
{%- for _ in range(pictures) -%}
{%- if not pictures_first and (text or not loop.first) -%}{{ joiner }}{%- endif -%}
{{ picture }}
{%- if not loop.last or end_is_text or (text and pictures_first) -%}{{ after_picture }}{%- endif -%}
{%- if pictures_first and (text or not loop.last) -%}{{ joiner }}{%- endif -%}
{%- endfor -%}
{%- if pictures_first -%}{{ text }}{%- endif -%}
{{ user_end }}
{%- elif message.role == 'assistant' -%}
{{ assistant_tag + answer_lead + text_of(message) + answer_end }}
{%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ assistant_tag }}{%- endif -%}
"""


def chat_template(template: Template, picture: str, *, after_picture: str = "", end_is_text: bool = True) -> str:
    """The file's content.

    Args:
        template: how a conversation is written.
        picture: the token that stands for a picture, once; the processor repeats it.
        after_picture: goes between a picture and text that follows it. Our tokenizer begins a text after a picture
            like any text, with SentencePiece's space; a tokenizer that gives this space to the very first text alone
            needs it written out.
        end_is_text: whether what stands after a user's turn is text, not a special token.
    """
    wrapped = template.wrap_pictures
    values = {
        "system": template.system,
        "system_tag": template.system_tag,
        "system_end": template.system_end,
        "system_inside": template.system_inside,
        "user_tag": template.user_tag,
        "user_end": template.user_end,
        "turn_start": template.turn_start,
        "assistant_tag": template.assistant_tag,
        "answer_lead": template.answer_lead,
        "answer_end": template.answer_end,
        "examples": [list(pair) for pair in template.examples],
        "pictures_first": template.pictures_first,
        "joiner": template.picture_joiner,
        "captions_only": template.captions_only,
        "picture": f"<im_start>{picture}<im_end>" if wrapped else picture,
        "after_picture": "" if wrapped else after_picture,
        "end_is_text": end_is_text,
    }
    return "".join(f"{{%- set {name} = {json.dumps(value)} -%}}\n" for name, value in values.items()) + _PROGRAM
