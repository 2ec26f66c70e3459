"""`llava convert`, as a person or a script uses it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from llava_engine.checkpoints.catalog import EMBEDDED
from llava_engine.files.tensor_files import TensorFiles
from tests.llava_engine.originals import LLAMA, NEWEST, ROWS, WIDTH, language, projector, write, write_tower
from tests.llava_tui.conftest import Llava
from tests.source import ROOT


@pytest.fixture
def room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A LLaVA 1.5, its language model, its projector's file, and an adapter; all of them tiny."""
    monkeypatch.chdir(tmp_path)
    write_tower(tmp_path / "eyes")
    settings = {**NEWEST, "vocab_size": ROWS}
    write(tmp_path / "model", settings, {**language(ROWS), **projector(2)})
    write(tmp_path / "base", {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, language(ROWS))
    torch.save(projector(2), tmp_path / "projector.bin")
    lora = write(tmp_path / "lora", settings, {}, names=False)
    (lora / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 4, "peft_type": "LORA"}))
    module = "base_model.model.model.layers.0.self_attn.q_proj"
    matrices = {f"{module}.lora_A.weight": torch.ones(2, WIDTH), f"{module}.lora_B.weight": torch.ones(WIDTH, 2)}
    save_file(matrices, lora / "adapter_model.safetensors")
    torch.save(projector(2), lora / "non_lora_trainables.bin")
    return tmp_path


def test_a_pipe_gets_the_folder_and_nothing_else(llava: Llava, room: Path) -> None:
    done = llava("convert", "model", "--to", "hf", "--out", "made")
    assert (done.code, done.out) == (0, "made\n")
    assert "tensors" in done.err and "<image>" in done.err
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {each.name for each in Path("made").iterdir()}


def test_every_made_folder_answers_as_the_model_does(llava: Llava, room: Path) -> None:
    question = ("-i", "picture.png", "What is this?", "--max-new-tokens", "8")
    from PIL import Image

    Image.new("RGB", (40, 30), "red").save("picture.png")
    expected = llava("ask", "--model", "model", *question)
    assert expected.code == 0 and expected.out.strip()
    for to in ("hf", "original"):
        assert llava("convert", "model", "--to", to, "--out", to).code == 0
        assert llava("ask", "--model", to, *question).out == expected.out
    assert llava("convert", "hf", "--to", "original", "--out", "back").code == 0
    shutil.rmtree("eyes")  # the towers lie inside
    for made in ("hf", "original", "back"):
        assert llava("ask", "--model", made, *question).out == expected.out


def test_an_adapter_and_a_projector_over_a_base(llava: Llava, room: Path) -> None:
    assert "--base" in llava("convert", "lora", "--to", "merged", "--out", "x").err
    done = llava("convert", "lora", "--base", "base", "--to", "merged", "--out", "merged", "--dtype", "float16")
    assert done.code == 0
    weight = TensorFiles(Path("merged")).read("model.layers.0.self_attn.q_proj.weight")
    expected = language(ROWS)["model.layers.0.self_attn.q_proj.weight"] + 4.0  # 4 / 2 · 1·1, over two ranks
    assert torch.equal(weight, expected.half())

    arguments = ("convert", "projector.bin", "--to", "hf", "--out", "whole", "--base", "base")
    assert "--tower" in llava(*arguments).err
    assert llava(*arguments, "--tower", "eyes").code == 0
    assert llava("convert", "model", "--to", "projector", "--out", "alone").code == 0
    assert llava("convert", "alone", "--to", "hf", "--out", "again", "--base", "base").code == 0
    one, other = (TensorFiles(Path(each)) for each in ("whole", "again"))
    assert one.tensors.keys() == other.tensors.keys()
    assert all(torch.equal(one.read(name), other.read(name)) for name in one.tensors)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("model", "--out", "x"), 2, "--to"),
        (("model", "--to", "hf"), 2, "--out"),
        (("model", "--to", "ggml", "--out", "x"), 2, "gguf"),
        (("model", "--to", "gguf", "--out", "x", "--type", "q3"), 2, "q8_0"),
        (("model", "--to", "gguf", "--out", "x", "--dtype", "float16"), 2, "--dtype does not go with --to gguf"),
        (("model", "--to", "gguf", "--out", "x", "--shard-size", "1GB"), 2, "--shard-size does not go"),
        (("model", "--to", "hf", "--out", "x", "--type", "f32"), 2, "--type does not go with --to hf"),
        (("model", "--to", "hf", "--out", "x", "--verify"), 2, "--verify does not go with --to hf"),
        (("model", "--to", "gguf", "--out", "base"), 1, "is there already"),
        (("model", "--to", "hf", "--out", "x", "--shard-size", "big"), 2, "must be a size"),
        (("model", "--to", "hf", "--out", "x", "--dtype", "int8"), 2, "int8"),
        (("model", "--to", "merged", "--out", "x"), 1, "nothing to merge"),
        (("model", "--to", "hf", "--out", "base"), 1, "is there already"),
        (("model", "--to", "hf", "--out", "model"), 1, "read and written at once"),
        (("base", "--to", "hf", "--out", "x"), 1, "without a vision tower"),
        (("nothing", "--to", "hf", "--out", "x"), 1, "no model folder"),
    ],
)
def test_what_can_not_be_done(llava: Llava, room: Path, arguments: tuple[str, ...], code: int, words: str) -> None:
    done = llava("convert", *arguments)
    assert done.code == code and words in done.err
    assert not done.out and not Path("x").exists()
    assert "Traceback" not in done.err


def test_files_for_llama_cpp(llava: Llava, room: Path) -> None:
    done = llava("convert", "model", "--to", "gguf", "--out", "made", "--type", "f32")
    assert (done.code, done.out) == (0, "made\n")
    assert "25814" in done.err and "llava serve" in done.err
    assert {each.name for each in Path("made").iterdir()} == {"model.gguf", "mmproj-model.gguf", "Modelfile"}


def test_without_the_packages_for_it_a_line_names_them(
    llava: Llava, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("llava_engine.checkpoints.convert.gguf.verify.llama_cpp_installed", lambda: False)
    done = llava("convert", "model", "--to", "gguf", "--out", "x", "--verify")
    assert done.code == 1 and "pip install llama-cpp-python" in done.err and not Path("x").exists()


def test_without_the_extra_its_name_is_said(llava: Llava, room: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    named = [f"{line}; extra == '{extra}'" for extra, lines in extras.items() for line in lines]
    monkeypatch.setattr("llava_tui.commands.extras.requires", lambda package: named)
    for module in [module for module in sys.modules if module.startswith("llava_engine.checkpoints.convert.gguf")]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, "gguf", None)  # as if it were not installed
    done = llava("convert", "model", "--to", "gguf", "--out", "x")
    assert done.code == 1 and ".[gguf]" in done.err and "Traceback" not in done.err
    assert not Path("x").exists()


def test_sizes_of_files(llava: Llava, room: Path) -> None:
    assert llava("convert", "model", "--to", "original", "--out", "x", "--shard-size", "40kB").code == 0
    assert all(each.stat().st_size < 60_000 for each in Path("x").glob("model-*.safetensors"))
    assert len(list(Path("x").glob("model-*.safetensors"))) > 2


def test_ctrl_c_leaves_nothing_under_the_name_and_says_how_to_go_on(room: Path) -> None:
    """A run of its own: the embedded model, in files so small that there is time to stop it."""
    code = (
        "import sys, signal, os\n"
        "from llava_engine.files.shards import ShardWriter\n"
        "write = ShardWriter.write\n"
        "def slow(self, name, tensor):\n"
        "    write(self, name, tensor)\n"
        "    if len(self.missing) == 20: os.kill(os.getpid(), signal.SIGINT)\n"
        "ShardWriter.write = slow\n"
        f"sys.argv = ['llava', 'convert', {str(EMBEDDED)!r}, '--to', 'original', '--out', 'x', '--shard-size', '1kB']\n"
        "from llava_tui.cli import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 130 and "--resume" in done.stderr
    assert not Path("x").exists() and Path(".x.unfinished").is_dir()
    command = [sys.executable, "-c", "from llava_tui.cli import main; main()", "convert", str(EMBEDDED), "--to"]
    again = [*command, "original", "--out", "x", "--shard-size", "1kB", "--resume"]
    assert subprocess.run(again, capture_output=True, text=True, timeout=120).returncode == 0
    assert Path("x", "config.json").exists() and not Path(".x.unfinished").exists()
