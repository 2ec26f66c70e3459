"""The linear kernel behind one interface: plain, packed (oneDNN), int8 (fbgemm). CPU inference only; training is plain.

Decoding reads every weight once a token, so a layer is as fast as its kernel reads memory. torch's own `F.linear`
reaches half of the bandwidth for bfloat16 at one row; a weight that oneDNN has put into its own order reaches nearly
all of it. Every kernel takes float32 and gives float32 (the residual stream on a CPU), whatever it computes in.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from llava_engine.errors import DeviceError

KernelName = Literal["plain", "packed", "int8"]

# Below this size a token is bound by Python, not by memory, and float32 is exact and needs no kernel at all.
SMALL_MODEL_PARAMETERS = 50_000_000


@dataclass(frozen=True)
class KernelChoice:
    """Which kernel the language model's linear layers get, in which dtype, and why (one sentence for `doctor`)."""

    name: KernelName
    dtype: torch.dtype
    why: str

    @property
    def label(self) -> str:
        """ "packed-bfloat16", "int8", "plain-float32": what a status line shows."""
        return self.name if self.name == "int8" else f"{self.name}-{str(self.dtype).removeprefix('torch.')}"


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
    """Weights in int8 with one scale an output row, activations quantized on the fly.

    fbgemm has one activation scale for the whole input, and the first token of a Llama has outliers hundreds of times
    the size of the rest, which would round every other row to nothing: so each row is first divided by its maximum.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.float()
        scale = weight.abs().amax(1).clamp_min(1e-12).double() / 127
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # torch warns that these constructors will move one day
            quantized = torch.quantize_per_channel(weight, scale, zeros, 0, torch.qint8)
            self.packed = torch.ops.quantized.linear_prepack(quantized, None)
        self.bias = None if bias is None else bias.float()

    def forward(self, x: Tensor) -> Tensor:
        """(…, in) -> (…, out) in the dtype of x."""
        wide = x.float()
        top = wide.abs().amax(-1, keepdim=True).clamp_min(1e-12)
        y = torch.ops.quantized.linear_dynamic(wide / top, self.packed, False) * top
        return (y if self.bias is None else y + self.bias).to(x.dtype)  # type: ignore[no-any-return]


def make_linear(weight: Tensor, bias: Tensor | None, kernel: KernelName) -> nn.Module:
    """The inference form of a linear layer. weight is (out, in) in the dtype to compute in."""
    if kernel == "packed":
        return PackedLinear(weight, bias)
    if kernel == "int8":
        return Int8Linear(weight, bias)
    return PlainLinear(weight, bias)


def choose_kernel(device: torch.device, dtype: torch.dtype, quantize: str, parameters: int) -> KernelChoice:
    """Decide by what this machine has, and for large models by a short probe (some tens of milliseconds).

    Args:
        device: where the layers will live.
        dtype: the dtype of the weights.
        quantize: "none" or "int8".
        parameters: how many numbers the whole model has.

    Raises:
        DeviceError: int8 is asked for where there is no int8 kernel.
    """
    if quantize == "int8":
        if device.type != "cpu" or not _has_int8():
            raise DeviceError(f"There is no int8 kernel for {device} here.", "Load the model without quantization.")
        return KernelChoice("int8", torch.float32, "int8 was asked for; fbgemm has it on this processor")
    if device.type != "cpu":
        return KernelChoice("plain", dtype, f"{device.type} has its own fast kernels")
    if parameters < SMALL_MODEL_PARAMETERS:
        return KernelChoice("plain", dtype, "a model this small is not bound by memory bandwidth")
    if not _has_onednn():
        return KernelChoice("plain", dtype, "this build of torch has no oneDNN")
    plain, packed = probe(dtype)
    if packed < plain:
        return KernelChoice("packed", dtype, f"{plain / packed:.1f} times as fast as plain in a probe at load")
    return KernelChoice("plain", dtype, f"packed was {packed / plain:.1f} times as slow in a probe at load")


def probe(dtype: torch.dtype, rows: int = 4096, columns: int = 2048) -> tuple[float, float]:
    """Seconds for one row through a (rows, columns) weight, plain and packed: the best of seven, by turns.

    By turns and the best, because other programs may hold the memory bus for a moment; several weights, so that none
    stays in the cache.
    """
    weights = [torch.ones(rows, columns, dtype=dtype) for _ in range(3)]
    x = torch.ones(1, columns, dtype=torch.float32)
    try:
        packed = [PackedLinear(weight, None) for weight in weights]
        plain = [PlainLinear(weight, None) for weight in weights]
        times = [(_time(plain, x), _time(packed, x)) for _ in range(7)]
    except RuntimeError:
        return 0.0, float("inf")
    return min(one for one, _ in times), min(other for _, other in times)


def has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 in hardware (AVX-512 BF16 or AMX)."""
    return _has_onednn() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def _time(layers: Sequence[nn.Module], x: Tensor) -> float:
    start = time.perf_counter()
    for layer in layers:
        layer(x)
    return (time.perf_counter() - start) / len(layers)


def _has_onednn() -> bool:
    return bool(torch.backends.mkldnn.is_available())  # type: ignore[no-untyped-call]


def _has_int8() -> bool:
    return torch.backends.quantized.engine in ("x86", "fbgemm", "onednn")
