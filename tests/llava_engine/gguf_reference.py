"""What llama.cpp computes from GGUF files, written again from its sources in numpy's place by torch: slow, and ours.

In: a file. Out: ids of a text, features of a picture, logits. It reads with the `gguf` package's reader, knows no
checkpoint, and imports nothing of llava: what our files are compared with has to be somebody else's arithmetic. Where
llama.cpp's is known to be wrong (ggml-org/llama.cpp#25814) this is right.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any

import gguf
import torch
import torch.nn.functional as F
from tokenizers import Regex, Tokenizer
from tokenizers import models as kinds
from tokenizers import pre_tokenizers as steps
from torch import Tensor

MARKER = "<__media__>"


class GgufReference:
    """One file.

    Attributes:
        keys: everything that it says.
        tensors: float32, rows first.
        types: each tensor's type by name, as "F16".
    """

    def __init__(self, path: Path) -> None:
        reader = gguf.GGUFReader(path)
        self.keys: dict[str, Any] = {name: field.contents() for name, field in reader.fields.items()}
        self.tensors: dict[str, Tensor] = {}
        self.types = {each.name: each.tensor_type.name for each in reader.tensors}
        for each in reader.tensors:
            numbers = torch.from_numpy(each.data.copy()).float()
            self.tensors[each.name] = numbers.reshape(tuple(int(side) for side in reversed(each.shape)))

    def of(self, name: str) -> Any:
        """A key of the file's architecture."""
        return self.keys[f"{self.keys['general.architecture']}.{name}"]

    # --- text ---

    def ids(self, prompt: str, *, picture: int = -200, tokens: int = 0) -> list[int]:
        """A prompt's ids; `tokens` times `picture` where a picture's mark stands (tools/mtmd/mtmd.cpp)."""
        ids: list[int] = [self.keys["tokenizer.ggml.bos_token_id"]] if self.keys["tokenizer.ggml.add_bos_token"] else []
        for place, text in enumerate(prompt.split(MARKER)):
            ids += [picture] * tokens if place else []
            ids += self._cut(text)
        return ids

    @cached_property
    def _numbers(self) -> dict[str, int]:
        tokens = self.keys["tokenizer.ggml.tokens"]
        assert len(set(tokens)) == len(tokens)  # llama.cpp aborts where they are not
        return {text: number for number, text in enumerate(tokens)}

    @cached_property
    def _apart(self) -> re.Pattern[str]:
        """Unknown, control and added tokens are cut out of a text first, the longest first."""
        types = self.keys["tokenizer.ggml.token_type"]
        texts = [text for text, number in self._numbers.items() if types[number] in (2, 3, 4)]
        return re.compile("|".join(map(re.escape, sorted(texts, key=len, reverse=True))))

    def _cut(self, text: str) -> list[int]:
        ids: list[int] = []
        spaces = self.keys.get("tokenizer.ggml.add_space_prefix")
        pieces = self.keys["tokenizer.ggml.model"] == "llama"
        behind_special, start = True, 0
        for found in [*self._apart.finditer(text), None]:
            plain = text[start : found.start() if found else len(text)]
            if plain:
                space = " " if pieces and spaces and behind_special else ""
                ids += self._merged((space + plain).replace(" ", "▁")) if pieces else self._byte_level.encode(plain).ids
            behind_special = bool(found) or (behind_special and not plain)
            if found:
                ids.append(self._numbers[found.group()])
                start = found.end()
        return ids

    def _merged(self, text: str) -> list[int]:
        """llm_tokenizer_spm_session: of neighbours that make a token those of the best score first, then leftmost."""
        scores, symbols = self.keys["tokenizer.ggml.scores"], list(text)
        while True:
            made = [
                (-scores[self._numbers[one + other]], place)
                for place, (one, other) in enumerate(pairwise(symbols))
                if one + other in self._numbers
            ]
            if not made:
                break
            _, place = min(made)
            symbols[place : place + 2] = [symbols[place] + symbols[place + 1]]
        return [number for symbol in symbols for number in self._ids_of(symbol)]

    def _ids_of(self, symbol: str) -> Iterator[int]:
        if symbol in self._numbers:
            yield self._numbers[symbol]
        else:
            yield from (self._numbers[f"<0x{byte:02X}>"] for byte in symbol.encode())

    @cached_property
    def _byte_level(self) -> Tokenizer:
        merges = [tuple(merge.split(" ")) for merge in self.keys["tokenizer.ggml.merges"]]
        made = Tokenizer(kinds.BPE(vocab=dict(self._numbers), merges=merges))
        gpt2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
        assert self.keys["tokenizer.ggml.pre"] in ("mpt", "gpt-2")
        cut = steps.Split(Regex(gpt2), "isolated")
        made.pre_tokenizer = steps.Sequence([cut, steps.ByteLevel(add_prefix_space=False, use_regex=False)])
        return made

    # --- a picture (tools/mtmd/models/llava.cpp) ---

    def features(self, pixels: Tensor) -> Tensor:
        """(1, 3, side, side) -> (patches, hidden size)."""
        keys, get = self.keys, self.tensors
        width, heads = keys["clip.vision.embedding_length"], keys["clip.vision.attention.head_count"]
        eps, patch = keys["clip.vision.attention.layer_norm_epsilon"], keys["clip.vision.patch_size"]
        assert pixels.shape[-1] == keys["clip.vision.image_size"]
        x = F.conv2d(pixels, get["v.patch_embd.weight"], stride=patch).flatten(2)[0].T
        x = torch.cat([get["v.class_embd"][None], x]) + get["v.position_embd.weight"]
        x = F.layer_norm(x, (width,), get["v.pre_ln.weight"], get["v.pre_ln.bias"], eps)
        (layers,) = keys["clip.vision.feature_layer"]
        assert layers <= keys["clip.vision.block_count"]
        for layer in range(layers):
            part = {name.split(".", 3)[3]: each for name, each in get.items() if name.startswith(f"v.blk.{layer}.")}
            h = F.layer_norm(x, (width,), part["ln1.weight"], part["ln1.bias"], eps)
            q, k, v = (
                F.linear(h, part[f"attn_{which}.weight"], part[f"attn_{which}.bias"]).view(-1, heads, width // heads)
                for which in "qkv"
            )
            scores = torch.einsum("qhd,khd->hqk", q, k) / (width // heads) ** 0.5
            h = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)
            x = x + F.linear(h, part["attn_out.weight"], part["attn_out.bias"])
            h = F.layer_norm(x, (width,), part["ln2.weight"], part["ln2.bias"], eps)
            h = F.linear(h, part["ffn_up.weight"], part["ffn_up.bias"])
            h = F.gelu(h) if keys["clip.use_gelu"] else h * torch.sigmoid(1.702 * h)
            x = x + F.linear(h, part["ffn_down.weight"], part["ffn_down.bias"])
        assert "v.post_ln.weight" not in get  # it would be applied
        assert keys["clip.projector_type"] == "mlp"
        h = F.gelu(F.linear(x[1:], get["mm.0.weight"], get["mm.0.bias"]))
        return F.linear(h, get["mm.2.weight"], get["mm.2.bias"])

    # --- language (src/models/llama.cpp, mpt.cpp) ---

    def embedded(self, ids: Sequence[int], features: Tensor | None = None) -> Tensor:
        """(T, hidden size) of ids; negative ones take the features, in order."""
        numbers = torch.tensor(ids)
        x = self.tensors["token_embd.weight"][numbers.clamp_min(0)].clone()
        if features is not None:
            x[numbers < 0] = features
        return x

    def logits(self, x: Tensor) -> Tensor:
        """(T, hidden size) -> (T, tokens)."""
        for layer in range(self.of("block_count")):
            prefix = f"blk.{layer}."
            part = {n.removeprefix(prefix): each for n, each in self.tensors.items() if n.startswith(prefix)}
            x = x + self._attention(self._norm(x, part["attn_norm.weight"]), part)
            h = self._norm(x, part["ffn_norm.weight"])
            up = F.linear(h, part["ffn_up.weight"])
            h = F.silu(F.linear(h, part["ffn_gate.weight"])) * up if "ffn_gate.weight" in part else F.gelu(up)
            x = x + F.linear(h, part["ffn_down.weight"])
        x = self._norm(x, self.tensors["output_norm.weight"])
        return F.linear(x, self.tensors.get("output.weight", self.tensors["token_embd.weight"]))

    def _norm(self, x: Tensor, weight: Tensor) -> Tensor:
        if self.keys["general.architecture"] == "mpt":
            return F.layer_norm(x, weight.shape, weight, None, self.of("attention.layer_norm_epsilon"))
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.of("attention.layer_norm_rms_epsilon")) * weight

    def _attention(self, h: Tensor, part: dict[str, Tensor]) -> Tensor:
        length, heads, grouped = len(h), self.of("attention.head_count"), self.of("attention.head_count_kv")
        if "attn_qkv.weight" in part:
            q, k, v = F.linear(h, part["attn_qkv.weight"]).chunk(3, dim=-1)
        else:
            q, k, v = (F.linear(h, part[f"attn_{which}.weight"]) for which in "qkv")
        q, k, v = q.view(length, heads, -1), k.view(length, grouped, -1), v.view(length, grouped, -1)
        distance = torch.arange(length)[None] - torch.arange(length)[:, None]  # key - query
        bias = torch.zeros(heads, 1, 1)
        if "attn_qkv.weight" in part:
            bias = self._alibi(heads)[:, None, None] * distance
        else:
            q, k = self._turned(q), self._turned(k)
        k, v = (each.repeat_interleave(heads // grouped, dim=1) for each in (k, v))
        scores = torch.einsum("qhd,khd->hqk", q, k) / q.shape[-1] ** 0.5 + bias
        scores = scores.masked_fill(distance > 0, float("-inf"))
        out = torch.einsum("hqk,khd->qhd", scores.softmax(-1), v).flatten(1)
        return F.linear(out, part["attn_output.weight"])

    def _turned(self, x: Tensor) -> Tensor:
        """LLAMA_ROPE_TYPE_NORM: neighbours (2i, 2i + 1) by one angle."""
        wide = self.of("rope.dimension_count")
        angles = torch.arange(len(x))[:, None] * self.of("rope.freq_base") ** (-torch.arange(0, wide, 2) / wide)
        turned = torch.view_as_complex(x.view(*x.shape[:-1], -1, 2)) * torch.polar(torch.ones(()), angles)[:, None]
        return torch.view_as_real(turned).flatten(-2)

    def _alibi(self, heads: int) -> Tensor:
        """ggml's soft_max_ext: slopes of 2^floor(log2(heads)) heads, the others in between."""
        most, even = self.of("attention.max_alibi_bias"), 1 << (heads.bit_length() - 1)
        first, second = 2.0 ** (-most / even), 2.0 ** (-most / 2 / even)
        slopes = [first ** (h + 1) if h < even else second ** (2 * (h - even) + 1) for h in range(heads)]
        return torch.tensor(slopes)


def rendered(file: GgufReference, messages: Sequence[dict[str, Any]]) -> str:
    """A prompt as the file's chat template writes it, in the sandbox that everybody uses."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    room = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True)
    template = room.from_string(file.keys["tokenizer.chat_template"])
    return template.render(messages=list(messages), add_generation_prompt=True, bos_token="", eos_token="")
