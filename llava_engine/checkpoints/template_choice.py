"""Which conversation template a checkpoint was trained with: what its files say before what its family usually has.

A folder may bring a chat template. It is a program, so it is known by what it writes for a conversation of ours; which
of our templates writes the same between the turns. What stands before the first turn is the system text, which people
change, and counts only where several of ours would do.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from llava_engine.checkpoints import sniff
from llava_engine.checkpoints.sniff import Form
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.conversation.spans import TextSpan, spans
from llava_engine.conversation.templates import TEMPLATES, Template
from llava_engine.conversation.tokenizer import Tokenizer
from llava_engine.errors import ModelError
from llava_engine.files.json import read_bytes, read_json
from llava_engine.limited_process import LimitedProcessError, call_apart
from llava_engine.model.config import LanguageConfig, LlavaConfig, MptConfig

_MOST_BYTES = 2**20  # of a chat template; the longest of a published model has 20 kB
_SECONDS = 3.0  # a template takes milliseconds

# Words that no template has of its own.
_TURNS = ("Qzwone", "Azwone", "Qzwtwo")
_NOT_COMPARED = re.compile(r"<image>|<im_start>|<im_end>|<s>|</s>|<\|begin_of_text\|>|<\|endoftext\|>|\s+")


@dataclass(frozen=True)
class TemplateChoice:
    """A template's name, why it is this one (one line), and what is odd about it."""

    name: str
    why: str
    notes: tuple[str, ...] = ()


def choose_template(
    raw: Mapping[str, Any], config: LlavaConfig, tokenizer: Tokenizer, form: Form, folder: Path
) -> TemplateChoice:
    """The conversation template that the weights were trained with.

    Args:
        raw: the parsed config.json.
        config: our reading of it.
        tokenizer: the checkpoint's.
        form: whether it is whole; a base's chat template says nothing of what was put onto it.
        folder: the checkpoint's own.

    Raises:
        ModelError: the chat template can not be read.
    """
    if config.template is not None:
        return TemplateChoice(config.template, "the checkpoint's config says so")
    usual = template_by_family(raw, config, tokenizer, form)
    found = _chat_template(folder) if folder.is_dir() else None
    if found is None:
        return usual
    file, program = found
    named = {token_id: text for text, token_id in tokenizer.special_ids.items()}
    bos, eos = (named.get(-1 if token is None else token, "") for token in (tokenizer.bos_id, tokenizer.eos_id))
    try:
        request = {"template": program, "bos": bos, "eos": eos, "conversations": _PROBES}
        written = call_apart("llava_engine.conversation.chat_template:render", request, seconds=_SECONDS)
    except LimitedProcessError as error:
        return _noted(usual, f"Its chat template ({file.name}) was not read: {error}.")
    between = None if written is None else _between(written)
    if between is None:
        return _noted(usual, f"Its chat template ({file.name}) writes no conversation with a picture.")
    return _recognised(written, between, usual, file.name)


def _recognised(written: str, between: Sequence[str], usual: TemplateChoice, file: str) -> TemplateChoice:
    alike = [name for name, template in TEMPLATES.items() if _between(_ours(template)) == between]
    if alike:
        pictures_last = "<image>" in written.partition(_TURNS[0])[2].partition(_TURNS[1])[0]

        def fits(name: str) -> tuple[int, bool, bool]:
            template = TEMPLATES[name]
            return _same_system(written, template), name == usual.name, template.pictures_first is not pictures_last

        best = max(alike, key=fits)  # of equal ones the first in the table
        return TemplateChoice(best, f"its {file} writes so" + (f", and {usual.why}" if best == usual.name else ""))
    closest = max(TEMPLATES, key=lambda name: _likeness(written, TEMPLATES[name]))
    return TemplateChoice(
        closest,
        f"the closest to its {file}",
        (
            f"Its {file} writes conversations in a form that is none of ours; {closest} is the closest. "
            "Answers may suffer; --template NAME takes another.",
        ),
    )


def template_by_family(raw: Mapping[str, Any], config: LlavaConfig, tokenizer: Tokenizer, form: Form) -> TemplateChoice:
    """What models of this kind are trained with, when no file says it."""
    language = config.language
    if isinstance(language, MptConfig):
        return TemplateChoice("mpt", "its language model is an MPT")
    if form == "projector" and config.projector == "mlp2x_gelu":
        return TemplateChoice("plain", "a projector alone: its pretraining saw captions only")
    if "<|im_start|>" in tokenizer.special_ids:
        return TemplateChoice("chatml", "its tokenizer has <|im_start|>")
    if "<|start_header_id|>" in tokenizer.special_ids:
        return TemplateChoice("llama3", "its tokenizer has <|start_header_id|>")
    if _is_mistral(raw, language):
        if config.tiles is None and language.rope_theta != 1e6:  # of the first Mistral, which BakLLaVA alone is on
            return TemplateChoice("v1", "a Mistral with rotary base 1e4 and no tiles, as BakLLaVA: Vicuna's form")
        return TemplateChoice("mistral", "its language model is a Mistral (grouped heads, rotary base 1e6)")
    if sniff.layout(raw) == "hf" or config.projector == "mlp2x_gelu":
        return TemplateChoice("v1", "a two-layer projector over a Llama: LLaVA 1.5 and later were trained with it")
    if sniff.pads_as_v1(tokenizer, form):
        return TemplateChoice("v1-june", "a linear projector over a Llama that pads with <unk>, as from v1 on")
    if config.wrap_pictures:
        return TemplateChoice("v0", "a linear projector, padding of its own, pictures between <im_start> and <im_end>")
    return TemplateChoice("sqa", "a linear projector, padding of its own, pictures without <im_start>")


def _is_mistral(raw: Mapping[str, Any], language: LanguageConfig) -> bool:
    text = raw.get("text_config", raw)
    return text.get("model_type") in ("mistral", "llava_mistral") or (
        language.num_key_value_heads < language.num_attention_heads and language.rope_theta == 1e6
    )


def _chat_template(folder: Path) -> tuple[Path, str] | None:
    """The folder's chat template and the file that it is in, in the order in which transformers looks for one."""
    jinja = folder / "chat_template.jinja"
    if jinja.exists():
        try:
            return jinja, read_bytes(jinja, _MOST_BYTES).decode("utf-8")
        except UnicodeDecodeError:
            raise ModelError(f"{jinja} is not UTF-8.", "Download or copy the file again.") from None
    for name in ("chat_template.json", "processor_config.json", "tokenizer_config.json"):
        file = folder / name
        said = read_json(file).get("chat_template") if file.exists() else None
        if isinstance(said, list):  # several, by name
            by_name = {one.get("name"): one.get("template") for one in said if isinstance(one, dict)}
            said = by_name.get("default", next(iter(by_name.values()), None))
        if isinstance(said, str) and len(said) <= _MOST_BYTES:
            return file, said
    return None


def _probes() -> list[list[dict[str, Any]]]:
    """Two questions and an answer, with a picture, in the forms that chat templates take."""
    first, answer, second = _TURNS
    image = {"type": "image"}

    def parts(text: str, *pictures: dict[str, str]) -> list[dict[str, str]]:
        return [*pictures, {"type": "text", "text": text}]

    roles = ("user", "assistant", "user")
    return [
        [
            {"role": role, "content": content}
            for role, content in zip(roles, (parts(first, image), parts(answer), parts(second)), strict=True)
        ],
        [
            {"role": role, "content": content}
            for role, content in zip(roles, (f"<image>\n{first}", answer, second), strict=True)
        ],
    ]


_PROBES = _probes()


def _ours(template: Template) -> str:
    first, answer, second = _TURNS
    if template.captions_only:
        return ""
    conversation = Conversation((Message.user(first), Message.assistant(answer), Message.user(second)))
    return "".join(span.text for span in spans(conversation, template) if isinstance(span, TextSpan))


def _between(text: str) -> tuple[str, str, str] | None:
    """What stands between the probe's turns and after the last, without white space, begin and end tokens and pictures;
    None where the turns are not all there, in order."""
    rest = text
    pieces: list[str] = []
    for turn in _TURNS:
        before, found, rest = rest.partition(turn)
        if not found:
            return None
        pieces.append(before)
    pieces.append(rest)
    _, middle, after, end = (_NOT_COMPARED.sub("", piece) for piece in pieces)
    return middle, after, end


def _same_system(written: str, template: Template) -> int:
    """How many letters of the template's system text stand before the first turn: all or none."""
    system = _NOT_COMPARED.sub("", template.system)
    return len(system) if system in _NOT_COMPARED.sub("", written.partition(_TURNS[0])[0]) else -1


def _likeness(written: str, template: Template) -> float:
    theirs, ours = _between(written), _between(_ours(template))
    if theirs is None or ours is None:
        return 0.0
    return difflib.SequenceMatcher(None, "\n".join(theirs), "\n".join(ours), autojunk=False).ratio()


def _noted(choice: TemplateChoice, note: str) -> TemplateChoice:
    return TemplateChoice(choice.name, choice.why, (note,))
