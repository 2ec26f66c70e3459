"""Which kernel a linear layer gets, by what this machine has and what was asked for, and how many bytes it takes then.

The kernels themselves are in kernels.py and four_bits.py. Inference only: training is plain.
"""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from llava_engine.errors import DeviceError
from llava_engine.model.four_bits import (
    INT4_GROUP,
    INT4_LEVELS,
    NF4_GROUP,
    NF4_LEVELS,
    BitsAndBytesLinear,
    Int4Linear,
    UnpackedLinear,
    fits_int4,
)
from llava_engine.model.kernels import Int8Linear, PackedLinear, PlainLinear, UnpackedInt8Linear
from llava_engine.opening import QUANTIZATIONS

KernelName = Literal["plain", "packed", "int8", "int8-unpacked", "int4", "int4-unpacked", "nf4", "nf4-unpacked"]

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
        floats = self.name in ("plain", "packed")
        return f"{self.name}-{str(self.dtype).removeprefix('torch.')}" if floats else self.name


def make_linear(weight: Tensor, bias: Tensor | None, kernel: KernelName) -> nn.Module:
    """The inference form of a linear layer. weight is (out, in) in the dtype to compute in, on its device."""
    match kernel:
        case "packed":
            return PackedLinear(weight, bias)
        case "int8":
            return Int8Linear(weight, bias)
        case "int8-unpacked":
            return UnpackedInt8Linear(weight, bias)
        case "int4" if fits_int4(*weight.shape):
            return Int4Linear(weight, bias)
        case "int4" | "int4-unpacked":
            return UnpackedLinear(weight, bias, INT4_LEVELS)
        case "nf4":
            return BitsAndBytesLinear(weight, bias)
        case "nf4-unpacked":
            return UnpackedLinear(weight, bias, NF4_LEVELS)
        case _:
            return PlainLinear(weight, bias)


def linear_bytes(rows: int, columns: int, quantize: str, dtype: torch.dtype) -> int:
    """What the weight of a linear layer takes in memory, in its final form."""
    if quantize == "int8":
        return rows * (columns + 4)  # a scale in float32
    if quantize == "int4":
        return rows * -(-columns // INT4_GROUP) * (INT4_GROUP // 2 + 4)  # a scale and a zero in bfloat16
    if quantize == "nf4":
        return rows * -(-columns // NF4_GROUP) * (NF4_GROUP // 2 + 4)  # a scale in float32
    return rows * columns * dtype.itemsize


def choose_kernel(device: torch.device, dtype: torch.dtype, quantize: str, parameters: int) -> KernelChoice:
    """Decide by what this machine has, and for large models by a short probe (some tens of milliseconds).

    Args:
        device: where the layers will live.
        dtype: the dtype of the weights.
        quantize: one of QUANTIZATIONS.
        parameters: how many numbers the whole model has.

    Raises:
        DeviceError: there is no such quantization.
    """
    if quantize not in QUANTIZATIONS:
        raise DeviceError(f"There is no quantization {quantize!r}.", f"Known: {', '.join(QUANTIZATIONS)}.")
    if quantize != "none":
        return _choose_quantized(device, dtype, quantize)
    if device.type != "cpu":
        return KernelChoice("plain", dtype, f"{device.type} has its own fast kernels")
    if parameters < SMALL_MODEL_PARAMETERS:
        return KernelChoice("plain", dtype, "a model this small is not bound by memory bandwidth")
    if not _has_onednn():
        return KernelChoice("plain", dtype, "this build of torch has no oneDNN")
    try:
        plain, packed = probe(dtype)
    except RuntimeError as error:  # this build has no such kernel, or no memory for the probe
        return KernelChoice("plain", dtype, f"packed could not be probed: {str(error).splitlines()[0][:80]}")
    if packed < plain:
        return KernelChoice("packed", dtype, f"{plain / packed:.1f} times as fast as plain in a probe at load")
    return KernelChoice("plain", dtype, f"packed was {packed / plain:.1f} times as slow in a probe at load")


def _choose_quantized(device: torch.device, dtype: torch.dtype, quantize: str) -> KernelChoice:
    if quantize == "int8":
        if device.type == "cpu" and _has_int8():
            return KernelChoice("int8", torch.float32, "fbgemm has int8 on this processor")
        return KernelChoice("int8-unpacked", dtype, f"small, not fast: no int8 kernel for {device.type} here")
    if quantize == "int4":
        if device.type == "cpu" and _has_int4():
            return KernelChoice("int4", torch.bfloat16, "torch has int4 on this processor")
        return KernelChoice("int4-unpacked", dtype, f"small, but slow: no int4 kernel for {device.type} here")
    if device.type == "cuda" and importlib.util.find_spec("bitsandbytes") is not None:
        return KernelChoice("nf4", dtype, "bitsandbytes has nf4 on CUDA")
    why = "bitsandbytes is not installed" if device.type == "cuda" else f"no nf4 kernel for {device.type}"
    return KernelChoice("nf4-unpacked", dtype, f"small, but slow: {why}; int4 is as small")


def probe(dtype: torch.dtype, rows: int = 4096, columns: int = 2048) -> tuple[float, float]:
    """Seconds for one row through a (rows, columns) weight, plain and packed: the best of seven, by turns.

    By turns and the best, because other programs may hold the memory bus for a moment; several weights, so that none
    stays in the cache.

    Raises:
        RuntimeError: torch has no such kernel for this dtype, or no memory.
    """
    weights = [torch.ones(rows, columns, dtype=dtype) for _ in range(3)]
    x = torch.ones(1, columns, dtype=torch.float32)
    packed = [PackedLinear(weight, None) for weight in weights]
    plain = [PlainLinear(weight, None) for weight in weights]
    times = [(_time(plain, x), _time(packed, x)) for _ in range(7)]
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


def _has_int4() -> bool:
    """Whether torch's int4 kernel is in this build, and was made for vectors as wide as this processor's."""
    return hasattr(torch.ops.aten, "_weight_int4pack_mm_for_cpu") and "AVX" in torch.backends.cpu.get_cpu_capability()
