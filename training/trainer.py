"""The loop that trains every stage: tower, text, pretrain, finetune.

A `Stage` says what is drawn, what the loss is and what is saved; the loop knows steps, rates, checkpoints and Ctrl-C,
and nothing of models or data. It is a lean loop of ours and not transformers' Trainer, because the packed steps of the
picture world are 0.2 s on one core (the Trainer's own bookkeeping is a good part of that), because a run may end by the
clock, and because a state that is loaded strictly from one file makes "k steps, then resume" equal to never stopping.
"""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from types import FrameType
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.data import DataLoader, Dataset

from llava_engine.errors import DataError, LlavaError
from llava_engine.files.atomic import replaced_file, storage_errors
from llava_engine.files.lock import held
from llava_engine.model.linear import has_fast_bfloat16
from training.config import STATE_FILE, Optim, Run
from training.figures import Figures
from training.movable import moved
from training.track import Track

LOCK_FILE = ".lock"
_TOLD = ("factor", "betas", "eps", "weight_decay")  # of a group of parameters: settings, and no state


@dataclass(frozen=True)
class ParameterGroup:
    """Parameters that share a rate: `factor` times the run's, from `start` (0 to 1 of the run) on; frozen before."""

    parameters: tuple[nn.Parameter, ...]
    factor: float = 1.0
    start: float = 0.0


class Source(Protocol):
    """Makes the batch of a key. It runs in a worker process, so it holds no model."""

    def __getitem__(self, key: Any) -> Any: ...


class Stage(Protocol):
    """What is trained. `name` tells one kind of training state from another."""

    name: str

    @property
    def source(self) -> Source: ...

    def batch_key(self, step: int, progress: float) -> Any:
        """What the batch of `step` shall be: a small value that, with the seed, decides it wholly."""
        ...

    def loss(self, batch: Any, step: int, progress: float) -> tuple[Tensor, Figures]:
        """The loss of a batch, which is on the run's device, and figures to watch. Nothing is read from the device."""
        ...

    def groups(self) -> list[ParameterGroup]:
        """What is trained, and at which rates."""
        ...

    def modules(self) -> dict[str, nn.Module]:
        """What a training state holds."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """What else a resumed run must know (a curriculum's place): plain numbers and strings."""
        ...

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The other way of `state_dict`."""
        ...

    def export(self, out: Path) -> None:
        """Write the model, as others read it, into `out`."""
        ...


@dataclass(frozen=True)
class Outcome:
    """How a run ended: after which step, after how much training time, whether someone stopped it."""

    step: int
    seconds: float
    interrupted: bool


def train(stage: Stage, run: Run, optim: Optim, say: Callable[[str], None] = lambda _line: None) -> Outcome:
    """Train a stage to the end of its run, or until Ctrl-C; the state is written either way.

    Raises:
        DataError: there is nothing to resume, the state is another stage's or is damaged, or a row can not be read;
            what was trained till then is saved.
        StorageError: the run's folder can not be written (the state that was saved last stays), or another process
            trains into it.
    """
    _folder(run.out)
    with held(run.out / LOCK_FILE, run.out):
        return _train(stage, run, optim, say)


def _train(stage: Stage, run: Run, optim: Optim, say: Callable[[str], None]) -> Outcome:
    """`train`, when nobody else writes there."""
    if run.threads is not None:
        torch.set_num_threads(run.threads)
    for module in stage.modules().values():  # first: an optimizer's state goes where its parameters are
        module.to(run.device).train()
    groups = stage.groups()
    optimizer = _optimizer(groups, optim)
    step, seconds = 0, 0.0
    if run.resume:
        step, seconds = load_state(stage, optimizer, run.out)
    track = Track(run, stage.name, step, seconds, say)
    bf16 = run.precision == "bf16" or (run.precision == "auto" and has_bf16(run.device))
    trained = [parameter for group in groups for parameter in group.parameters]

    clock = time.perf_counter
    began, saved = clock() - seconds, clock()
    place = [step]  # read by the keys, which run ahead of the steps by the workers' queue

    def keys() -> Iterator[Any]:
        while True:
            yield stage.batch_key(place[0], run.progress(place[0], clock() - began))
            place[0] += 1

    with _stop_signal() as stopped, _attention(run.device), torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        device = torch.device(run.device)
        batches = iter(_loader(stage.source, keys(), run.workers, pinned=device.type == "cuda"))
        while (progress := run.progress(step, clock() - began)) < 1 and not stopped.is_set():
            asked = clock()
            batch = _next(batches)
            track.waited += clock() - asked
            if isinstance(batch, _Refused):
                if step:
                    save_state(stage, optimizer, run.out, step, seconds)
                raise DataError(batch.cause, batch.remedy)
            for group in groups:
                for parameter in group.parameters:
                    parameter.requires_grad_(progress >= group.start)
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss, figures = stage.loss(moved(batch, device), step, progress)
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(trained, optim.clip)
            rate = optim.rate(step, progress, run.steps)
            for row in optimizer.param_groups:
                row["lr"] = rate * row["factor"]
            optimizer.step()
            step += 1
            seconds = clock() - began
            track.step(step, seconds, loss.detach(), rate, figures)
            if clock() - saved > 60 * run.save_minutes:
                save_state(stage, optimizer, run.out, step, seconds)
                stage.export(run.out)
                saved = clock()
        del batches
    if track.steps or not run.resume:  # else the run was done before, and its files stand
        save_state(stage, optimizer, run.out, step, seconds)
        stage.export(run.out)
    track.close(step, seconds)
    return Outcome(step, seconds, run.progress(step, seconds) < 1)


def has_bf16(device: str) -> bool:
    """Whether bfloat16 products are fast there: GPUs that have them, CPUs with AVX-512 BF16 or AMX."""
    if torch.device(device).type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    return has_fast_bfloat16()


def save_state(stage: Stage, optimizer: torch.optim.Optimizer, out: Path, step: int, seconds: float) -> None:
    """Write what a resumed run needs, to a temporary name first."""
    state = {
        "stage": stage.name,
        "step": step,
        "seconds": seconds,
        "modules": {name: module.state_dict() for name, module in stage.modules().items()},
        "optimizer": optimizer.state_dict(),
        "stage_state": stage.state_dict(),
    }
    with replaced_file(out / STATE_FILE) as part:
        torch.save(state, part)


def load_state(stage: Stage, optimizer: torch.optim.Optimizer, out: Path) -> tuple[int, float]:
    """Put a written state back, strictly; returns (step, training time in seconds)."""
    path = out / STATE_FILE
    if not path.is_file():
        raise DataError(f"There is nothing to resume in {out}.", "Leave --resume away to start anew.")
    broken = DataError(
        f"The training state in {out} is damaged, or of another version.", "Start anew, in another --out."
    )
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        name = state["stage"]
    except (RuntimeError, EOFError, OSError, ValueError, LookupError, TypeError, UnpicklingError) as error:
        raise broken from error
    if name != stage.name:
        raise DataError(f"The training state in {out} is of '{name}', not of '{stage.name}'.")
    try:
        for name, module in stage.modules().items():
            module.load_state_dict(state["modules"][name])
        told = [{name: row[name] for name in _TOLD} for row in optimizer.param_groups]
        optimizer.load_state_dict(state["optimizer"])
        for row, settings in zip(optimizer.param_groups, told, strict=True):
            row.update(settings)  # a resumed run may be told other ones
        stage.load_state_dict(state["stage_state"])
        return int(state["step"]), float(state["seconds"])
    except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
        raise broken from error


def _optimizer(groups: Iterable[ParameterGroup], optim: Optim) -> torch.optim.Optimizer:
    rows = []
    for group in groups:
        matrices = [p for p in group.parameters if p.ndim > 1]
        others = [p for p in group.parameters if p.ndim <= 1]
        rows += [{"params": matrices, "weight_decay": optim.weight_decay, "factor": group.factor}] if matrices else []
        rows += [{"params": others, "weight_decay": 0.0, "factor": group.factor}] if others else []
    return torch.optim.AdamW(rows, lr=optim.learning_rate, betas=optim.betas, fused=True)


@dataclass(frozen=True)
class _Refused:
    """Why there is no batch. An error that a worker process raises comes out as the text of its traceback."""

    cause: str
    remedy: str


class _Drawn(Dataset[Any]):
    """A source, as torch's loader wants it."""

    def __init__(self, source: Source) -> None:
        self.source = source

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.source[key]
        except LlavaError as error:
            return _Refused(error.cause, error.remedy)


def _loader(source: Source, keys: Iterator[Any], workers: int, *, pinned: bool) -> DataLoader[Any]:
    return DataLoader(
        _Drawn(source),
        sampler=keys,  # any iterator of keys will do
        batch_size=None,
        num_workers=workers,
        prefetch_factor=2 if workers else None,
        pin_memory=pinned,
        worker_init_fn=_leave_signals if workers else None,
    )


def _next(batches: Iterator[Any]) -> Any:
    """The next batch, or why there is none, also when the process that prepares it was ended from outside."""
    try:
        return next(batches)
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        return _Refused(
            "A process that prepares batches was ended by the system, which lacks memory or shared memory.",
            "Free some, or prepare them in this process: --workers 0.",
        )


def _leave_signals(_worker: int) -> None:
    """Ctrl-C reaches the whole process group; the batches must go on until the loop has saved."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


@contextmanager
def _stop_signal() -> Iterator[threading.Event]:
    """The first Ctrl-C (or SIGTERM) asks for an end after the step; the second one ends at once."""
    stopped = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stopped
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        if stopped.is_set():
            raise KeyboardInterrupt
        stopped.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _attention(device: str) -> Iterator[None]:
    """On a CPU the fused attention's backward pass takes three times as long as plain products in bfloat16."""
    if torch.device(device).type != "cpu":
        yield
        return
    backend: Any = torch.backends.cuda  # the switch holds for CPUs too, despite its name
    before = backend.fp16_bf16_reduction_math_sdp_allowed()
    backend.allow_fp16_bf16_reduction_math_sdp(True)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        backend.allow_fp16_bf16_reduction_math_sdp(before)


def _folder(out: Path) -> None:
    with storage_errors(out):
        out.mkdir(parents=True, exist_ok=True)
