"""Loading takes the final size, the largest tensor and 300 MB, interpreter and torch included, whatever the form."""

from __future__ import annotations

import gc
import sys
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch

from llava_engine.checkpoints import load as loading
from llava_engine.checkpoints.load import load_for_inference
from llava_engine.contract import LoadProgress
from llava_engine.errors import LoadCancelledError, OutOfMemoryError
from llava_engine.files import tensor_files
from llava_engine.model import linear
from llava_engine.model.config import LlavaConfig
from llava_engine.opening import Placement
from tests.llava_engine.large import load_apart, wide, write_large
from tests.llava_engine.tiny import TINY, parts, saved

MB = 10**6
QUANTIZED = ("none", "int8", "int4", "nf4")

reads_proc = pytest.mark.skipif(sys.platform != "linux", reason="the system's own figures are read from /proc")


def bound(config: LlavaConfig, final: int) -> int:
    """Final size, the largest tensor as stored, and 300 MB."""
    return final + config.language.vocab_size * config.language.hidden_size * 2 + 300 * MB


@reads_proc
@pytest.mark.parametrize("quantize", QUANTIZED)
def test_a_checkpoint_of_a_few_layers(quantize: str, tmp_path: Path) -> None:
    config = wide(layers=1)
    stored = write_large(config, tmp_path / "model")
    took = load_apart(tmp_path / "model", dtype="bfloat16", quantize=quantize)
    assert took["peak"] <= bound(config, took["final"])
    assert took["final"] <= stored * 1.01


@reads_proc
@pytest.mark.slow
def test_a_checkpoint_of_two_gigabytes(tmp_path: Path) -> None:
    config = wide(layers=18)
    assert write_large(config, tmp_path / "model") > 2000 * MB
    for quantize in QUANTIZED:
        took = load_apart(tmp_path / "model", dtype="bfloat16", quantize=quantize)
        assert took["peak"] <= bound(config, took["final"]), quantize


@pytest.mark.parametrize("zipped", [True, False])
def test_a_bin_is_mapped_and_let_go_of(zipped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = {f"t{index}": torch.full((3, index + 1), float(index)) for index in range(6)}
    torch.save(content, tmp_path / "pytorch_model.bin", _use_new_zipfile_serialization=zipped)
    monkeypatch.setattr(tensor_files, "MAPPED_BYTES", 0)
    maps: list[weakref.ref[torch.Tensor]] = []
    from_file = torch.from_file

    def counting(*args: Any, **options: Any) -> Any:
        maps.append(weakref.ref(made := from_file(*args, **options)))
        return made

    monkeypatch.setattr(torch, "from_file", counting)
    tensors = tensor_files.TensorFiles(tmp_path)
    for name, expected in content.items():
        assert torch.equal(tensors.read(name), expected)
    assert len(maps) == len(content) and not any(one() is not None for one in maps)


def test_progress_counts_the_bytes_of_the_files(tmp_path: Path) -> None:
    stored = write_large(wide(layers=1, width=128, vocabulary=100), tmp_path / "model")
    seen: list[LoadProgress] = []
    load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu"), on_progress=seen.append)
    assert {step.total for step in seen} == {stored}
    assert [step.done for step in seen] == sorted(step.done for step in seen)
    assert seen[-1].done == stored


def test_a_cancel_is_heard_between_tensors_and_frees_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(TINY, tmp_path / "model")
    made = remembered(monkeypatch)
    reads = iter(range(10**9))
    with pytest.raises(LoadCancelledError) as caught:
        load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu"), cancelled=lambda: next(reads) > 40)
    gc.collect()
    assert len(made) > 5 and not any(one() is not None for one in made), "the error must not keep the layers alive"
    assert caught.value.cause


@pytest.mark.parametrize(
    "no_memory",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB."),
        MemoryError(),
        RuntimeError("[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["cuda", "python", "cpu"],
)
def test_memory_that_runs_out_is_one_clear_error_with_the_plan(
    no_memory: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved(TINY, tmp_path / "model")
    made = remembered(monkeypatch, fail_after=6, failure=no_memory)
    with pytest.raises(OutOfMemoryError, match=r"Memory of cpu ran out while loading the model\.") as caught:
        load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu"))
    gc.collect()
    assert not any(one() is not None for one in made)
    assert "\n" not in caught.value.cause + caught.value.remedy
    assert caught.value.remedy
    assert caught.value.plan.total > 0


def test_what_does_not_fit_is_refused_before_a_tensor_is_read(tmp_path: Path) -> None:
    saved(TINY, tmp_path / "model")
    config, tensors = parts(tmp_path / "model")
    read = tensors.read
    names: list[str] = []

    def reading(name: str) -> torch.Tensor:
        names.append(name)
        return read(name)

    tensors.read = reading  # type: ignore[method-assign]
    with pytest.raises(OutOfMemoryError, match=r"on cpu, where 10\.0 MiB may be used") as caught:
        load_for_inference(config, tensors, Placement(device="cpu", max_memory="10MiB"))
    assert not names
    assert not caught.value.plan.fits


def test_another_runtime_error_stays_what_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(TINY, tmp_path / "model")
    remembered(monkeypatch, fail_after=0, failure=RuntimeError("a bug"))
    with pytest.raises(RuntimeError, match="a bug"):
        load_for_inference(*parts(tmp_path / "model"), Placement(device="cpu"))


def remembered(
    monkeypatch: pytest.MonkeyPatch, fail_after: int | None = None, failure: BaseException | None = None
) -> list[weakref.ref[Any]]:
    """Weak references to all linear layers that a load makes, the one after `fail_after` of which may fail."""
    made: list[weakref.ref[Any]] = []
    make = linear.make_linear

    def making(*args: Any) -> Any:
        if fail_after is not None and failure is not None and len(made) >= fail_after:
            raise failure
        layer = make(*args)
        made.append(weakref.ref(layer))
        return layer

    monkeypatch.setattr(loading, "make_linear", making)
    return made
