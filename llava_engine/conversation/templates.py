"""How each generation of checkpoints wants a conversation written: data only, one table.

A template is a fact about the data that a checkpoint was trained on; spans.py is the code that writes with it. Knows
no tokenizer. A checkpoint whose settings differ in one point takes `dataclasses.replace(template, …)`.
"""

from __future__ import annotations

from dataclasses import dataclass

from llava_engine.errors import ModelError


@dataclass(frozen=True)
class Template:
    """One way to write a conversation.

    A conversation is: system_tag, system, system_end; then for each turn of the user user_tag, text and pictures,
    user_end; and for each answer assistant_tag, answer_lead, text, answer_end. An open prompt ends in assistant_tag.

    Attributes:
        name: its key in `TEMPLATES`.
        system: the system text of a conversation that states none.
        system_tag: stands before the system text.
        system_end: stands after it; with no system text all three are left out.
        user_tag: stands before a user's turn.
        user_end: stands after it.
        assistant_tag: stands before an answer; where the model begins to speak.
        answer_lead: what the model says first of all, before the words ("" or " ").
        answer_end: what it says when it is done; supervised like the answer itself.
        stops: texts that end an answer.
        examples: turns (user, assistant) between the system text and the conversation, never supervised.
        pictures_first: whether pictures stand before the text of their turn, or after it.
        picture_joiner: stands between a picture and what follows it (or, pictures last, goes before it).
        wrap_pictures: whether a picture stands between <im_start> and <im_end>.
        captions_only: the pretraining form: what the user says is not written at all, only pictures and answers.
    """

    name: str
    system: str
    user_tag: str
    user_end: str
    assistant_tag: str
    answer_lead: str
    answer_end: str
    stops: tuple[str, ...]
    system_tag: str = ""
    system_end: str = ""
    examples: tuple[tuple[str, str], ...] = ()
    pictures_first: bool = True
    picture_joiner: str = "\n"
    wrap_pictures: bool = False
    captions_only: bool = False


# The first generation's system text, its sentences joined without spaces: so were they in training.
_FIRST_LLAVA = (
    "You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab."
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "Follow the instructions carefully and explain your answers in detail."
)

TEMPLATES: dict[str, Template] = {
    # April 2023, "multimodal": Vicuna v0, its turns parted by ###, one example exchange in every prompt.
    "v0": Template(
        name="v0",
        system=_FIRST_LLAVA,
        system_end="###",
        user_tag="Human: ",
        user_end="###",
        assistant_tag="Assistant:",
        answer_lead=" ",
        answer_end="###",
        stops=("###",),
        examples=(("Hi!", "Hi there!  How can I help you today?\n"),),
        pictures_first=False,
        wrap_pictures=True,
    ),
    # "vicuna_v1": LLaVA 1.5 and later, on Vicuna 1.1 and 1.5.
    "v1": Template(
        name="v1",
        system=(
            "A chat between a curious user and an artificial intelligence assistant. "
            "The assistant gives helpful, detailed, and polite answers to the user's questions."
        ),
        system_end=" ",
        user_tag="USER: ",
        user_end=" ",
        assistant_tag="ASSISTANT:",
        answer_lead=" ",
        answer_end="</s>",
        stops=("</s>",),
    ),
    # June 2023, "mpt_multimodal": ChatML, for MPT-7B-Chat.
    "mpt": Template(
        name="mpt",
        system=(
            "- You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab.\n"
            "- You are able to understand the visual content that the user provides, "
            "and assist the user with a variety of tasks using natural language.\n"
            "- You should follow the instructions carefully and explain your answers in detail."
        ),
        system_tag="<|im_start|>system\n",
        system_end="<|im_end|>",
        user_tag="<|im_start|>user\n",
        user_end="<|im_end|>",
        assistant_tag="<|im_start|>assistant\n",
        answer_lead="",
        answer_end="<|im_end|>",
        stops=("<|im_end|>",),
        pictures_first=False,
        wrap_pictures=True,
    ),
    # Pretraining of the projector: a picture, its caption, a line's end.
    "plain": Template(
        name="plain",
        system="",
        user_tag="",
        user_end="",
        assistant_tag="",
        answer_lead="",
        answer_end="\n",
        stops=("\n",),
        picture_joiner="",
        captions_only=True,
    ),
}


def get(name: str) -> Template:
    """The template of that name.

    Raises:
        ModelError: there is none; the remedy lists those that are.
    """
    template = TEMPLATES.get(name)
    if template is None:
        raise ModelError(f"There is no conversation template “{name}”.", f"Choose one of: {', '.join(TEMPLATES)}.")
    return template
