"""Each kernel computes the product, to the precision that it promises; int8 survives a Llama's outliers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from llava_engine.checkpoints.load import load_for_inference
from llava_engine.model.linear import choose_kernel, make_linear
from tests.llava_engine.tiny import TINY, parts, saved


@pytest.mark.parametrize(("kernel", "dtype", "bound"), [
    ("plain", torch.float32, 1e-6),
    ("packed", torch.float32, 1e-5),
    ("plain", torch.bfloat16, 1e-2),
    ("packed", torch.bfloat16, 1e-2),
    ("int8", torch.float32, 2e-2),
])  # fmt: skip
@pytest.mark.parametrize("rows", [1, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_a_kernel_is_the_product(kernel: str, dtype: torch.dtype, bound: float, rows: int, bias: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(96, 64, generator=generator)
    offset = torch.randn(96, generator=generator) if bias else None
    x = torch.randn(2, rows, 64, generator=generator)
    layer = make_linear(weight.to(dtype), None if offset is None else offset.to(dtype), kernel)  # type: ignore[arg-type]
    y = layer(x)
    exact = x.double() @ weight.double().T + (0 if offset is None else offset.double())
    assert y.dtype == torch.float32
    assert (y - exact).norm() / exact.norm() < bound


def test_one_huge_row_does_not_destroy_the_others_in_int8() -> None:
    generator = torch.Generator().manual_seed(1)
    weight, x = torch.randn(64, 64, generator=generator), torch.randn(1, 6, 64, generator=generator)
    x[0, 0] *= 500
    y, exact = make_linear(weight, None, "int8")(x), x @ weight.T
    assert (y - exact)[0, 1:].norm() / exact[0, 1:].norm() < 0.03


def test_a_whole_model_in_int8_stays_near(tmp_path: Path) -> None:
    saved(TINY, tmp_path / "model")
    ids = torch.tensor([[1, 5, 9, 20, 33, 47]])
    exact = load_for_inference(*parts(tmp_path / "model"), device="cpu").model(ids)
    loaded = load_for_inference(*parts(tmp_path / "model"), device="cpu", quantize="int8")
    assert loaded.kernel.name == "int8"
    error = (loaded.model(ids) - exact).norm() / exact.norm()
    assert 0 < error < 0.1


def test_the_choice_says_why() -> None:
    small = choose_kernel(torch.device("cpu"), torch.float32, "none", 1_000_000)
    large = choose_kernel(torch.device("cpu"), torch.float32, "none", 1_000_000_000)
    assert small.name == "plain"
    assert small.why and large.why
    assert large.label in ("plain-float32", "packed-float32")
