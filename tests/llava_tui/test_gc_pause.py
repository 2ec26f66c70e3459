"""The garbage collector rests while a program starts, and works afterwards."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest
from typer.testing import CliRunner

from llava_tui import gc_pause
from llava_tui.commands import ask


def test_it_rests_and_then_works_on_what_comes_later() -> None:
    kept = gc.get_freeze_count()
    gc_pause.rest()
    assert not gc.isenabled()
    gc_pause.resume()
    assert gc.isenabled()
    assert gc.get_freeze_count() > kept
    gc.unfreeze()


def test_it_works_again_when_a_model_could_not_be_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def load(*args: object, **options: object) -> None:
        seen.append(gc.isenabled())
        raise RuntimeError("no model")

    monkeypatch.setattr(ask, "_load", load)
    CliRunner().invoke(ask.app, ["-q", "What is this?"])
    assert seen == [False]
    assert gc.isenabled()
    gc.unfreeze()
