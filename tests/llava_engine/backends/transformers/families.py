"""Tiny random models of six families that transformers has, as folders: what their real ones have, at toy sizes.

Nothing is fetched: configs are transformers' own classes, the tokenizer is made here, and so is each chat template, in
the form that the family's has.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

_SPECIALS: dict[str, list[str]] = {
    "qwen2_5_vl": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
                   "<|image_pad|>", "<|video_pad|>"],
    "idefics3": ["<|begin_of_text|>", "<end_of_utterance>", "<fake_token_around_image>", "<image>", "<global-img>",
                 *(f"<row_{row}_col_{column}>" for row in range(1, 7) for column in range(1, 7))],
    "gemma3": ["<bos>", "<eos>", "<pad>", "<start_of_turn>", "<end_of_turn>", "<start_of_image>", "<end_of_image>",
               "<image_soft_token>"],
    "llava_onevision": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>"],
    "internvl": ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<img>", "</img>", "<IMG_CONTEXT>", "<video>"],
}  # fmt: skip
_SPECIALS["smolvlm"] = [*_SPECIALS["idefics3"], "<video>"]
FAMILIES = tuple(_SPECIALS)
_MERGES = [
    ("t", "h"),
    ("th", "e"),
    ("Ġ", "the"),
    ("Ċ", "Ċ"),
    ("ĊĊ", "ĊĊ"),
    ("e", "r"),
    ("Ġ", "a"),
    ("i", "s"),
    ("Ġ", "is"),
]
VOCABULARY = 340

_CHATML = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{% if message.content is string %}{{ message.content }}{% else -%}
{%- for part in message.content %}{% if part.type == 'image' %}PICTURE{% else %}{{ part.text }}{% endif %}{% endfor -%}
{%- endif %}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""

_OWN_SYSTEM = """\
{%- if messages[0].role != 'system' %}<|im_start|>system
You help.<|im_end|>
{% endif -%}
"""

_TEMPLATES = {
    "qwen2_5_vl": _OWN_SYSTEM + _CHATML.replace("PICTURE", "<|vision_start|><|image_pad|><|vision_end|>"),
    "llava_onevision": _CHATML.replace("PICTURE", "<image>\n"),
    "internvl": _CHATML.replace("PICTURE", "<IMG_CONTEXT>\n"),
    "idefics3": """\
<|begin_of_text|>{% for message in messages -%}
{{ message.role | capitalize }}: {% for part in message.content -%}
{% if part.type == 'image' %}<image>{% else %}{{ part.text }}{% endif %}{% endfor %}<end_of_utterance>
{% endfor %}{% if add_generation_prompt %}Assistant:{% endif %}""",
    "gemma3": """\
{{ bos_token }}{% for message in messages -%}
{% if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Roles must alternate') }}{% endif -%}
<start_of_turn>{{ 'model' if message.role == 'assistant' else message.role }}
{% for part in message.content -%}
{% if part.type == 'image' %}<start_of_image>{% else %}{{ part.text | trim }}{% endif %}{% endfor %}<end_of_turn>
{% endfor %}{% if add_generation_prompt %}<start_of_turn>model
{% endif %}""",
}
_TEMPLATES["smolvlm"] = _TEMPLATES["idefics3"]


def build(family: str, folder: Path, *, sliding_window: int = 64, ends: bool = True) -> Path:
    """A whole model folder of a family, weights drawn from a seed wide enough that tokens differ.

    Without `ends` it never ends an answer by itself.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ids = _tokenizer(family, folder)
    model = _model(family, ids, sliding_window)
    generator = torch.Generator().manual_seed(7)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.1 * noise if "norm" in name and name.endswith("weight") else 0.2 * noise)
        model.get_input_embeddings().weight[-1] = model.get_output_embeddings().weight[-1] = 0  # never the likeliest
    end = ids[_SPECIALS[family][1 if family in ("idefics3", "smolvlm", "gemma3") else 2]]
    model.generation_config.eos_token_id = end if ends else VOCABULARY - 1
    model.generation_config.pad_token_id = 0
    model.save_pretrained(folder)
    _pictures(family, folder)
    (folder / "chat_template.jinja").write_text(_TEMPLATES[family], encoding="utf-8")
    return folder


def _tokenizer(family: str, folder: Path) -> dict[str, int]:
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: place for place, letter in enumerate(letters)}
    for left, right in _MERGES:
        vocabulary[left + right] = len(vocabulary)
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=_MERGES))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, normalized=False, special=True) for text in _SPECIALS[family]])
    tokenizer.add_tokens([AddedToken("<think>", normalized=False)])
    tokenizer.save(str(folder / "tokenizer.json"))
    special = _SPECIALS[family]
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512}
    settings |= {"eos_token": special[1], "pad_token": special[0]}
    if family == "gemma3":
        settings |= {"bos_token": "<bos>", "pad_token": "<pad>"}
        settings["extra_special_tokens"] = {
            "boi_token": "<start_of_image>",
            "eoi_token": "<end_of_image>",
            "image_token": "<image_soft_token>",
        }
    if family == "internvl":
        settings["extra_special_tokens"] = {"start_image_token": "<img>", "end_image_token": "</img>",
            "context_image_token": "<IMG_CONTEXT>", "video_token": "<video>"}  # fmt: skip
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return {text: tokenizer.token_to_id(text) for text in special}


def _model(family: str, ids: dict[str, int], sliding_window: int) -> Any:
    import transformers as t

    text = {"vocab_size": VOCABULARY, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 8, "max_position_embeddings": 512,
            "pad_token_id": 0}  # fmt: skip
    sees = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    if family == "qwen2_5_vl":
        config: Any = t.Qwen2_5_VLConfig(
            text_config=text | {"rope_parameters": {"rope_type": "default", "mrope_section": [1, 1, 2],
                                                    "rope_theta": 10000.0}},
            vision_config={"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2, "patch_size": 4,
                           "spatial_merge_size": 2, "window_size": 16, "fullatt_block_indexes": [1],
                           "out_hidden_size": 32},
            image_token_id=ids["<|image_pad|>"], video_token_id=ids["<|video_pad|>"],
            vision_start_token_id=ids["<|vision_start|>"], vision_end_token_id=ids["<|vision_end|>"],
        )  # fmt: skip
        return t.Qwen2_5_VLForConditionalGeneration(config)
    if family in ("idefics3", "smolvlm"):
        smol = family == "smolvlm"
        config = (t.SmolVLMConfig if smol else t.Idefics3Config)(
            text_config={"model_type": "llama", **text}, vision_config=sees | {"image_size": 16, "patch_size": 4},
            scale_factor=2, image_token_id=ids["<image>"], pad_token_id=0, tie_word_embeddings=False,
        )  # fmt: skip
        return (t.SmolVLMForConditionalGeneration if smol else t.Idefics3ForConditionalGeneration)(config)
    if family == "gemma3":
        layers = ["sliding_attention", "full_attention"]
        config = t.Gemma3Config(
            text_config=text | {"sliding_window": sliding_window, "layer_types": layers, "query_pre_attn_scalar": 8},
            vision_config=sees | {"image_size": 16, "patch_size": 4, "vision_use_head": False},
            mm_tokens_per_image=4, boi_token_index=ids["<start_of_image>"], eoi_token_index=ids["<end_of_image>"],
            image_token_index=ids["<image_soft_token>"],
        )  # fmt: skip
        return t.Gemma3ForConditionalGeneration(config)
    if family == "llava_onevision":
        config = t.LlavaOnevisionConfig(
            text_config={"model_type": "qwen2", **text},
            vision_config={"model_type": "siglip_vision_model", **sees, "image_size": 16, "patch_size": 4,
                           "vision_use_head": False},
            image_token_index=ids["<image>"], video_token_index=ids["<video>"],
            image_grid_pinpoints=[[16, 16], [16, 32], [32, 16], [32, 32]], vision_feature_layer=-1,
        )  # fmt: skip
        return t.LlavaOnevisionForConditionalGeneration(config)
    config = t.InternVLConfig(
        text_config={"model_type": "qwen2", **text},
        vision_config=sees | {"image_size": [16, 16], "patch_size": [4, 4], "use_qk_norm": False},
        image_token_id=ids["<IMG_CONTEXT>"], image_seq_length=4, downsample_ratio=0.5, vision_feature_layer=-1,
    )  # fmt: skip
    return t.InternVLForConditionalGeneration(config)


def _pictures(family: str, folder: Path) -> None:
    half: dict[str, Any] = {"image_mean": [0.5] * 3, "image_std": [0.5] * 3, "do_convert_rgb": True}
    square = {"height": 16, "width": 16}
    own: dict[str, dict[str, Any]] = {
        "qwen2_5_vl": {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "merge_size": 2,
                       "temporal_patch_size": 2, "min_pixels": 64, "max_pixels": 1024},
        "idefics3": {"image_processor_type": "Idefics3ImageProcessor", "size": {"longest_edge": 32},
                     "max_image_size": {"longest_edge": 16}, "do_image_splitting": True, "do_pad": True},
        "gemma3": {"image_processor_type": "Gemma3ImageProcessor", "size": square},
        "llava_onevision": {"image_processor_type": "LlavaOnevisionImageProcessor", "size": square,
                            "image_grid_pinpoints": [[16, 16], [16, 32], [32, 16], [32, 32]]},
        "internvl": {"image_processor_type": "GotOcr2ImageProcessor", "size": square, "crop_to_patches": True,
                     "min_patches": 1, "max_patches": 3},
    }  # fmt: skip
    own["smolvlm"] = own["idefics3"] | {"image_processor_type": "SmolVLMImageProcessor"}
    names = {
        "qwen2_5_vl": "Qwen2_5_VLProcessor",
        "idefics3": "Idefics3Processor",
        "smolvlm": "SmolVLMProcessor",
        "gemma3": "Gemma3Processor",
        "llava_onevision": "LlavaOnevisionProcessor",
        "internvl": "InternVLProcessor",
    }
    settings: dict[str, dict[str, Any]] = {
        "idefics3": {"image_seq_len": 4},
        "smolvlm": {"image_seq_len": 4},
        "gemma3": {"image_seq_length": 4},
        "internvl": {"image_seq_length": 4},
        "llava_onevision": {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
    }
    (folder / "preprocessor_config.json").write_text(json.dumps(half | own[family]), encoding="utf-8")
    content = {"processor_class": names[family], **settings.get(family, {})}
    (folder / "processor_config.json").write_text(json.dumps(content), encoding="utf-8")
