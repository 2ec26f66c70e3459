"""Models of other families on the command line: shown, asked, and refused where something does not hold."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from unittest.mock import patch

import pytest
from PIL import Image

from llava_engine.checkpoints.catalog import EMBEDDED
from tests.llava_engine.backends.transformers.families import build
from tests.llava_tui.conftest import Llava


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("llava_onevision", tmp_path_factory.mktemp("families") / "onevision")


def test_it_is_shown_with_what_holds(llava: Llava, folder: Path) -> None:
    done = llava("models", "show", str(folder))
    assert done.code == 0
    for words in ("LlavaOnevisionForConditionalGeneration", "transformers", "--dtype", "--quantize", "512 tokens"):
        assert words in done.out
    facts = json.loads(llava("models", "show", str(folder), "--json").out)
    assert facts["family"] == "llava_onevision" and facts["class"] == "LlavaOnevisionForConditionalGeneration"
    assert facts["memory"][0]["weights"] == facts["parameters"] * 4


def test_what_it_lacks_is_shown_and_ends_with_an_error(llava: Llava, folder: Path) -> None:
    with patch("importlib.metadata.version", side_effect=PackageNotFoundError):
        done = llava("models", "show", str(folder))
    assert done.code == 1 and str(folder) in done.out
    assert "Install it with: pip install -c constraints.txt '.[hf]'" in done.err
    done = llava("models", "show", str(folder), "--quantize", "int8")
    assert done.code == 2 and "--quantize does not hold" in done.err


def test_it_answers(llava: Llava, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    asked = ("ask", "-i", str(tmp_path / "red.png"), "What?", "--model", str(folder), "--max-new-tokens", "3")
    done = llava(*asked, "--json", "--device", "cpu")
    assert done.code == 0
    facts = json.loads(done.out)
    assert facts["completion_tokens"] <= 3 and facts["images"][0]["tokens"] > 16
    assert llava(*asked, "--quantize", "int4").code == 2
    assert llava(*asked, "--context", "20").code == 1
    assert "--backend can not be" in llava(*asked, "--backend", "jax").err


def test_more_pictures_than_ours_would_open_at_once(llava: Llava, folder: Path, tmp_path: Path) -> None:
    Image.new("RGB", (40, 30), "red").save(tmp_path / "red.png")
    done = llava(
        "ask", *(["-i", str(tmp_path / "red.png")] * 10), "What?", "--model", str(folder), "--max-new-tokens", "1"
    )
    assert done.code == 0


def test_ours_by_transformers_wants_a_chat_template(llava: Llava) -> None:
    done = llava("ask", "Hello", "--backend", "transformers")
    assert done.code == 1 and "no chat template" in done.err


def test_opening_one_of_ours_loads_no_transformers() -> None:
    code = "import sys; from llava_engine.backends.opening import open_engine; from llava_engine import Source\n"
    code += f"for model in (None, {str(EMBEDDED)!r}): open_engine(Source(model))\n"
    code += "print('transformers' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
