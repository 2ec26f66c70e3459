"""The LLaVA checkpoints that were published, as facts: what each is, what it needs, how large it is, who may use it.

Data for `llava models list` and its advice; nothing else reads it, and no model is opened differently for being in it.
Sources: the model zoo of github.com/haotian-liu/LLaVA and the model cards; bytes follow from the shapes of the tensors.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

CLIP_224 = "openai/clip-vit-large-patch14"
CLIP_336 = "openai/clip-vit-large-patch14-336"
LLAMA = "non-commercial research, as LLaMA"
LLAMA_2 = "Llama 2 Community License"
APACHE = "Apache 2.0"


@dataclass(frozen=True)
class Released:
    """A published checkpoint.

    Attributes:
        id: where it is on the hub.
        generation: of LLaVA; "tower" for a vision tower that others need.
        size: parameters of the language model, as people call it.
        base: the language model that it was trained from, or that a delta or an adapter goes onto.
        form: "whole", "delta" or "adapter" (over `base`), or "tower".
        tower: the vision tower that it needs beside it; "" when it is inside.
        gigabytes: what is fetched, about; None when not known.
        licence: for whom the weights are.
        advice: which form to take, or what to do with this one; "" when it can be opened as it is.
    """

    id: str
    generation: str
    size: str
    base: str
    form: Literal["whole", "delta", "adapter", "tower"]
    tower: str
    gigabytes: float | None
    licence: str
    advice: str = ""


RELEASED = (
    Released("llava-hf/llava-1.5-7b-hf", "1.5", "7B", "Vicuna-7B v1.5", "whole", "", 14.1, LLAMA_2),
    Released("llava-hf/llava-1.5-13b-hf", "1.5", "13B", "Vicuna-13B v1.5", "whole", "", 26.7, LLAMA_2),
    Released("llava-hf/llava-v1.6-vicuna-7b-hf", "1.6", "7B", "Vicuna-7B v1.5", "whole", "", 14.1, LLAMA_2),
    Released("llava-hf/llava-v1.6-vicuna-13b-hf", "1.6", "13B", "Vicuna-13B v1.5", "whole", "", 26.7, LLAMA_2),
    Released("llava-hf/llava-v1.6-mistral-7b-hf", "1.6", "7B", "Mistral-7B-Instruct v0.2", "whole", "", 15.1, APACHE),
    Released("llava-hf/llava-v1.6-34b-hf", "1.6", "34B", "Nous-Hermes-2-Yi-34B", "whole", "", 69.5, APACHE),
    Released(
        "liuhaotian/llava-v1.6-vicuna-7b",
        "1.6",
        "7B",
        "Vicuna-7B v1.5",
        "whole",
        "",
        14.1,
        LLAMA_2,
        "the original's layout of llava-hf/llava-v1.6-vicuna-7b-hf",
    ),
    Released(
        "liuhaotian/llava-v1.6-vicuna-13b",
        "1.6",
        "13B",
        "Vicuna-13B v1.5",
        "whole",
        "",
        26.7,
        LLAMA_2,
        "the original's layout of llava-hf/llava-v1.6-vicuna-13b-hf",
    ),
    Released(
        "liuhaotian/llava-v1.6-mistral-7b",
        "1.6",
        "7B",
        "Mistral-7B-Instruct v0.2",
        "whole",
        "",
        15.1,
        APACHE,
        "the original's layout of llava-hf/llava-v1.6-mistral-7b-hf",
    ),
    Released(
        "liuhaotian/llava-v1.6-34b",
        "1.6",
        "34B",
        "Nous-Hermes-2-Yi-34B",
        "whole",
        "",
        69.5,
        APACHE,
        "the original's layout of llava-hf/llava-v1.6-34b-hf",
    ),
    Released(
        "liuhaotian/llava-v1.5-7b",
        "1.5",
        "7B",
        "Vicuna-7B v1.5",
        "whole",
        CLIP_336,
        13.6,
        LLAMA_2,
        "take llava-hf/llava-1.5-7b-hf: the same weights in safetensors, tower inside",
    ),
    Released(
        "liuhaotian/llava-v1.5-13b",
        "1.5",
        "13B",
        "Vicuna-13B v1.5",
        "whole",
        CLIP_336,
        26.1,
        LLAMA_2,
        "take llava-hf/llava-1.5-13b-hf: the same weights in safetensors, tower inside",
    ),
    Released(
        "liuhaotian/llava-v1.5-7b-lora",
        "1.5",
        "7B",
        "Vicuna-7B v1.5",
        "adapter",
        CLIP_336,
        None,
        LLAMA_2,
        "needs lmsys/vicuna-7b-v1.5",
    ),
    Released(
        "liuhaotian/llava-v1.5-13b-lora",
        "1.5",
        "13B",
        "Vicuna-13B v1.5",
        "adapter",
        CLIP_336,
        None,
        LLAMA_2,
        "needs lmsys/vicuna-13b-v1.5",
    ),
    Released(
        "liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3",
        "v1",
        "13B",
        "Vicuna-13B v1.3",
        "whole",
        CLIP_336,
        26.0,
        LLAMA,
    ),
    Released(
        "liuhaotian/llava-v1-0719-336px-lora-vicuna-13b-v1.3",
        "v1",
        "13B",
        "Vicuna-13B v1.3",
        "adapter",
        CLIP_336,
        None,
        LLAMA,
        "take its merged form: liuhaotian/llava-v1-0719-336px-lora-merge-vicuna-13b-v1.3",
    ),
    Released(
        "liuhaotian/llava-llama-2-13b-chat-lightning-preview",
        "v1",
        "13B",
        "LLaMA-2-13B-Chat",
        "whole",
        CLIP_224,
        26.0,
        LLAMA_2,
    ),
    Released(
        "liuhaotian/llava-llama-2-7b-chat-lightning-lora-preview",
        "v1",
        "7B",
        "LLaMA-2-7B-Chat",
        "adapter",
        CLIP_224,
        None,
        LLAMA_2,
        "needs meta-llama/Llama-2-7b-chat-hf (gated)",
    ),
    Released(
        "liuhaotian/llava-lcs558k-scienceqa-vicuna-13b-v1.3",
        "v1",
        "13B",
        "Vicuna-13B v1.3",
        "whole",
        CLIP_224,
        26.0,
        LLAMA,
        "answers ScienceQA only",
    ),
    Released(
        "liuhaotian/LLaVA-Lightning-MPT-7B-preview",
        "MPT",
        "7B",
        "MPT-7B-Chat",
        "whole",
        CLIP_224,
        13.3,
        "CC BY-NC-SA 4.0",
    ),
    Released(
        "liuhaotian/LLaVA-13b-delta-v1-1",
        "v1",
        "13B",
        "LLaMA-13B",
        "delta",
        CLIP_224,
        26.0,
        LLAMA,
        "needs LLaMA-13B: llava delta apply",
    ),
    Released(
        "liuhaotian/LLaVA-Lightning-7B-delta-v1-1",
        "v1",
        "7B",
        "LLaMA-7B",
        "delta",
        CLIP_224,
        13.5,
        LLAMA,
        "needs LLaMA-7B: llava delta apply",
    ),
    Released(
        "liuhaotian/LLaVA-13b-delta-v0",
        "v0",
        "13B",
        "LLaMA-13B",
        "delta",
        CLIP_224,
        26.0,
        LLAMA,
        "needs LLaMA-13B: llava delta apply",
    ),
    Released(
        "liuhaotian/LLaVA-7b-delta-v0",
        "v0",
        "7B",
        "LLaMA-7B",
        "delta",
        CLIP_224,
        13.5,
        LLAMA,
        "needs LLaMA-7B: llava delta apply",
    ),
    Released(
        "liuhaotian/LLaVA-13b-delta-v0-science_qa",
        "v0 ScienceQA",
        "13B",
        "LLaMA-13B",
        "delta",
        CLIP_224,
        26.0,
        LLAMA,
        "needs LLaMA-13B: llava delta apply; answers ScienceQA only",
    ),
    Released(CLIP_336, "tower", "0.3B", "CLIP ViT-L/14 at 336 px", "tower", "", 1.7, "MIT", "for original 1.5"),
    Released(CLIP_224, "tower", "0.3B", "CLIP ViT-L/14 at 224 px", "tower", "", 1.7, "MIT", "for v0, v1 and MPT"),
)
