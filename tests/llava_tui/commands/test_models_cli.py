"""`llava models`, as a person or a script uses it, against a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from llava_engine.checkpoints.catalog import EMBEDDED
from tests.fakes.fake_hub import COMMIT, FakeHub, cut_after, instead, status
from tests.llava_engine import originals
from tests.llava_tui.conftest import Llava

ID = "someone/a-model"
TABLED = "llava-hf/llava-1.5-7b-hf"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[FakeHub]:
    """A hub that has the embedded model under two names, and an empty cache."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    server = FakeHub()
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.chdir(tmp_path)
    files = {file.name: file.read_bytes() for file in EMBEDDED.iterdir() if file.suffix in (".json", ".safetensors")}
    server.repositories[ID] = files
    server.repositories[TABLED] = files
    yield server
    server.close()


@pytest.fixture
def own(hub: FakeHub, tmp_path: Path) -> Path:
    """A folder of one's own with a model in it."""
    return shutil.copytree(EMBEDDED, tmp_path / "own")


def start(*arguments: str, longest_file: int | None = None, **streams: Any) -> subprocess.Popen[bytes]:
    """Run the command in a process of its own."""

    def limit() -> None:
        if longest_file is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (longest_file, longest_file))

    code = f"import sys; sys.argv = ['llava', *{list(arguments)!r}]\nfrom llava_tui.cli import main\nmain()"
    return subprocess.Popen([sys.executable, "-c", code], preexec_fn=limit, **streams)


class TestGet:
    def test_a_pipe_gets_the_folder_and_nothing_else(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("models", "get", ID, "--yes")
        assert done.code == 0
        folder = Path(done.out.removesuffix("\n"))
        assert (folder / "model.safetensors").read_bytes() == (EMBEDDED / "model.safetensors").read_bytes()
        assert "llava chat --model someone/a-model" in done.err

    def test_json(self, llava: Llava, hub: FakeHub) -> None:
        found = json.loads(llava("models", "get", ID, "--yes", "--json").out)
        assert (found["id"], found["commit"]) == (ID, COMMIT)
        assert Path(found["folder"]).is_dir()

    def test_nothing_is_fetched_that_nobody_agreed_to(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("models", "get", ID)
        assert done.code == 1 and "--yes" in done.err
        assert {request.path for request in hub.requests} == {f"/api/models/{ID}/revision/main"}

    def test_what_is_here_needs_no_yes(self, llava: Llava, hub: FakeHub) -> None:
        llava("models", "get", ID, "--yes")
        assert llava("models", "get", ID).code == 0

    def test_a_fetched_model_answers_by_its_id(self, llava: Llava, hub: FakeHub) -> None:
        llava("models", "get", ID, "--yes")
        hub.requests.clear()
        done = llava("ask", "--model", ID, "Who are you?")
        assert (done.code, bool(done.out.strip())) == (0, True)
        assert hub.requests == [], "opening a model never asks the network"

    def test_a_model_that_is_not_here_says_how_to_get_it(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("ask", "--model", ID, "Who are you?")
        assert done.code == 1 and "llava models get someone/a-model" in done.err
        assert hub.requests == []

    @pytest.mark.parametrize("name", ["../etc", "/etc/passwd", "someone", "some\x1b[31mone/x", "a/b/c"])
    def test_odd_names(self, llava: Llava, hub: FakeHub, name: str) -> None:
        done = llava("models", "get", name, "--yes")
        assert done.code == 1 and "not the id of a model" in done.err
        assert "\x1b" not in done.err and hub.requests == []

    def test_what_a_server_says_can_not_command_the_terminal(self, llava: Llava, hub: FakeHub) -> None:
        hub.repositories[ID]["\x1b]0;owned\x07.json"] = b"x"
        done = llava("models", "get", ID, "--yes")
        assert done.code == 1 and "\x1b" not in done.err

    def test_damaged(self, llava: Llava, hub: FakeHub) -> None:
        weights = (EMBEDDED / "model.safetensors").read_bytes()
        hub.order(hashlib.sha256(weights).hexdigest(), instead(bytes(len(weights))))
        done = llava("models", "get", ID, "--yes")
        assert (done.code, done.out) == (1, "") and "damaged" in done.err
        assert len(done.err.splitlines()) <= 4

    def test_offline(self, llava: Llava, hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        done = llava("models", "get", ID, "--yes")
        assert done.code == 1 and "HF_HUB_OFFLINE" in done.err and hub.requests == []

    def test_gated(self, llava: Llava, hub: FakeHub) -> None:
        hub.order("/revision/main", status(403))
        done = llava("models", "get", ID, "--yes")
        assert done.code == 1 and "HF_TOKEN" in done.err

    def test_a_tower_that_it_needs_is_named(self, llava: Llava, hub: FakeHub) -> None:
        hub.add(
            ID, config__json=b'{"mm_vision_tower": "openai/clip-vit-large-patch14-336"}', pytorch_model__bin=b"x" * 3000
        )
        done = llava("models", "get", ID, "--yes")
        assert "llava models get openai/clip-vit-large-patch14-336" in done.err
        assert ".bin, read without running any code" in done.err

    def test_ctrl_c_keeps_what_has_arrived(self, hub: FakeHub, tmp_path: Path) -> None:
        weights = (EMBEDDED / "model.safetensors").read_bytes()
        digest = hashlib.sha256(weights).hexdigest()
        hub.order(digest, cut_after(10_000))
        process = start("models", "get", ID, "--yes", stderr=subprocess.PIPE)
        while not hub.asked(digest):  # the connection breaks off, and it waits a second before the next try
            time.sleep(0.01)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 130 and b"Go on with: llava models get" in said
        (part,) = (tmp_path / "hf").rglob("*.incomplete")
        assert part.read_bytes() == weights[:10_000]

    def test_a_disk_that_is_full_in_the_middle(self, hub: FakeHub, tmp_path: Path) -> None:
        # A limit on the size of a file refuses in the same place as a disk without room.
        process = start("models", "get", ID, "--yes", stderr=subprocess.PIPE, longest_file=20_000)
        _, said = process.communicate(timeout=60)
        assert process.returncode == 1 and b"can not be written" in said and b"Traceback" not in said
        assert start("models", "get", ID, "--yes").wait(timeout=60) == 0
        assert not list((tmp_path / "hf").rglob("*.incomplete"))

    @pytest.mark.parametrize(("answer", "code"), [(b"n\n", 1), (b"y\n", 0), (b"\n", 0)])
    def test_a_person_is_asked(self, hub: FakeHub, tmp_path: Path, answer: bytes, code: int) -> None:
        ours, theirs = pty.openpty()
        process = start("models", "get", ID, stdin=theirs, stderr=theirs)
        said = b""
        while b"? [Y/n]" not in said:
            said += os.read(ours, 1000)
        assert b" MB into " in said and not list((tmp_path / "hf").rglob("*.safetensors"))
        os.write(ours, answer)
        assert process.wait(timeout=60) == code
        assert bool(list((tmp_path / "hf").rglob("*.safetensors"))) == (code == 0)
        os.close(ours)
        os.close(theirs)


class TestList:
    def test_what_is_here_is_marked(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        llava("models", "get", TABLED, "--yes")
        llava("models", "get", ID, "--yes")
        assert llava("ask", "--model", str(own), "Who are you?").code == 0
        done = llava("models", "list")
        assert done.code == 0
        assert f"● {TABLED}" in done.out and "○ liuhaotian/LLaVA-7b-delta-v0" in done.out
        cache = done.out[done.out.index("Hub cache") :]
        assert f"● {ID}" in cache and f"● {own}" in cache and "embedded" in cache

    def test_json(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        llava("models", "get", ID, "--yes")
        llava("ask", "--model", str(own), "Who are you?")
        shutil.rmtree(own)
        found = json.loads(llava("models", "list", "--json").out)
        assert not any(one["here"] for one in found["published"])
        assert [one["id"] for one in found["cache"]["models"]] == [ID]
        assert [(one["folder"], one["here"]) for one in found["folders"]] == [(str(own), False)]
        assert found["embedded"]["bytes"] == (EMBEDDED / "model.safetensors").stat().st_size

    def test_neither_the_embedded_model_nor_the_cache_is_a_folder_of_ones_own(self, llava: Llava, hub: FakeHub) -> None:
        llava("models", "get", ID, "--yes")
        llava("ask", "Who are you?")
        llava("ask", "--model", ID, "Who are you?")
        assert json.loads(llava("models", "list", "--json").out)["folders"] == []

    def test_models_of_other_kinds_in_the_cache_are_not_listed(self, llava: Llava, hub: FakeHub) -> None:
        hub.add(ID, config__json=b'{"model_type": "bert"}', model__safetensors=b"x" * 3000)
        llava("models", "get", ID, "--yes")
        assert json.loads(llava("models", "list", "--json").out)["cache"]["models"] == []

    @pytest.mark.parametrize("content", ["", "[]", '{"folders": 3}', '{"folders": [{"path": 1}]}', "\x00"])
    def test_a_broken_memory_is_an_empty_one(self, llava: Llava, hub: FakeHub, tmp_path: Path, content: str) -> None:
        (tmp_path / "home" / "state").mkdir(parents=True)
        (tmp_path / "home" / "state" / "models.json").write_text(content)
        assert json.loads(llava("models", "list", "--json").out)["folders"] == []

    def test_the_network_is_not_asked(self, llava: Llava, hub: FakeHub) -> None:
        llava("models", "list")
        assert hub.requests == []


class TestShow:
    def test_the_embedded_model(self, llava: Llava, hub: FakeHub) -> None:
        found = json.loads(llava("models", "show", "--json").out)
        config = json.loads((EMBEDDED / "config.json").read_text())
        assert (found["generation"], found["layout"], found["form"]) == ("llava-hf 1.5", "hf", "whole")
        assert found["language_model"]["layers"] == config["text_config"]["num_hidden_layers"]
        assert found["language_model"]["vocabulary"] == config["text_config"]["vocab_size"]
        assert found["tower"]["image_size"] == config["vision_config"]["image_size"]
        assert found["context"] == config["text_config"]["max_position_embeddings"]
        assert [plan["quantize"] for plan in found["memory"]] == ["none", "int8", "int4", "nf4"]
        # bfloat16: two bytes a number, and a header.
        size = (EMBEDDED / "model.safetensors").stat().st_size
        assert 0 < size - 2 * found["parameters"] < 50_000

    def test_a_page_for_a_person(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        done = llava("models", "show", str(own))
        assert done.code == 0
        for word in (
            str(own),
            "generation",
            "template",
            "tower",
            "projector",
            "context",
            "bfloat16",
            "int8",
            "int4",
            "fits",
        ):
            assert word in done.out

    def test_by_hub_id(self, llava: Llava, hub: FakeHub) -> None:
        llava("models", "get", ID, "--yes")
        assert llava("models", "show", ID).out.startswith(f"{ID}\n")

    def test_where_all_is_with_another_form(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("models", "show", "--quantize", "int4", "--device", "cpu")
        assert done.code == 0
        assert "layers in int4" in done.out and "not quantized" not in done.out

    def test_a_shorter_context_takes_less(self, llava: Llava, hub: FakeHub) -> None:
        def cache_bytes(*options: str) -> int:
            plan = json.loads(llava("models", "show", "--json", *options).out)["memory"][0]
            return sum(part["bytes"] for part in plan["parts"] if part["name"] == "key/value cache")

        assert cache_bytes("--context", "512") * 4 == cache_bytes("--context", "2048")

    def test_a_published_one_that_is_not_here(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("models", "show", "liuhaotian/LLaVA-13b-delta-v0")
        assert done.code == 0 and hub.requests == []
        assert "delta" in done.out and "LLaMA-13B" in done.out and "llava models get" in done.out

    def test_what_is_missing(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        (own / "tokenizer.json").unlink()
        done = llava("models", "show", str(own))
        assert done.code == 1 and str(own) in done.out and "tokenizer" in done.err
        found = json.loads(llava("models", "show", str(own), "--json").out)
        assert "tokenizer" in found["missing"]["cause"]

    def test_no_such_model(self, llava: Llava, hub: FakeHub) -> None:
        done = llava("models", "show", "nowhere")
        assert (done.code, done.out) == (1, "") and "no model folder nowhere" in done.err

    def test_text_from_a_config_can_not_command_the_terminal(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        config = json.loads((own / "config.json").read_text())
        config["text_config"]["model_type"] = "\x1b[2J"
        (own / "config.json").write_text(json.dumps(config))
        done = llava("models", "show", str(own))
        assert "\x1b" not in done.out + done.err


class TestRemove:
    def test_from_the_cache(self, llava: Llava, hub: FakeHub, tmp_path: Path) -> None:
        llava("models", "get", ID, "--yes")
        asked = llava("models", "remove", ID)
        assert asked.code == 1 and "--yes" in asked.err
        assert llava("models", "remove", ID, "--yes").code == 0
        assert not list((tmp_path / "hf" / "hub").iterdir())
        assert llava("models", "remove", ID, "--yes").code == 1

    def test_a_folder_of_ones_own_is_only_forgotten(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        llava("ask", "--model", str(own), "Who are you?")
        before = sorted(own.rglob("*"))
        done = llava("models", "remove", str(own), "--yes")
        assert done.code == 0 and "off the list" in done.out
        assert sorted(own.rglob("*")) == before
        assert json.loads(llava("models", "list", "--json").out)["folders"] == []

    def test_a_folder_that_is_not_on_the_list_is_left_alone(self, llava: Llava, hub: FakeHub, own: Path) -> None:
        done = llava("models", "remove", str(own), "--yes")
        assert done.code == 1 and own.is_dir()

    @pytest.mark.parametrize(
        "name", ["..", "../..", "/", "someone/..", "~", "a/b/../../..", "~nobody-of-this-name", "\0"]
    )
    def test_names_that_climb(self, llava: Llava, hub: FakeHub, tmp_path: Path, name: str) -> None:
        llava("models", "get", ID, "--yes")
        before = sorted(tmp_path.rglob("*"))
        assert llava("models", "remove", name, "--yes").code == 1
        assert sorted(tmp_path.rglob("*")) == before


class TestTower:
    """A checkpoint in the original's layout, which names its tower and does not hold it."""

    @pytest.fixture
    def blind(self, hub: FakeHub, tmp_path: Path) -> Path:
        tensors = originals.language(originals.ROWS) | originals.projector(2)
        config = originals.LLAMA | originals.EYES | {"model_type": "llava", "mm_projector_type": "mlp2x_gelu"}
        config |= {"mm_vision_tower": "someone/eyes", "vocab_size": originals.ROWS, "mm_use_im_patch_token": False}
        return originals.write(tmp_path / "blind", config, tensors)

    @pytest.fixture
    def eyes(self, tmp_path: Path) -> Path:
        return originals.write_tower(tmp_path / "given")

    def test_its_error_is_the_command_that_helps(self, llava: Llava, hub: FakeHub, blind: Path, eyes: Path) -> None:
        hub.repositories["someone/eyes"] = {file.name: file.read_bytes() for file in eyes.iterdir()}
        done = llava("models", "show", str(blind))
        assert done.code == 1 and "llava models get someone/eyes" in done.err
        assert hub.requests == [], "nothing is fetched on the quiet"
        assert llava("models", "get", "someone/eyes", "--yes").code == 0
        found = json.loads(llava("models", "show", str(blind), "--json").out)
        assert found["tower"]["where"].startswith(str(eyes.with_name("hf")))
        assert llava("ask", "--model", str(blind), "Who?", "--max-new-tokens", "2").code == 0

    def test_a_folder_may_be_given(self, llava: Llava, blind: Path, eyes: Path) -> None:
        found = json.loads(llava("models", "show", str(blind), "--tower", str(eyes), "--json").out)
        assert found["tower"]["where"] == str(eyes)
        done = llava("ask", "--model", str(blind), "--tower", str(eyes), "Who?", "--max-new-tokens", "2")
        assert done.code == 0

    def test_another_template_is_taken_and_said(self, llava: Llava, blind: Path, eyes: Path) -> None:
        options = ("--tower", str(eyes), "--template", "mistral")
        found = json.loads(llava("models", "show", str(blind), *options, "--json").out)
        assert found["template"]["name"] == "mistral" and "you asked for it" in found["template"]["why"]
        asked = llava("ask", "--model", str(blind), *options, "Who?", "--max-new-tokens", "2", "--json")
        assert "[INST]" in json.loads(asked.out)["prompt"]
