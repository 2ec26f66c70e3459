"""A conversation -> the text that the folder's chat template writes of it, asked once what it takes.

Templates differ: contents in parts or as text, with a place for a system text or without, some with a system text of
their own. What one takes is found by letting it write a few words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llava_engine.backends.transformers.marks import Marks
from llava_engine.conversation.conversation import Conversation, Message
from llava_engine.errors import ConversationError, ModelError
from llava_engine.limited_process import LimitedProcessError, call_apart

_SECONDS = 3.0  # a template takes milliseconds
_WORD = "Qzwone"


class Writer:
    """Writes conversations by a processor's chat template.

    Attributes:
        takes_system: whether there is a place for a system text.
    """

    def __init__(self, processor: Any, marks: Marks, name: str) -> None:
        """Find out what the template takes. Raises `ModelError` where it takes no conversation, or does not end."""
        self._processor = processor
        self._marks = marks
        self._in_parts = True
        asked = Message.user(_WORD)
        _check_that_it_ends(processor, name)
        if not self._writes([self._as_dict(asked, 1)]):
            self._in_parts = False
            if not self._writes([self._as_dict(asked, 1)]):
                raise ModelError(
                    f"The chat template of {name} writes no conversation with a picture.",
                    "Take the model's own template.",
                )
        # Some take the system text only as text, or only in parts.
        user = self._as_dict(asked, 0)
        self._system_forms = [
            form
            for form in (lambda text: text, lambda text: [{"type": "text", "text": text}])
            if self._writes([{"role": "system", "content": form(_WORD * 2)}, user], _WORD * 2)
        ]
        self.takes_system = bool(self._system_forms)
        # "" means no system text at all: a template with one of its own is given an empty one where that is shorter.
        self._empty_system = self.takes_system and len(self._render([self._system(""), user])) < len(
            self._render([user])
        )

    def write(self, conversation: Conversation, begun: str) -> str:
        """The prompt as text, with stand-ins for what only looks like a mark; the processor's own mark is a picture.

        Raises:
            ConversationError: the template can not write it.
        """
        messages: list[dict[str, Any]] = []
        if conversation.system:
            if not self.takes_system:
                raise ConversationError(
                    "This model's chat template has no place for a system text.", "Say it in the first question."
                )
            messages.append(self._system(self._marks.hidden(conversation.system)))
        elif conversation.system == "" and self._empty_system:
            messages.append(self._system(""))
        messages += [self._as_dict(message, len(message.pictures)) for message in conversation.messages]
        return self._render(messages) + self._marks.hidden(begun, said_by_model=True)

    def _as_dict(self, message: Message, pictures: int) -> dict[str, Any]:
        text = self._marks.hidden(message.text, said_by_model=message.role == "assistant")
        offsets = message.picture_offsets
        if offsets is None:
            parts: list[str | None] = [None] * pictures + ([text] if text else [])
        else:
            parts = list(self._cut(message, offsets))
        if not self._in_parts:
            mark = f"{self._processor.image_token}\n"
            return {"role": message.role, "content": "".join(mark if part is None else part for part in parts)}
        content = [{"type": "image"} if part is None else {"type": "text", "text": part} for part in parts]
        return {"role": message.role, "content": content}

    def _cut(self, message: Message, offsets: Sequence[int]) -> list[str | None]:
        """The text between pictures, and None for each picture."""
        parts: list[str | None] = []
        for begin, end in zip((0, *offsets), (*offsets, len(message.text)), strict=True):
            parts += [self._marks.hidden(message.text[begin:end], said_by_model=message.role == "assistant"), None]
        return [part for part in parts[:-1] if part != ""]

    def _system(self, text: str) -> dict[str, Any]:
        return {"role": "system", "content": self._system_forms[0](text)}

    def _render(self, messages: list[dict[str, Any]]) -> str:
        try:
            return str(
                self._processor.apply_chat_template(
                    messages, self._processor.chat_template, tokenize=False, add_generation_prompt=True
                )
            )
        except Exception as error:  # a stranger's program, which refuses in its own words and fails in every way
            raise ConversationError(f"The model's chat template can not write this conversation: {error}") from error

    def _writes(self, messages: list[dict[str, Any]], word: str = _WORD) -> bool:
        """Whether the template writes a word that is in the messages, and not the braces of Python's own form."""
        try:
            text = self._render(messages)
        except ConversationError:
            return False
        return word in text and "'type'" not in text


def _check_that_it_ends(processor: Any, name: str) -> None:
    """Let the template run in a process with limits first: here nobody could end it. Raises `ModelError`."""
    tokenizer = processor.tokenizer
    turns = [{"role": role, "content": [{"type": "text", "text": _WORD}]} for role in ("user", "assistant", "user")]
    request = {
        "template": processor.chat_template,
        "bos": tokenizer.bos_token or "",
        "eos": tokenizer.eos_token or "",
        "conversations": [turns, [turn | {"content": _WORD} for turn in turns]],
    }
    try:
        call_apart("llava_engine.conversation.chat_template:render", request, seconds=_SECONDS)
    except LimitedProcessError as error:
        raise ModelError(
            f"The chat template of {name} was not run here: {error}.", "Take the model's own template."
        ) from None
