"""Nothing is half written: places that are taken or too small, runs that were cut off and go on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import namedtuple
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.delta import delta
from llava_engine.errors import ModelError, StorageError
from llava_engine.files import drafts
from tests.llava_engine.checkpoints.delta.deltas import (
    after,
    base_tensors,
    nothing_new,
    read,
    refused,
    same_bits,
    tuned,
)


def test_folders_must_differ(tmp_path: Path, base: Path, change: Path) -> None:
    refused(tmp_path, base, change, "read and written", target=base)
    refused(tmp_path, base, change, "read and written", target=tmp_path / "base" / ".." / "change")
    refused(tmp_path, base, base, "given twice")
    (tmp_path / "other").symlink_to(base)
    refused(tmp_path, base, change, "read and written", target=tmp_path / "other")
    refused(tmp_path, base, tmp_path / "other", "given twice")


def test_a_taken_target_is_refused(tmp_path: Path, base: Path, change: Path, target: Path) -> None:
    before = read(target)
    refused(tmp_path, base, change, "there already", target=target)
    assert same_bits(read(target), before)


def test_a_missing_folder_or_pointers_in_place_of_weights_are_named(tmp_path: Path, base: Path, change: Path) -> None:
    refused(tmp_path, tmp_path / "nowhere", change, "no model folder")
    (change / "pytorch_model.bin").write_text(
        f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\nsize 99\n"
    )
    refused(tmp_path, base, change, "git lfs pull")


def test_too_small_a_disk_is_said_first(
    tmp_path: Path, base: Path, change: Path, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(drafts.shutil, "disk_usage", lambda _: usage(10**12, 0, 10**6))
    refused(tmp_path, base, change, "disk space")
    with pytest.raises(StorageError, match="disk space"):
        delta.make(base, target, tmp_path / "made")
    assert nothing_new(tmp_path)


@pytest.mark.parametrize("broken", ["record", "missing", "format", "another", "uneven", "floats"])
def test_a_record_that_does_not_fit_is_an_error_of_ours(tmp_path: Path, base: Path, target: Path, broken: str) -> None:
    made = tmp_path / "made"
    delta.make(base, target, made)
    exact = made / "exact.safetensors"
    if broken == "record":
        (made / "delta.json").write_text('{"format": 1, "base": 3}')
    elif broken == "missing":
        exact.unlink()
    elif broken == "format":
        (made / "delta.json").write_text('{"format": 99}')
    elif broken == "uneven":
        save_file({name: tensor[name.endswith(".places") :] for name, tensor in load_file(exact).items()}, exact)
    elif broken == "floats":
        save_file({name: tensor.float() for name, tensor in load_file(exact).items()}, exact)
    else:
        tensors = load_file(exact)
        save_file({name: torch.flip(tensor, (0,)).contiguous() + 1000 for name, tensor in tensors.items()}, exact)
    with pytest.raises(ModelError, match="made"):
        delta.apply(base, made, tmp_path / "again")
    assert not (tmp_path / "again").exists()


# Cut off, and gone on with

KILLED = """
import os, signal, sys
from pathlib import Path
from llava_engine.checkpoints.delta import delta
def tell(at):
    if at.done > at.total * 0.6:
        os.kill(os.getpid(), signal.SIGKILL)
what, *folders = sys.argv[1:]
getattr(delta, what)(*map(Path, folders), shard_bytes=20_000, on_progress=tell)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL here")
@pytest.mark.parametrize("what", ["apply", "make"])
def test_a_killed_run_leaves_nothing_under_the_name_and_goes_on(
    tmp_path: Path, base: Path, change: Path, target: Path, what: str
) -> None:
    other = change if what == "apply" else target
    made = tmp_path / "made"
    work = getattr(delta, what)
    command = [sys.executable, "-c", KILLED, what, str(base), str(other), str(made)]
    ended = subprocess.run(
        command, capture_output=True, timeout=120, env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    assert not made.exists()
    with pytest.raises(StorageError, match="--resume"):
        work(base, other, made, shard_bytes=20_000)
    kept = {file.name: file.stat().st_ino for file in drafts.unfinished(made).glob("*.safetensors")}
    assert kept
    told: list[int] = []
    work(base, other, made, shard_bytes=20_000, resume=True, on_progress=lambda at: told.append(at.done))
    assert kept.items() <= {file.name: file.stat().st_ino for file in made.iterdir()}.items()
    work(base, other, tmp_path / "at once", shard_bytes=20_000)
    assert {file.name: file.read_bytes() for file in made.iterdir()} == {
        file.name: file.read_bytes() for file in (tmp_path / "at once").iterdir()
    }
    assert told == sorted(told)
    assert told[-1] == sum(tensor.nbytes for tensor in read(made).values())


def content(folder: Path) -> dict[Path, bytes]:
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


STOPPED = """
import os, signal, sys
from pathlib import Path
from llava_engine.checkpoints.convert import convert
from llava_engine.checkpoints.delta import delta
def tell(at):
    if at.done == at.total:
        os.kill(os.getpid(), signal.SIGSTOP)
what, *folders = sys.argv[1:]
one, other, made = map(Path, folders)
if what == "convert":
    convert(one, "original", made, shard_bytes=20_000, on_progress=tell)
else:
    getattr(delta, what)(one, other, made, shard_bytes=20_000, on_progress=tell)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="no SIGSTOP here")
@pytest.mark.parametrize("what", ["apply", "make", "convert"])
def test_nobody_works_beside_one_that_is_stopped(
    tmp_path: Path, base: Path, change: Path, target: Path, room: Path, what: str
) -> None:
    """Stopped before the last file has its name; another one with --resume would make the rest, and both be broken."""
    made = tmp_path / "made"
    other = change if what == "apply" else target
    if what == "convert":
        base = room / "hf"

    def work(place: Path, **options: Any) -> None:
        if what == "convert":
            convert(base, "original", place, shard_bytes=20_000, **options)
        else:
            getattr(delta, what)(base, other, place, shard_bytes=20_000, **options)

    command = [sys.executable, "-c", STOPPED, what, str(base), str(other), str(made)]
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[4])}
    first = subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)
    try:
        _, status = os.waitpid(first.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status)
        with pytest.raises(StorageError, match=rf"made is being written by process {first.pid}, since 20\d\d-"):
            work(made, resume=True)
        first.send_signal(signal.SIGCONT)
        _, said = first.communicate(timeout=60)
        assert first.returncode == 0, said
    finally:
        first.kill()
    work(tmp_path / "at once")
    assert content(made) == content(tmp_path / "at once")


def test_nobody_goes_on_over_another_base(tmp_path: Path, base: Path, change: Path) -> None:
    def stop(_: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        delta.apply(base, change, tmp_path / "made", shard_bytes=5000, on_progress=after(3, stop))
    save_file(tuned(base_tensors(), 0.01), base / "model.safetensors")
    with pytest.raises((ModelError, StorageError)):
        delta.apply(base, change, tmp_path / "made", shard_bytes=5000, resume=True, force=True)
    assert not (tmp_path / "made").exists()
