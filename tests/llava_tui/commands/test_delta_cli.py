"""`llava delta`: what it prints where, how it ends, and that it goes on after Ctrl-C."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from llava_engine.checkpoints.delta import delta as deltas
from llava_engine.contract import LoadProgress
from tests.llava_engine.checkpoints.delta.deltas import base_tensors, difference, same_bits, target_tensors
from tests.llava_engine.originals import JUNE, LLAMA, write
from tests.llava_tui.conftest import Llava

LLAVA = [sys.executable, "-c", "from llava_tui.cli import main; main()", "delta"]


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with base, target and change, where the commands run."""
    write(tmp_path / "base", {"model_type": "llama", **LLAMA}, base_tensors())
    write(tmp_path / "target", JUNE, target_tensors(base_tensors()))
    write(tmp_path / "change", JUNE, difference(target_tensors(base_tensors()), base_tensors()))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_apply_says_where_the_model_is_and_no_more_on_standard_output(llava: Llava, folders: Path) -> None:
    done = llava("delta", "apply", "--base", "base", "--delta", "change", "--target", "made")
    assert (done.code, done.out) == (0, "made\n")
    assert "The base is the one" in done.err
    assert "\x1b" not in done.err
    assert (folders / "made" / "config.json").exists()


def test_there_and_back_by_the_command_line(llava: Llava, folders: Path) -> None:
    assert llava("delta", "make", "--base", "base", "--target", "target", "--delta", "mine").out == "mine\n"
    checked = llava("delta", "verify", "--base", "base", "--delta", "mine", "--target", "target")
    assert checked.code == 0
    assert checked.out.startswith("sha256 ")
    assert llava("delta", "verify", "--base", "base", "--delta", "mine").out == checked.out
    assert llava("delta", "apply", "--base", "base", "--delta", "mine", "--target", "again").code == 0
    assert same_bits(load_file(folders / "again" / "model.safetensors"), target_tensors(base_tensors()))


def test_verify_ends_with_1_where_they_differ(llava: Llava, folders: Path) -> None:
    tensors = load_file(folders / "target" / "model.safetensors")
    tensors["model.norm.weight"] = tensors["model.norm.weight"] + 1
    save_file(tensors, folders / "target" / "model.safetensors")
    done = llava("delta", "verify", "--base", "base", "--delta", "change", "--target", "target")
    assert done.code == 1
    assert done.out.startswith("sha256 ")
    assert "tensors differ from target" in done.err


def test_a_wrong_base_is_two_lines_and_1_and_force_takes_it(llava: Llava, folders: Path) -> None:
    write(folders / "other", {"model_type": "llama", **LLAMA}, base_tensors(3))
    options = ("--base", "other", "--delta", "change", "--target", "made")
    done = llava("delta", "apply", *options)
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("llava: other has the right shapes, but is not the model")
    assert len(done.err.splitlines()) == 2
    assert not (folders / "made").exists()
    forced = llava("delta", "apply", *options, "--force")
    assert forced.code == 0
    assert "all the same" in forced.err


@pytest.mark.parametrize("command", ["apply", "make", "verify"])
def test_a_missing_option_is_2(llava: Llava, command: str) -> None:
    assert llava("delta", command).code == 2


def test_ctrl_c_says_how_to_go_on(llava: Llava, folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = deltas.apply

    def interrupted(*args: Path, **options: object) -> object:
        def tell(at: LoadProgress) -> None:
            if at.done > at.total // 2:
                raise KeyboardInterrupt

        return real(*args, resume=bool(options["resume"]), shard_bytes=5000, on_progress=tell)

    options = ("delta", "apply", "--base", "base", "--delta", "change", "--target", "made")
    with monkeypatch.context() as patched:
        patched.setattr(deltas, "apply", interrupted)
        done = llava(*options)
    assert (done.code, done.out) == (130, "")
    assert "--resume" in done.err
    assert not (folders / "made").exists()
    again = llava(*options)
    assert again.code == 1
    assert "--resume" in again.err
    with monkeypatch.context() as patched:
        patched.setattr(deltas, "apply", lambda *args, **options: real(*args, resume=True, shard_bytes=5000))
        assert llava(*options, "--resume").code == 0
    assert deltas.verify(folders / "base", folders / "change", folders / "made").differing == ()


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals there")
def test_a_terminal_has_a_bar(folders: Path) -> None:
    big = {"model.layers.0.mlp.up_proj.weight": torch.zeros(2**24, dtype=torch.float16)}
    for name in ("base", "change"):
        save_file(big, folders / name / "model.safetensors")
    ours, theirs = pty.openpty()
    command = [*LLAVA, "apply", "--base", "base", "--delta", "change", "--target", "made"]
    environment = os.environ | {"TERM": "xterm-256color", "PYTHONPATH": str(Path(__file__).parents[3])}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, cwd=folders, env=environment)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:  # how Linux says that the other end is closed
        pass
    assert process.wait(60) == 0
    assert process.stdout is not None
    assert process.stdout.read() == b"made\n"
    assert "adding" in shown.decode()
    os.close(ours)
