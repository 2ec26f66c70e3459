"""What README.md shows is run as it is written there, in a folder with the pictures that it names."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageDraw

from tests.llava_engine.originals import JUNE, LLAMA, NEWEST, ROWS, WIDTH, language, projector, write, write_tower
from tests.llava_engine.test_engine_mpt import CONFIG as MPT
from tests.llava_engine.test_engine_mpt import MARKS as MPT_MARKS
from tests.llava_engine.test_engine_mpt import tensors as mpt_tensors
from tests.llava_engine.tiny import TINY, complete
from tests.source import ROOT

README = (ROOT / "README.md").read_text(encoding="utf-8")
SHELL_LINES = [line for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) for line in block.splitlines()]
PYTHON_BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)

# What can not be run in a test: full screens, downloads, hours of training, changes to the person's own shell.
NOT_HERE = re.compile(
    r"^pip |llava chat|://|llava (train|eval) (?!--help)|llava models get|--install-completion|llava serve"
)
RUNNABLE = [line for line in SHELL_LINES if "llava" in line and not NOT_HERE.search(line)]
SERVERS = [line for line in SHELL_LINES if line.startswith("llava serve")]
EVALUATION = [line for line in SHELL_LINES if re.match("llava eval (sets|vqa|score|compare)", line)]
ASKING = [line for line in SHELL_LINES if "--engine" in line and "llava chat" not in line]
CURL = [line for line in SHELL_LINES if line.startswith("curl -s http://127.0.0.1:8000")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the pictures of the README."""
    for name, colour in (("photo.jpg", "red"), ("a.png", "green"), ("b.png", "blue")):
        image = Image.new("RGB", (200, 160), "white")
        ImageDraw.Draw(image).ellipse((60, 40, 140, 120), fill=colour)
        image.save(tmp_path / name)
    return tmp_path


def stand_in(folder: Path) -> None:
    """A tiny random model in the form of the one that the README names there."""
    if not (folder.parent / "eyes").exists():
        write_tower(folder.parent / "eyes")
    base = language(ROWS)
    whole = {**base, **projector(2)}
    v0 = ("[PAD]", "<im_patch>", "<im_start>", "<im_end>")
    match folder.name:
        case "llava-v1.5-7b":
            write(folder, {**NEWEST, "vocab_size": ROWS}, whole)
        case "llava-1.5-7b-hf":
            complete(TINY, folder)
        case "LLaVA-Lightning-MPT-7B-preview":
            write(folder, MPT, mpt_tensors(), added=MPT_MARKS)
        case "llama-13b" | "vicuna-7b-v1.5":
            write(folder, {"model_type": "llama", **LLAMA, "vocab_size": ROWS}, base)
        case "LLaVA-13b-delta-v0":
            tuned = {**language(ROWS + len(v0), seed=7), **projector(1)}
            delta = {name: 0.01 * tensor for name, tensor in tuned.items()}
            config = {**JUNE, "mm_use_im_start_end": True, "vocab_size": ROWS + len(v0)}
            write(folder, config, delta, added=v0)
        case "llava-v1.5-7b-lora":
            write(folder, {**NEWEST, "vocab_size": ROWS}, {}, names=False)
            settings = {"peft_type": "LORA", "r": 2, "lora_alpha": 4, "target_modules": ["q_proj"]}
            (folder / "adapter_config.json").write_text(json.dumps(settings))
            at = "base_model.model.model.layers.0.self_attn.q_proj.lora_"
            torch.save(
                {f"{at}A.weight": torch.ones(2, WIDTH), f"{at}B.weight": torch.ones(WIDTH, 2)},
                folder / "adapter_model.bin",
            )
            rest = {f"base_model.model.{name}": tensor for name, tensor in projector(2).items()}
            torch.save(rest, folder / "non_lora_trainables.bin")
        case name:
            raise AssertionError(f"the README names {name}, and no stand-in is like it")


@pytest.mark.parametrize("line", RUNNABLE)
def test_the_shell_lines_work(line: str, folder: Path) -> None:
    here = Path(sys.executable).parent
    for name in re.findall(r"(?<!--out )(?<!--target )~/([\w.-]+)", line):
        stand_in(folder / name)
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {line}"],
        cwd=folder,
        env=os.environ
        | {"PATH": f"{here}{os.pathsep}{os.environ['PATH']}", "LLAVA_HOME": str(folder / "home"), "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()


def test_a_model_is_evaluated_line_by_line(folder: Path) -> None:
    (folder / "photos").mkdir()
    (folder / "labels").mkdir()
    rows = []
    for number, (colour, asked) in enumerate([("red", "red"), ("blue", "red"), ("green", "green"), ("yellow", "blue")]):
        image = Image.new("RGB", (200, 160), "white")
        ImageDraw.Draw(image).ellipse((60, 40, 140, 120), fill=colour)
        image.save(folder / "photos" / f"{colour}.png")
        text = f"Is there a {asked} circle?"
        label = "yes" if asked == colour else "no"
        rows.append(
            {"question_id": number, "image": f"{colour}.png", "text": text, "category": "drawn", "label": label}
        )
    for file in ("questions.jsonl", "labels/coco_pope_drawn.json"):
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows))
    said = {}
    for line in EVALUATION:
        code = f"import sys; sys.argv = {shlex.split(line, comments=True)!r}\nfrom llava_tui.cli import main\nmain()"
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300,
            env=os.environ | {"LLAVA_HOME": str(folder / "home")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        said[line] = done.stdout
    scored = next(text for line, text in said.items() if line.startswith("llava eval score"))
    assert "4 of 4 questions answered" in scored
    assert re.search(r"drawn accuracy +100\.00", scored)  # the model that comes along knows circles
    assert "data:image/jpeg" in (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("line", SERVERS)
def test_the_servers_answer_what_stands_beside_them(line: str, folder: Path) -> None:
    assert CURL
    for name in re.findall(r"~/([\w.-]+)", line):
        stand_in(folder / name)
    (folder / "key.txt").write_text("a-key\n")
    words = [word.replace("~", str(folder)) for word in shlex.split(line, comments=True)[1:]]
    code = "from llava_tui.cli import main; main()"
    server = subprocess.Popen(
        [sys.executable, "-c", code, *words, "--port", "0"], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, env=os.environ | {"LLAVA_HOME": str(folder / "home"), "HOME": str(folder)},
    )  # fmt: skip
    try:
        assert server.stdout
        said = re.match(r"http://[\d.]+:(\d+)/v1 ", server.stdout.readline())
        assert said, server.communicate()[1]
        key = " -H 'Authorization: Bearer a-key'" if "key.txt" in line else ""
        for asked in CURL:
            done = subprocess.run(
                ["bash", "-c", asked.replace(":8000", f":{said[1]}") + key], capture_output=True, text=True, timeout=100
            )
            assert isinstance(json.loads(done.stdout)["choices"][0]["message"]["content"], str)
        server.terminate()
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize("line", ASKING)
def test_other_engines_are_asked_as_it_stands_there(line: str, folder: Path) -> None:
    """Of a server here, by the model's name that the line says; of the pictures that are measured a few."""
    name = re.search(r"--model (\S+)", line)
    code = "from llava_tui.cli import main; main()"
    words = ["serve", "--port", "0", *(["--name", name[1]] if name else [])]
    server = subprocess.Popen(
        [sys.executable, "-c", code, *words], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
        env=os.environ | {"LLAVA_HOME": str(folder / "home")},
    )  # fmt: skip
    try:
        assert server.stdout
        said = re.match(r"(http://[\d.]+:\d+)/v1 ", server.stdout.readline())
        assert said
        asked = re.sub(r"https?://[^\s/]+", said[1], line.partition("#")[0])
        here = shlex.split(asked)[1:] + (["--pictures", "2"] if "eval pictures" in line else [])
        done = subprocess.run(
            [sys.executable, "-c", code, *here], cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            env=os.environ | {"LLAVA_HOME": str(folder / "home")}, timeout=300,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
    finally:
        server.kill()
        server.communicate()


@pytest.mark.parametrize("code", PYTHON_BLOCKS)
def test_the_python_works(code: str, folder: Path) -> None:
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert re.search(r"\S+(stop|length) \d+ [\d.]+", done.stdout)


@pytest.mark.parametrize("line", [line for line in SHELL_LINES if line.startswith("llava")])
def test_every_option_that_is_shown_exists(line: str) -> None:
    words = shlex.split(line, comments=True)
    command = [word for word in words[1:] if not word.startswith("-")][
        : 2 if words[1] in {"train", "eval", "models", "delta"} else 1
    ]
    code = f"import sys; sys.argv = ['llava', *{command!r}, '--help']\nfrom llava_tui.cli import main\nmain()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    shown = set(re.findall(r"(?<!\w)--?\w[\w-]*", done.stdout))
    assert {word for word in words if word.startswith("-") and word != "-"} <= shown


def test_the_two_commands_stand_at_the_top() -> None:
    assert SHELL_LINES[:2] == [
        "pip install -c constraints.txt . && llava chat",
        "pip install -c constraints.txt -e '.[test]' && pytest -n auto --dist loadfile",
    ]


@pytest.mark.parametrize("target", re.findall(r"\]\(([^):#]+)\)", re.sub(r"<!--.*?-->", "", README, flags=re.DOTALL)))
def test_every_link_leads_somewhere(target: str) -> None:
    assert (ROOT / target).exists()


def test_the_model_card_has_the_same_figures() -> None:
    between = re.compile(r"<!-- figures:begin -->\n(.*?)<!-- figures:end -->", re.DOTALL)
    card = (ROOT / "llava_engine" / "embedded" / "README.md").read_text(encoding="utf-8")
    assert between.findall(card) == between.findall(README)
    assert between.findall(README)[0].startswith("| family |")
