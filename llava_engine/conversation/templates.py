"""How each generation of checkpoints wants a conversation written: data only, one table.

A template is a fact about the data that a checkpoint was trained on; spans.py is the code that writes with it. Knows
no tokenizer. A checkpoint whose settings differ in one point takes `dataclasses.replace(template, …)`: so above all
`wrap_pictures`, which a checkpoint's own config states (mm_use_im_start_end); the table has it as it was released.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from llava_engine.errors import ModelError


@dataclass(frozen=True)
class Template:
    """One way to write a conversation.

    A conversation is: system_tag, system, system_end; then for each turn of the user user_tag, text and pictures,
    user_end; and for each answer assistant_tag, answer_lead, text, answer_end. An open prompt ends in assistant_tag.
    (Llama 2 differs in two points: `system_inside` and `turn_start`.)

    Attributes:
        name: its key in `TEMPLATES`.
        made_for: the checkpoints that are asked with it, in a few words for a person.
        system: the system text of a conversation that states none.
        system_tag: stands before the system text.
        system_end: stands after it; with no system text all three are left out.
        user_tag: stands before a user's turn.
        user_end: stands after it.
        assistant_tag: stands before an answer; where the model begins to speak.
        answer_lead: what the model says first of all, before the words ("" or " ").
        answer_end: what it says when it is done; supervised like the answer itself.
        stops: texts that end an answer; where models also write a line's end before one, with it and without.
        examples: turns (user, assistant) between the system text and the conversation, never supervised.
        pictures_first: whether pictures stand before the text of their turn, or after it.
        picture_joiner: stands between a picture and what follows it (or, pictures last, goes before it).
        wrap_pictures: whether a picture stands between <im_start> and <im_end>.
        captions_only: the pretraining form: what the user says is not written at all, only pictures and answers.
        system_inside: whether the system text belongs into the user's first turn, after its user_tag.
        turn_start: stands before each turn of the user but the first.
    """

    name: str
    made_for: str
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
    system_inside: bool = False
    turn_start: str = ""


# Original names that meant several things at different times are listed under the meaning that checkpoints have.
_ALIASES = {
    "multimodal": "v0",
    "simple": "sqa",
    "vicuna_v1": "v1",
    "vicuna_v1_1": "v1",
    "llava_v1": "v1-human",
    "mpt_multimodal": "mpt",
    "mistral_instruct": "mistral",
    "chatml_direct": "chatml",
    "mistral_direct": "chatml",
    "llava_llama_2": "llama2",
    "llava_llama_3": "llama3",
    "v0_plain": "plain",
}

# The first generation's system text, its sentences joined without spaces: so were they in training.
_FIRST_LLAVA = (
    "You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab."
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "Follow the instructions carefully and explain your answers in detail."
)
_CURIOUS_HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_CURIOUS_USER = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)

# April 2023, "multimodal": Vicuna v0, its turns parted by ###, one example exchange in every prompt.
_V0 = Template(
    name="v0",
    made_for="LLaVA v0",
    system=_FIRST_LLAVA,
    system_end="###",
    user_tag="Human: ",
    user_end="###",
    assistant_tag="Assistant:",
    answer_lead=" ",
    answer_end="###",
    stops=("\n###", "###"),
    examples=(("Hi!", "Hi there!  How can I help you today?\n"),),
    pictures_first=False,
    wrap_pictures=True,
)

# "vicuna_v1": LLaVA 1.5 and 1.6 on Vicuna, as they were trained.
_V1 = Template(
    name="v1",
    made_for="1.5, and 1.6 on Vicuna",
    system=_CURIOUS_USER,
    system_end=" ",
    user_tag="USER: ",
    user_end=" ",
    assistant_tag="ASSISTANT:",
    answer_lead=" ",
    answer_end="</s>",
    stops=("</s>",),
)

# June 2023, "mpt_multimodal": ChatML, for the Lightning preview on MPT-7B-Chat.
_MPT = Template(
    name="mpt",
    made_for="the MPT preview",
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
)

# "mistral_instruct": LLaVA 1.6 on Mistral 7B Instruct. The space before </s> is the model's to say.
_MISTRAL = Template(
    name="mistral",
    made_for="1.6 on Mistral",
    system="",
    system_tag="<<SYS>>\n",
    system_end="\n<</SYS>>\n\n",
    system_inside=True,
    user_tag="[INST] ",
    user_end=" [/INST]",
    assistant_tag="",
    answer_lead=" ",
    answer_end=" </s>",
    stops=(" </s>", "</s>"),
)

# Newest "llava_llama_3": LLaVA-NeXT on Llama 3 Instruct, which has its own headers (Meta's model card, 2024).
_LLAMA_3 = Template(
    name="llama3",
    made_for="NeXT on Llama 3",
    system=(
        "You are a helpful language and vision assistant. "
        "You are able to understand the visual content that the user provides, "
        "and assist the user with a variety of tasks using natural language."
    ),
    system_tag="<|start_header_id|>system<|end_header_id|>\n\n",
    system_end="<|eot_id|>",
    user_tag="<|start_header_id|>user<|end_header_id|>\n\n",
    user_end="<|eot_id|>",
    assistant_tag="<|start_header_id|>assistant<|end_header_id|>\n\n",
    answer_lead="",
    answer_end="<|eot_id|>",
    stops=("<|eot_id|>",),
)

TEMPLATES: dict[str, Template] = {
    "v0": _V0,
    # What June's trainer made of the same data. The original never chats with it: it asks v0 with the form above.
    "v0-trained": replace(
        _V0,
        name="v0-trained",
        made_for="v0 as its trainer wrote it",
        system=_CURIOUS_HUMAN,
        system_end="\n\n###",
        user_tag=" Human: ",
        user_end="\n###",
        assistant_tag=" Assistant:",
        answer_end="\n###",
        examples=(),
    ),
    # "simple": the ScienceQA checkpoint. The original's test wrote no "Assistant:" and the model said it by itself, as
    # its labels had taught it; a chat writes it (`open_answer=False` does not).
    "sqa": replace(
        _V0,
        name="sqa",
        made_for="v0 for ScienceQA",
        system=_CURIOUS_HUMAN,
        examples=(("Hi!", "Hi there! How can I help you today?"),),
        wrap_pictures=False,
    ),
    # June 2023, "llava_v1": v1 and Lightning v1-1, on Vicuna 1.1.
    "v1-june": replace(
        _V1,
        name="v1-june",
        made_for="v1 and Lightning v1-1",
        system=_FIRST_LLAVA,
        pictures_first=False,
        wrap_pictures=True,
    ),
    "v1": _V1,
    # Newest "llava_v1": with it the original's own command line asks 1.5 and 1.6, though "v1" is what they learned.
    "v1-human": replace(
        _V1, name="v1-human", made_for="1.5 as the original's command line asks it", system=_CURIOUS_HUMAN
    ),
    "mistral": _MISTRAL,
    # "chatml_direct": LLaVA 1.6 34B, on Nous Hermes 2 Yi.
    "chatml": replace(
        _MPT,
        name="chatml",
        made_for="1.6 34B",
        system="Answer the questions.",
        pictures_first=True,
        wrap_pictures=False,
    ),
    # "llava_llama_2": the preview on Llama 2 13B Chat.
    "llama2": replace(
        _MISTRAL,
        name="llama2",
        made_for="the Llama 2 preview",
        system=(
            "You are a helpful language and vision assistant. "
            "You are able to understand the visual content that the user provides, "
            "and assist the user with a variety of tasks using natural language."
        ),
        turn_start="<s>",
    ),
    "llama3": _LLAMA_3,
    "mpt": _MPT,
    # Newest "mpt": with it the later code asks and trains MPT.
    "mpt-later": replace(
        _MPT,
        name="mpt-later",
        made_for="later MPTs",
        system=(
            "A conversation between a user and an LLM-based AI assistant. "
            "The assistant gives helpful and honest answers."
        ),
        pictures_first=True,
        wrap_pictures=False,
    ),
    # Pretraining of the projector, and so checkpoints that are only one: a picture, its caption, a line's end.
    "plain": Template(
        name="plain",
        made_for="a projector alone",
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
    """The template of that name, or of that name in the original.

    Raises:
        ModelError: there is none; the remedy lists those that are.
    """
    template = TEMPLATES.get(_ALIASES.get(name, name))
    if template is None:
        known = ", ".join(f"{name} ({template.made_for})" for name, template in TEMPLATES.items())
        raise ModelError(f"There is no conversation template “{name}”.", f"Choose one of: {known}.")
    return template
