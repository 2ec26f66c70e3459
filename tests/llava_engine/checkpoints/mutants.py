"""Ways to break the files of a checkpoint: what the fuzz tests draw from."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st

# Values that nobody expects; each has broken some reader of some program.
HOSTILE: list[Any] = [
    {"type": "linear", "factor": 2}, {"a.*": 3}, {"(a|b)+$": 3}, {"shortest_edge": 10**6}, {"height": -1, "width": 3},
    None, True, False, -1, 0, 1, 2, 3, 10**6, 10**9, 10**12, 2**63, 10**30, 10**400, -(10**9), 0.5, -0.0, 1e308, 1e-320,
    float("nan"), float("inf"), "", "x", "\x1b]0;owned\x07\x1b[2J", "\x00", "\ud800", "../../..", "/etc/passwd",
    "a" * 5000, [], {}, [1], [[1, 2]], [[10**9, 10**9]], ["x"], {"a": 1}, {"type": "x"}, [[[]]], [None], [{}],
]  # fmt: skip


# Keys that are read and that few checkpoints have.
RARE = [
    "model_type", "text_config", "vision_config", "vocab_size", "head_dim", "num_key_value_heads", "sliding_window",
    "rope_theta", "rope_scaling", "rope_parameters", "attention_bias", "tie_word_embeddings", "eos_token_id",
    "mm_vision_tower", "mm_use_im_start_end", "mm_use_im_patch_token", "mm_projector_type", "mm_patch_merge_type",
    "mm_vision_select_feature", "unfreeze_mm_vision_tower", "tune_mm_mlp_adapter", "image_aspect_ratio",
    "image_grid_pinpoints", "use_image_newline_parameter", "image_token_id", "llava", "template", "d_model",
    "logit_scale",
    "_name_or_path", "rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices", "use_dora",
    "use_rslora", "init_lora_weights", "fan_in_fan_out", "layer_norm_eps", "hidden_act", "size", "crop_size", "do_pad",
    "do_center_crop", "do_resize", "resample", "image_mean", "image_std", "rescale_factor", "legacy", "pad_token",
    "add_bos_token", "chat_template", "added_tokens", "normalizer", "pre_tokenizer", "decoder", "merges", "weight_map",
]  # fmt: skip


@st.composite
def broken_json(draw: st.DrawFn, content: bytes) -> bytes:
    """A JSON file with values, keys or bytes of it replaced."""
    if draw(st.integers(0, 9)) == 0:
        return draw(broken_bytes(content))
    value = json.loads(content)
    for _ in range(draw(st.integers(1, 3))):
        value = _edited(draw, value, 0)
    return json.dumps(value).encode()


def _edited(draw: st.DrawFn, value: Any, depth: int) -> Any:
    """The value with one thing in it changed, the deeper the rarer."""
    inside = sorted(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else []
    if not inside or (depth and draw(st.integers(0, 3)) == 0):
        return draw(st.sampled_from(HOSTILE))
    key = draw(st.sampled_from(list(inside)))
    changed = dict(value) if isinstance(value, dict) else list(value)
    way = draw(st.integers(0, 5))
    if way == 0:
        del changed[key]
    elif way == 1 and isinstance(changed, dict):
        changed[draw(st.sampled_from(RARE))] = draw(st.sampled_from(HOSTILE))
    else:
        changed[key] = _edited(draw, changed[key], depth + 1)
    return changed


@st.composite
def broken_bytes(draw: st.DrawFn, content: bytes) -> bytes:
    """A file with a few bytes changed near its beginning, or cut, or with something put in."""
    at = draw(st.integers(0, min(len(content), 4000)))
    match draw(st.sampled_from(["change", "cut", "insert", "double", "empty"])):
        case "change":
            piece = draw(st.binary(min_size=1, max_size=9))
            return content[:at] + piece + content[at + len(piece) :]
        case "cut":
            return content[:at]
        case "insert":
            return content[:at] + draw(st.binary(min_size=1, max_size=40)) + content[at:]
        case "double":
            return content + content
        case _:
            return b""


@st.composite
def broken_tensors(draw: st.DrawFn, content: bytes) -> bytes:
    """A safetensors file whose header lies, by its bytes or by its JSON."""
    if draw(st.integers(0, 3)) == 0:
        return draw(broken_bytes(content))
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    sound = dict(header)
    sound.pop("__metadata__", None)
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(header)))
        entry = sound.get(name, {})
        kind = draw(st.sampled_from(["dtype", "shape", "offsets", "rename", "drop", "swap", "any"]))
        if kind == "rename":
            header[draw(st.sampled_from([f"model.{name}", "x", "model.layers.9.x", "", name + ".\x1b[2J"]))] = (
                header.pop(name)
            )
        elif kind == "drop":
            del header[name]
        elif kind == "swap":
            other = draw(st.sampled_from(sorted(header)))
            header[name], header[other] = header[other], header[name]
        elif kind == "any" or name not in sound:
            header[name] = draw(st.sampled_from(HOSTILE))
        elif kind == "dtype":
            names = ["F64", "F16", "BF16", "I32", "U32", "I8", "BOOL", "F8_E4M3", "F8_E8M0", "C64", "F4", "X", 7]
            header[name] = entry | {"dtype": draw(st.sampled_from(names))}
        elif kind == "shape":
            shapes: list[Any] = [[], [0], [-1], [1, *entry["shape"]], entry["shape"][::-1], [2**62, 4], [2**64], "x"]
            header[name] = entry | {"shape": draw(st.sampled_from(shapes))}
        else:
            start, end = entry["data_offsets"]
            offsets: list[Any] = [[0, end], [end, start], [start, 2**62], [-1, end], [start, end - 1], [start], "x"]
            header[name] = entry | {"data_offsets": draw(st.sampled_from(offsets))}
        if not header:
            break
    text = json.dumps(header).encode()
    lengths = [len(text), len(text), len(text), len(text) + 8, len(text) - 1, 2**40, 2**63, 0]
    return (draw(st.sampled_from(lengths)) % 2**64).to_bytes(8, "little") + text + content[8 + length :]


def broken(name: str, content: bytes) -> st.SearchStrategy[bytes]:
    """Ways to break a file of a checkpoint, by what it is."""
    if name.endswith(".json"):
        return broken_json(content)
    return broken_tensors(content) if name.endswith(".safetensors") else broken_bytes(content)
