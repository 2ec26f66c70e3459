"""Each kernel computes the product, to the precision that it promises, whole models too; int8 survives outliers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from llava_engine.checkpoints.catalog import EMBEDDED
from llava_engine.checkpoints.checkpoint import Checkpoint
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.model.four_bits import NF4_LEVELS
from llava_engine.model.linear import KernelName, choose_kernel, make_linear
from llava_engine.opening import Placement
from tests.conformance.fixtures import FIXTURES, needs_fixtures
from tests.llava_engine.tiny import TINY, parts, saved


@pytest.mark.parametrize(("kernel", "dtype", "bound"), [
    ("plain", torch.float32, 1e-6),
    ("packed", torch.float32, 1e-5),
    ("plain", torch.bfloat16, 1e-2),
    ("packed", torch.bfloat16, 1e-2),
    ("int8", torch.float32, 2e-2),
    ("int8-unpacked", torch.float32, 1e-2),
    ("int4", torch.float32, 0.12),
    ("int4-unpacked", torch.float32, 0.12),
    ("nf4-unpacked", torch.float32, 0.13),
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


@pytest.fixture(params=["fbgemm", "onednn"])
def int8_engine(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each of torch's int8 libraries that this build has."""
    if request.param not in torch.backends.quantized.supported_engines:
        pytest.skip(f"no {request.param} in this build of torch")
    before = torch.backends.quantized.engine
    torch.backends.quantized.engine = request.param
    yield request.param
    torch.backends.quantized.engine = before


@pytest.mark.parametrize("shape", [(130, 65), (1024, 512)])
def test_a_row_in_int8_has_the_same_bits_whatever_its_neighbours_are(int8_engine: str, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(*shape, generator=generator)
    layer = make_linear(weight, None, "int8")
    rows = torch.randn(60, shape[1], generator=generator) * torch.logspace(-6, 6, 60).unsqueeze(1)
    rows[7], rows[8], rows[9, 3] = 0, float("nan"), float("inf")
    fine = [row for row in range(60) if row not in (8, 9)]
    alone = torch.cat([layer(rows[row : row + 1]) for row in range(60)])
    exact = rows[fine] @ weight.T
    assert ((alone[fine] - exact).norm(dim=1) / exact.norm(dim=1).clamp_min(1e-30)).max() < 0.04
    for count in (2, 3, 16, 17, 60):
        among = torch.cat([layer(part) for part in rows.split(count)])
        assert torch.equal(among[fine], alone[fine])
    assert alone[fine].isfinite().all()
    assert not alone[8].isfinite().any()


def test_an_unpacked_layer_computes_what_the_kernel_does() -> None:
    generator = torch.Generator().manual_seed(2)
    weight, x = torch.randn(160, 96, generator=generator), torch.randn(7, 96, generator=generator)
    fast, slow = make_linear(weight, None, "int4")(x), make_linear(weight, None, "int4-unpacked")(x)
    assert (fast - slow).norm() / slow.norm() < 5e-3  # bfloat16 activations


@pytest.mark.parametrize("shape", [(1088, 96), (64, 32), (80, 64)])
def test_many_rows_are_what_few_are_in_int4(shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(7)
    weight, x = torch.randn(*shape, generator=generator), torch.randn(2, 300, shape[1], generator=generator)
    layer = make_linear(weight, torch.randn(shape[0], generator=generator), "int4")
    many, few = layer(x), torch.cat([layer(part) for part in x.tensor_split(6, 1)], 1)
    assert (many - few).norm() / few.norm() < 0.01
    assert many.shape == (2, 300, shape[0]) and many.dtype == x.dtype


@pytest.mark.parametrize("kernel", ["int8", "int8-unpacked", "int4", "int4-unpacked", "nf4-unpacked"])
@pytest.mark.parametrize("shape", [(24, 40), (7, 3), (16, 32), (130, 65)])
def test_any_shape_can_be_quantized(kernel: KernelName, shape: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(3)
    weight, x = torch.randn(*shape, generator=generator), torch.randn(2, 3, shape[1], generator=generator)
    before = weight.clone()
    y, exact = make_linear(weight, None, kernel)(x), x @ before.T
    assert y.shape == exact.shape
    assert (y - exact).norm() / exact.norm() < 0.2
    assert torch.equal(weight, before), "the weight is not ours to change"


@pytest.mark.parametrize("kernel", ["int8-unpacked", "int4-unpacked", "nf4-unpacked"])
def test_sums_stay_in_the_range_of_float16(kernel: KernelName) -> None:
    weight, x = torch.ones(8, 64, dtype=torch.float16), torch.full((1, 64), 100.0, dtype=torch.float16)
    torch.testing.assert_close(make_linear(weight, None, kernel)(x), torch.full((1, 8), 6400.0, dtype=torch.float16))


def test_blocks_of_rows_are_one_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(4)
    weight, x = torch.randn(272, 64, generator=generator), torch.randn(5, 64, generator=generator)
    kernels: tuple[KernelName, ...] = ("int8", "int4", "int4-unpacked", "nf4-unpacked")
    whole = [make_linear(weight, None, kernel)(x) for kernel in kernels]
    monkeypatch.setattr("llava_engine.model.kernels.BLOCK", 64 * 64)
    for kernel, expected in zip(kernels, whole, strict=True):
        torch.testing.assert_close(make_linear(weight, None, kernel)(x), expected, msg=kernel)


def test_nf4_keeps_its_own_levels() -> None:
    # The levels of Dettmers et al. 2023, appendix E, times a scale a group: they come back as they were.
    levels = torch.tensor(NF4_LEVELS)
    weight = torch.cat([levels, levels.flip(0), levels, levels]).expand(4, 64) * torch.tensor(
        [[1.0], [3.0], [0.1], [7.0]]
    )
    identity = torch.eye(64)
    torch.testing.assert_close(make_linear(weight, None, "nf4-unpacked")(identity), weight.T)


def test_int4_keeps_sixteen_even_steps() -> None:
    steps = torch.arange(16.0).repeat(2) - 3
    weight = steps.expand(16, 32) * torch.tensor([1.0, 0.5, 2.0, 4.0]).repeat(4)[:, None]
    identity = torch.eye(32)
    for kernel in ("int4", "int4-unpacked"):
        torch.testing.assert_close(make_linear(weight, None, kernel)(identity), weight.T)


# How far the logits of a whole small model may be from float32's; the tower, the projector and the head are exact.
BOUNDS = {"int8": 0.04, "int4": 0.25, "nf4": 0.25}


@pytest.mark.parametrize("quantize", BOUNDS)
def test_a_whole_quantized_model_stays_near(quantize: str, tmp_path: Path) -> None:
    saved(TINY, tmp_path / "model")
    ids = torch.tensor([[1, 5, 9, 20, 33, 47]])
    exact = load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu")).model(ids)
    loaded = load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu", quantize=quantize))
    assert loaded.kernel.name.startswith(quantize)
    assert 0 < relative(loaded.model(ids), exact) < 2 * BOUNDS[quantize]


@pytest.mark.parametrize("quantize", BOUNDS)
def test_the_embedded_model_stays_near(quantize: str) -> None:
    assert 0 < distance(open_checkpoint(EMBEDDED), quantize) < BOUNDS[quantize] / 2


@needs_fixtures
@pytest.mark.parametrize("quantize", BOUNDS)
def test_the_conformance_models_stay_near(quantize: str) -> None:
    opened = list(openable())
    assert opened
    for checkpoint in opened:
        # Twice, as for a random model: a set's weights need not be fitted, and rounding errs most where none is spare.
        assert 0 < distance(checkpoint, quantize) < 2 * BOUNDS[quantize], checkpoint.folder


def openable() -> Iterator[Checkpoint]:
    """The conformance checkpoints that are models by themselves, or find their base beside them."""
    for folder in sorted((FIXTURES / "checkpoints").iterdir()):
        with contextlib.suppress(ModelError):
            yield open_checkpoint(folder)


def distance(checkpoint: Checkpoint, quantize: str) -> float:
    """How far a quantized model's logits are from float32's, relative, over random tokens."""
    config, tensors = checkpoint.config, checkpoint.tensors
    ids = torch.randint(4, config.language.vocab_size, (4, 64), generator=torch.Generator().manual_seed(0))
    ids[ids == config.image_token_id] = 4
    exact = load_for_inference(config, tensors, Placement(device="cpu", dtype="float32")).model(ids)
    placement = Placement(device="cpu", dtype="float32", quantize=quantize)
    return relative(load_for_inference(config, tensors, placement).model(ids), exact)


def relative(y: Tensor, exact: Tensor) -> float:
    """The error's norm, in parts of what is exact."""
    return float((y - exact).norm() / exact.norm())


def test_only_the_language_layers_are_quantized(tmp_path: Path) -> None:
    saved(TINY, tmp_path / "model")
    exact = load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu")).model
    model = load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu", quantize="int4")).model
    pixels = torch.randn(2, 3, 56, 56, generator=torch.Generator().manual_seed(5))
    hidden = torch.randn(1, 3, 48, generator=torch.Generator().manual_seed(6))
    assert torch.equal(model.encode_pictures(pixels), exact.encode_pictures(pixels))
    assert torch.equal(model.language_model.logits(hidden), exact.language_model.logits(hidden))


def test_the_choice_says_why() -> None:
    small = choose_kernel(torch.device("cpu"), torch.float32, "none", 1_000_000)
    large = choose_kernel(torch.device("cpu"), torch.float32, "none", 1_000_000_000)
    assert small.name == "plain"
    assert small.why and large.why
    assert large.label in ("plain-float32", "packed-float32")
