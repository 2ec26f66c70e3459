"""The original's conversation templates as data, under its own names: June 2023 (b4be90b) and newest (c121f04).

The same name may mean different things in the two. What prompts.py makes of an entry is code; here are only facts.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

SeparatorStyle = Literal["SINGLE", "TWO", "MPT", "PLAIN", "LLAMA_2"]
Commit = Literal["b4be90b", "c121f04"]


@dataclass(frozen=True)
class OriginalTemplate:
    """One entry.

    Attributes:
        system: stands first, with what marks it as the system's.
        roles: what announces the user and the assistant.
        style: how turns are joined.
        sep: ends the system text and the user's turns.
        sep2: ends the assistant's turns in the styles that have two.
        version: what the label functions and the web page ask for; "Unknown" when an entry names none.
        examples: turns that every conversation begins with, the user's first.
    """

    system: str
    roles: tuple[str, str]
    style: SeparatorStyle
    sep: str
    sep2: str | None = None
    version: str = "Unknown"
    examples: tuple[str, ...] = ()

    @property
    def stop(self) -> str | None:
        """Where the command line cuts an answer off: in Llama 2's style at what begins a turn, which never comes."""
        return self.sep2 if self.style == "TWO" else self.sep

    @property
    def web_stop(self) -> str | None:
        """Where the newest web page cuts it off; None would break the plain form's."""
        return self.sep if self.style in ("SINGLE", "MPT") else self.sep2


_HUMAN = (
    "A chat between a curious human and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the human's questions."
)
_USER = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
_YOU_ARE_LLAVA = (
    "You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab."
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "Follow the instructions carefully and explain your answers in detail."
)
_VISUAL = (
    "You are able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
)
_MMTAG = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant is able to understand the visual content that the user provides, "
    "and assist the user with a variety of tasks using natural language."
    "The visual content will be provided with the following format: <Image>visual content</Image>."
)
_RENEWABLE = (
    "What are the key differences between renewable and non-renewable energy sources?",
    "Renewable energy sources are those that can be replenished naturally in a relatively short amount of time, such "
    "as solar, wind, hydro, geothermal, and biomass. Non-renewable energy sources, on the other hand, are finite and "
    "will eventually be depleted, such as coal, oil, and natural gas. Here are some key differences between renewable "
    "and non-renewable energy sources:\n"
    "1. Availability: Renewable energy sources are virtually inexhaustible, while non-renewable energy sources are "
    "finite and will eventually run out.\n"
    "2. Environmental impact: Renewable energy sources have a much lower environmental impact than non-renewable "
    "sources, which can lead to air and water pollution, greenhouse gas emissions, and other negative effects.\n"
    "3. Cost: Renewable energy sources can be more expensive to initially set up, but they typically have lower "
    "operational costs than non-renewable sources.\n"
    "4. Reliability: Renewable energy sources are often more reliable and can be used in more remote locations than "
    "non-renewable sources.\n"
    "5. Flexibility: Renewable energy sources are often more flexible and can be adapted to different situations and "
    "needs, while non-renewable sources are more rigid and inflexible.\n"
    "6. Sustainability: Renewable energy sources are more sustainable over the long term, while non-renewable sources "
    "are not, and their depletion can lead to economic and social instability.\n",
)

_V0 = OriginalTemplate(_HUMAN, ("Human", "Assistant"), "SINGLE", "###")
_DIALOGUE = replace(_V0, examples=_RENEWABLE)
_V1 = OriginalTemplate(_USER, ("USER", "ASSISTANT"), "TWO", " ", "</s>", version="v1")
_CHATML = OriginalTemplate("", ("<|im_start|>user\n", "<|im_start|>assistant\n"), "MPT", "<|im_end|>", version="mpt")
_LLAMA_2 = OriginalTemplate("", ("USER", "ASSISTANT"), "LLAMA_2", "<s>", "</s>", version="llama_v2")
_PLAIN = OriginalTemplate("", ("", ""), "PLAIN", "\n")


def _chatml(system: str) -> OriginalTemplate:
    return replace(_CHATML, system="<|im_start|>system\n" + system)


_JUNE: dict[str, OriginalTemplate] = {
    "default": _DIALOGUE,
    "simple": replace(_V0, examples=("Hi!", "Hi there! How can I help you today?")),
    "simple_legacy": replace(
        _V0,
        system=(
            "You are LLaVA, a large language model trained by UW Madison WAIV Lab."
            "You are designed to assist human with a variety of tasks using natural language."
            "Follow the instructions carefully."
        ),
        examples=("Hi!\n\n### Response:", "Hi there!  How can I help you today?\n"),
    ),
    "multimodal": replace(_V0, system=_YOU_ARE_LLAVA, examples=("Hi!", "Hi there!  How can I help you today?\n")),
    "mpt_multimodal": _chatml(
        "- You are LLaVA, a large language and vision assistant trained by UW Madison WAIV Lab.\n- " + _VISUAL + "\n"
        "- You should follow the instructions carefully and explain your answers in detail."
    ),
    "llava_v1": replace(_V1, system=_YOU_ARE_LLAVA),
    "v1": _DIALOGUE,
    "bair_v1": replace(_V1, system="BEGINNING OF CONVERSATION:", roles=("USER", "GPT"), version="Unknown"),
    "vicuna_v1_1": _V1,
    "mpt": _chatml(
        "- You are a helpful language and vision assistant.\n- " + _VISUAL + "\n"
        "- You should follow the instructions carefully and explain your answers in detail."
    ),
    "mpt_text": _chatml(
        "- You are a helpful assistant chatbot trained by MosaicML.\n- You answer questions.\n"
        "- You are excited to be able to help the user, but will refuse to do anything that could be considered "
        "harmful to the user.\n"
        "- You are more than just an information source, you are also able to write poetry, short stories, and make "
        "jokes."
    ),
}

_NEWEST: dict[str, OriginalTemplate] = {
    "default": _DIALOGUE,
    "v0": _DIALOGUE,
    "v1": _V1,
    "vicuna_v1": _V1,
    "llama_2": replace(
        _LLAMA_2,
        system=(
            "You are a helpful, respectful and honest assistant. Always answer as helpfully as possible, while being "
            "safe.  Your answers should not include any harmful, unethical, racist, sexist, toxic, dangerous, or "
            "illegal content. Please ensure that your responses are socially unbiased and positive in nature.\n\n"
            "If a question does not make any sense, or is not factually coherent, explain why instead of answering "
            "something not correct. If you don't know the answer to a question, please don't share false information."
        ),
    ),
    "mistral_instruct": replace(_LLAMA_2, sep=""),
    "chatml_direct": _chatml("Answer the questions."),
    "mistral_direct": _chatml("Answer the questions."),
    "plain": _PLAIN,
    "v0_plain": _PLAIN,
    "llava_v0": _V0,
    "v0_mmtag": replace(_V0, system=_MMTAG, version="v0_mmtag"),
    "llava_v1": replace(_V1, system=_HUMAN),
    "v1_mmtag": replace(_V1, system=_MMTAG, version="v1_mmtag"),
    "llava_llama_2": replace(_LLAMA_2, system="You are a helpful language and vision assistant. " + _VISUAL),
    "mpt": _chatml(
        "A conversation between a user and an LLM-based AI assistant. The assistant gives helpful and honest answers."
    ),
}

TEMPLATES: dict[Commit, dict[str, OriginalTemplate]] = {"b4be90b": _JUNE, "c121f04": _NEWEST}
