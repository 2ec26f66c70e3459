"""The linear kernels in float and int8: a weight goes in once, products come out. CPU inference; plain works anywhere.

Decoding reads every weight once a token, so a layer is as fast as its kernel reads memory. torch's own `F.linear`
reaches half of the bandwidth for bfloat16 at one row; a weight that oneDNN has put into its own order reaches nearly
all of it. Every kernel gives the dtype that it takes (float32 on a CPU: the residual stream), whatever it computes in.
Which of them a layer gets is decided in linear.py; four bits are in four_bits.py.
"""

from __future__ import annotations

import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Weights are quantized by blocks of about so many numbers, so that float32 copies stay small beside the weight itself.
BLOCK = 2_000_000

# Activations of -1 to 1 in unsigned bytes: code = x / step + zero, so that 0, 1 and -1 are exact.
INT8_STEP, INT8_ZERO = 1 / 127, 128


class PlainLinear(nn.Module):
    """torch's own product, with the input cast to the weight's dtype and the output back."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        weight, bias = self.get_buffer("weight"), self.bias
        return F.linear(x.to(weight.dtype), weight, bias).to(x.dtype)  # type: ignore[arg-type]


class PackedLinear(nn.Module):
    """A weight in oneDNN's own blocked order."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.dtype, self.out_features = weight.dtype, weight.shape[0]
        self.packed = torch.ops.mkldnn._reorder_linear_weight(weight.contiguous(), 1)
        self.bias = bias

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.packed, self.bias, "none", [], "")
        return y.to(x.dtype)  # type: ignore[no-any-return]


class Int8Linear(nn.Module):
    """Weights in int8 with one scale an output row, activations quantized on the fly (fbgemm or oneDNN, on a CPU).

    Each row is first divided by its maximum, and all rows are then quantized by one scale, which is said beforehand.
    The usual dynamic form takes it from the largest and the smallest number of the whole input: there a row's
    result would depend on its neighbours, and a Llama's first token, with outliers hundreds of times the size of the
    rest, would round every other row to nothing.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale = int8_scale(weight)
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns that these constructors will move one day
            quantized = torch._empty_per_channel_affine_quantized(
                weight.shape, scales=scale.double(), zero_points=zeros, axis=0, dtype=torch.qint8
            )
            # The codes are written where they will be read from: a quantized tensor has no other way without a copy.
            inside = torch.empty(0, dtype=torch.int8).set_(quantized.untyped_storage()).view(weight.shape)
            write_int8_codes(weight, scale, inside)
            self.packed = torch.ops.quantized.linear_prepack(quantized, None)
        self.fbgemm = torch.backends.quantized.engine in ("x86", "fbgemm")
        self.bias = None if bias is None else bias.float()

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        wide = x.float()
        top = wide.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        y = self._product(wide / top) * top
        return (y if self.bias is None else y + self.bias).to(x.dtype)

    def _product(self, x: Tensor) -> Tensor:
        """float32 (…, in), from -1 to 1 -> (…, out)."""
        if self.fbgemm:
            y: Tensor = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32(
                x, INT8_STEP, INT8_ZERO, self.packed
            )
            return y
        # oneDNN has the dynamic form only: one more row, from -1 to 1, fixes the scale that it will take. Rows that are
        # no numbers would leave none; their maximum is none either, so they stay what they are.
        guarded = torch.zeros(x[..., 0].numel() + 1, x.shape[-1])
        guarded[:-1], guarded[-1, 0], guarded[-1, -1] = x.flatten(0, -2).nan_to_num(0), 1, -1
        y = torch.ops.quantized.linear_dynamic(guarded, self.packed, False)
        return y[:-1].view(*x.shape[:-1], -1)


class UnpackedInt8Linear(nn.Module):
    """Weights in int8 with one scale an output row, made float for each product: for any device, small, not fast."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        scale, codes = int8_scale(weight), torch.empty(weight.shape, dtype=torch.int8, device=weight.device)
        write_int8_codes(weight, scale, codes)
        self.dtype = weight.dtype
        self.register_buffer("codes", codes)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        codes, scale, bias = self.get_buffer("codes"), self.get_buffer("scale"), self.bias
        cast, blocks = x.to(self.dtype), row_blocks(codes)
        # Scaled before the product: sums of whole codes would leave the range of float16.
        y = torch.cat([F.linear(cast, (codes[rows] * scale[rows, None]).to(self.dtype)) for rows in blocks], -1)
        return (y if bias is None else y + bias).to(x.dtype)  # type: ignore[operator]


def int8_scale(weight: Tensor) -> Tensor:
    """(out, in) -> float32 (out,): what each row is divided by to fit into int8."""
    return torch.cat([weight[rows].float().abs().amax(1).clamp_min(1e-12) / 127 for rows in row_blocks(weight)])


def write_int8_codes(weight: Tensor, scale: Tensor, codes: Tensor) -> None:
    """Fill int8 (out, in): the weight is nearly codes · scale."""
    for rows in row_blocks(weight):
        codes[rows] = (weight[rows].float() / scale[rows, None]).round_()


def row_blocks(weight: Tensor, multiple: int = 64) -> list[slice]:
    """The rows of a matrix in blocks of at most BLOCK numbers, each but the last a multiple of `multiple` rows."""
    count = max(multiple, BLOCK // max(1, weight.shape[1]) // multiple * multiple)
    return [slice(start, min(start + count, len(weight))) for start in range(0, len(weight), count)]
