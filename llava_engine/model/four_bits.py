"""Linear layers in four bits a weight: int4 (uniform steps) and nf4 (steps of a normal distribution).

int4 has a fast kernel in torch on a CPU, and nf4 has one in bitsandbytes on CUDA. Everywhere else the codes are turned
back into numbers, a block of rows at a time, for every product: slow, but correct and as small. Which layer gets which
is decided in linear.py.
"""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.model.kernels import row_blocks

# Columns that share a scale. Small groups cost 0.5 bit a weight more than large ones, and halve the error.
INT4_GROUP = 32
NF4_GROUP = 64  # bitsandbytes' own block size, so that its kernel and ours give the same weights
# The fast kernel puts this many rows after each other; blocks that are packed one by one must be whole multiples.
INT4_ROWS = 64
# From so many rows on, reading the codes back and multiplying in bfloat16 is faster than the kernel.
MANY_ROWS = 192
READ_ROWS = 8 * INT4_ROWS

# Dettmers et al. 2023 (QLoRA), appendix E: quantiles of a normal distribution, scaled to [-1, 1], with an exact zero.
NF4_LEVELS = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
INT4_LEVELS = tuple(float(level) for level in range(-8, 8))


class Int4Linear(nn.Module):
    """int4 in torch's own kernel for a CPU, which computes in bfloat16. Fits where `fits_int4` says so.

    The kernel is made for few rows. For many, as in a prompt, weights are made bfloat16 again, some at a time, and
    multiplied by oneDNN: 1.4 times as fast at 320 rows, where the order of the packed codes is the one that we know.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        count, columns = weight.shape
        packed = torch.empty(count, columns // 2, dtype=torch.uint8)
        scales = torch.empty(columns // INT4_GROUP, count, 2, dtype=torch.bfloat16)
        self.readable = count % INT4_ROWS == 0
        for rows in row_blocks(weight, INT4_ROWS):
            codes, scale, zero = int4_codes(weight[rows])
            packed[rows] = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.int(), 1)
            scales[:, rows] = torch.stack([scale, zero], -1).transpose(0, 1)
            if self.readable and rows.start == 0:
                self.readable = torch.equal(_unpacked(packed[:INT4_ROWS])[0].T, codes[:INT4_ROWS])
        self.register_buffer("packed", packed)
        self.register_buffer("scales", scales)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        flat: Tensor = x.reshape(-1, x.shape[-1]).bfloat16()
        y = self._many(flat) if self.readable and len(flat) >= MANY_ROWS else self._few(flat)
        y = y.to(x.dtype)
        y = y if self.bias is None else (y + self.get_buffer("bias")).to(x.dtype)
        return y.view(*x.shape[:-1], -1)

    def _few(self, x: Tensor) -> Tensor:
        """bfloat16 (rows, in) -> (rows, out)."""
        packed, scales = self.get_buffer("packed"), self.get_buffer("scales")
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x, packed, INT4_GROUP, scales)
        return y

    def _many(self, x: Tensor) -> Tensor:
        """bfloat16 (rows, in) -> (rows, out)."""
        packed, scales = self.get_buffer("packed"), self.get_buffer("scales")
        y = []
        for start in range(0, len(packed), READ_ROWS):
            rows = slice(start, start + READ_ROWS)
            codes = _unpacked(packed[rows]).bfloat16()  # (blocks, in, 64)
            grouped = codes.view(len(codes), -1, INT4_GROUP, INT4_ROWS)
            # (groups, rows, 2) -> (2, blocks, groups, 1, 64), contiguous, or reading them would take longest.
            steps = scales[:, rows].view(len(scales), -1, INT4_ROWS, 2).permute(3, 1, 0, 2).unsqueeze(3)
            scale, zero = steps.contiguous()
            grouped.sub_(8).mul_(scale).add_(zero)
            y.append(x @ codes.transpose(0, 1).flatten(1))
        return torch.cat(y, -1)


class UnpackedLinear(nn.Module):
    """Four-bit codes, two in a byte, looked up in a table and scaled by groups for each product: for any device."""

    def __init__(self, weight: Tensor, bias: Tensor | None, levels: tuple[float, ...]) -> None:
        super().__init__()
        self.columns, self.dtype = weight.shape[1], weight.dtype
        count, device, uniform = len(weight), weight.device, levels is INT4_LEVELS
        group = INT4_GROUP if uniform else NF4_GROUP
        groups = -(-self.columns // group)
        codes = torch.empty(count, groups * group // 2, dtype=torch.uint8, device=device)
        # int4's scale and zero are bfloat16 numbers already.
        scale = torch.empty(count, groups, dtype=torch.bfloat16 if uniform else torch.float32, device=device)
        zero = torch.empty_like(scale) if uniform else None
        for rows in row_blocks(weight):
            if zero is not None:
                block, scale[rows], zero[rows] = int4_codes(weight[rows])
            else:
                block, scale[rows] = nf4_codes(weight[rows])
            codes[rows] = block[:, ::2] << 4 | block[:, 1::2]
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("zero", zero)
        table = torch.tensor(levels, device=device)
        pairs = torch.stack([table.repeat_interleave(16), table.repeat(16)], -1)  # (256, 2): what a byte stands for
        self.register_buffer("pairs", pairs)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        bias, cast = self.bias, x.to(self.dtype)
        y = torch.cat([F.linear(cast, self._weight(rows)) for rows in row_blocks(self.get_buffer("codes"))], -1)
        return (y if bias is None else y + bias).to(x.dtype)  # type: ignore[operator]

    def _weight(self, rows: slice) -> Tensor:
        codes, scale = self.get_buffer("codes")[rows], self.get_buffer("scale")[rows]
        levels = F.embedding(codes.int(), self.get_buffer("pairs")).view(*scale.shape, -1)  # (rows, groups, group)
        levels = levels * scale.unsqueeze(-1)
        if self.zero is not None:
            levels = levels + self.get_buffer("zero")[rows].unsqueeze(-1)
        return levels.flatten(1)[:, : self.columns].to(self.dtype)


class BitsAndBytesLinear(nn.Module):
    """nf4 in bitsandbytes' own kernels, on CUDA."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        import bitsandbytes

        self._product = bitsandbytes.matmul_4bit
        packed, self._state = bitsandbytes.functional.quantize_4bit(weight, blocksize=NF4_GROUP, quant_type="nf4")
        self.dtype = weight.dtype
        self.register_buffer("packed", packed)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        packed = self.get_buffer("packed").t()
        return self._product(x.to(self.dtype), packed, quant_state=self._state, bias=self.bias).to(x.dtype)  # type: ignore[no-any-return]


def _unpacked(packed: Tensor) -> Tensor:
    """The kernel's packed rows on AVX-512 -> codes (blocks of 64 rows, in, 64).

    A block holds, for each column, 32 bytes: rows 0 to 31 in the low halves, rows 32 to 63 in the high ones.
    """
    both = packed.view(len(packed) // INT4_ROWS, -1, INT4_ROWS // 2)
    return torch.cat([both & 15, both >> 4], -1)


def fits_int4(rows: int, columns: int) -> bool:
    """Whether torch's kernel takes a weight of this shape."""
    return rows % 16 == 0 and columns % INT4_GROUP == 0


def int4_codes(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(out, in) -> uint8 codes (out, in, padded to whole groups), scale and zero (out, groups).

    A weight is nearly (code - 8) · scale + zero. Both are rounded to bfloat16, which the kernel keeps them in, before
    the codes are chosen, so that they fit what will be computed.
    """
    groups = _groups(weight, INT4_GROUP)
    low, high = groups.amin(-1, keepdim=True), groups.amax(-1, keepdim=True)
    scale = ((high - low) / 15).clamp_min(1e-10).bfloat16().float()
    zero = (low + 8 * scale).bfloat16().float()
    codes = ((groups - zero) / scale).round_().clamp_(-8, 7).add_(8).to(torch.uint8)
    return codes.flatten(1), scale.squeeze(-1), zero.squeeze(-1)


def nf4_codes(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, in) -> uint8 codes (out, in, padded to whole groups), scale (out, groups).

    A weight is nearly NF4_LEVELS[code] · scale.
    """
    groups = _groups(weight, NF4_GROUP)
    scale = groups.abs().amax(-1, keepdim=True).clamp_min(1e-12)
    groups = groups / scale
    codes = torch.zeros(groups.shape, dtype=torch.uint8, device=weight.device)
    for low, high in itertools.pairwise(NF4_LEVELS):  # three times as fast as torch.bucketize
        codes += groups > (low + high) / 2
    return codes.flatten(1), scale.squeeze(-1)


def _groups(weight: Tensor, size: int) -> Tensor:
    """(out, in) -> float32 (out, groups, size), with zeros at the end where `in` is no multiple."""
    padded = F.pad(weight.float(), (0, -weight.shape[1] % size))
    return padded.view(len(padded), -1, size)
