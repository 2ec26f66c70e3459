"""`llava doctor` tells what is true here, and goes on where something is broken."""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.llava_tui.conftest import Llava


def test_it_tells_versions_folders_and_the_terminal(
    llava: Llava, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LLAVA_IMAGES", "sixel")
    done = llava("doctor", "--json")
    facts = json.loads(done.out)
    assert facts["versions"]["python"] == platform.python_version()
    assert facts["versions"]["torch"] == version("torch")
    assert facts["versions"]["llava"] == version("llava")
    assert facts["terminal"]["image_protocol"] == "sixel"
    assert any("LLAVA_IMAGES" in why for why in facts["terminal"]["why"])
    assert facts["folders"]["data"] == {"path": str(tmp_path / "home" / "data"), "writable": True}
    assert not (tmp_path / "home").exists()


def test_it_tells_devices_and_kernels_as_torch_has_them(llava: Llava) -> None:
    import torch

    facts = json.loads(llava("doctor", "--json").out)
    names = [device["device"] for device in facts["devices"]]
    assert names[0] == "cpu"
    assert sum(name.startswith("cuda") for name in names) == torch.cuda.device_count()
    assert all(kernel["why"] for kernel in facts["kernels"])


def test_it_says_how_to_get_what_an_extra_lacks(llava: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    from llava_tui.commands import extras

    installed = [extras.Need("torch", "", "2.13.0"), extras.Need("zeppelin", "lighter-than-air", None)]
    monkeypatch.setattr(extras, "needs", lambda: installed)
    done = llava("doctor")
    assert "lacks zeppelin: pip install -c constraints.txt '.[lighter-than-air]'" in done.out


def test_a_folder_that_can_not_be_written_is_said(llava: Llava, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")
    facts = json.loads(llava("doctor", "--json").out)
    assert not facts["folders"]["data"]["writable"]
    assert "can not be written" in llava("doctor").out


def test_a_torch_that_can_not_be_imported_is_a_finding(llava: Llava, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    done = llava("doctor")
    assert done.code == 0
    assert "torch" in done.out
    assert "can not be imported" in done.out


def test_the_page_is_plain_text(llava: Llava) -> None:
    done = llava("doctor")
    assert (done.code, done.err) == (0, "")
    assert all(line.isprintable() for line in done.out.splitlines())
    headings = [line for line in done.out.splitlines() if line and not line.startswith(" ")]
    assert headings == ["Versions", "Devices", "Linear layers", "Terminal", "Installs", "Engines elsewhere", "Folders"]
