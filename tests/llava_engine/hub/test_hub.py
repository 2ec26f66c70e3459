"""Models from the hub: a server on this machine speaks its protocol, well behaved or not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import LlavaError, ModelError, StorageError
from llava_engine.hub.cache import (
    cache_folder,
    cached_models,
    find_in_cache,
    is_id,
    is_inside,
    remove_from_cache,
    stored_bytes,
)
from llava_engine.hub.fetching import FetchProgress, Hub
from llava_engine.hub.listing import chosen, read_listing
from llava_engine.hub.server import HubServer
from llava_engine.network.connections import Connections
from tests.fakes.fake_hub import COMMIT, FakeHub, another_range, cut_after, git_sha1, hang, instead, status, whole

ID = "someone/a-model"
WEIGHTS = bytes(range(256)) * 400
CONFIG = b'{"model_type": "llava"}'
SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
ODD_IDS = [
    "..",
    "../x",
    "a/..",
    "/etc/passwd",
    "a",
    "a/b/c",
    "a/b c",
    "a/b\n",
    "a/",
    "a--b/c",
    "a/.b",
    "a/b.",
    "~/x",
    "",
]


@pytest.fixture
def server() -> Iterator[FakeHub]:
    hub = FakeHub()
    hub.add(ID, config__json=CONFIG, model__safetensors=WEIGHTS, README__md=b"hello", modeling__py=b"print()")
    yield hub
    hub.close()


@pytest.fixture
def waited() -> list[float]:
    return []


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    return {"HF_HOME": str(tmp_path / "hf")}


@pytest.fixture
def hub(server: FakeHub, waited: list[float], env: dict[str, str]) -> Hub:
    return Hub(
        HubServer(server.url, "secret", timeout_s=5, waits_s=(1.0, 2.0, 4.0), sleep=waited.append), cache_folder(env)
    )


def get(hub: Hub, on_progress: Callable[[FetchProgress], None] = lambda _: None) -> Path:
    return hub.fetch(hub.look_up(ID), on_progress)


def blobs(hub: Hub) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in (hub.cache / "models--someone--a-model" / "blobs").iterdir()}


class TestFetching:
    def test_the_files_that_a_model_needs_are_here_afterwards(self, hub: Hub) -> None:
        folder = get(hub)
        assert {file.name: file.read_bytes() for file in folder.iterdir()} == {
            "config.json": CONFIG,
            "model.safetensors": WEIGHTS,
        }

    def test_the_cache_has_the_layout_that_other_tools_share(self, hub: Hub) -> None:
        folder = get(hub)
        repository = hub.cache / "models--someone--a-model"
        assert folder == repository / "snapshots" / COMMIT
        assert (repository / "refs" / "main").read_text() == COMMIT
        names = {"config.json": git_sha1(CONFIG), "model.safetensors": hashlib.sha256(WEIGHTS).hexdigest()}
        assert {file.name: str(file.readlink()) for file in folder.iterdir()} == {
            file: f"../../blobs/{blob}" for file, blob in names.items()
        }
        assert set(blobs(hub)) == set(names.values())

    def test_what_is_here_is_not_fetched_again(self, hub: Hub, server: FakeHub) -> None:
        get(hub)
        server.requests.clear()
        get(hub)
        assert [request.path for request in server.requests] == [f"/api/models/{ID}/revision/main"]

    def test_progress_counts_up_to_the_whole(self, hub: Hub) -> None:
        told: list[FetchProgress] = []
        get(hub, told.append)
        assert [at.done for at in told] == sorted(at.done for at in told)
        assert (told[-1].done, told[-1].total) == (len(WEIGHTS) + len(CONFIG),) * 2

    def test_a_commit_needs_no_ref(self, hub: Hub, env: dict[str, str]) -> None:
        folder = hub.fetch(hub.look_up(ID, COMMIT))
        assert not (hub.cache / "models--someone--a-model" / "refs").exists()
        assert find_in_cache(ID, revision=COMMIT, env=env) == folder

    def test_the_only_snapshot_stands_for_main_where_nobody_said_what_main_is(
        self, hub: Hub, env: dict[str, str]
    ) -> None:
        folder = hub.fetch(hub.look_up(ID, COMMIT))
        assert find_in_cache(ID, env=env) == folder
        shutil.copytree(folder, folder.with_name("f" * 40))
        assert find_in_cache(ID, env=env) is None

    def test_an_empty_file_is_a_file(self, hub: Hub, server: FakeHub) -> None:
        server.repositories[ID]["merges.txt"] = b""
        assert (get(hub) / "merges.txt").read_bytes() == b""


class TestToken:
    def test_it_goes_to_the_hub_and_never_to_where_that_redirects(self, hub: Hub, server: FakeHub) -> None:
        get(hub)
        seen = {request.where: request.headers.get("authorization") for request in server.requests}
        assert seen == {"hub": "Bearer secret", "storage": None}

    def test_it_is_not_sent_in_the_clear_over_a_network(self) -> None:
        server = HubServer("http://hub.example", "secret")
        assert not server._may_know_token("http://hub.example/x")
        assert HubServer("https://hub.example", "secret")._may_know_token("https://hub.example:443/x")

    def test_it_is_not_shown(self) -> None:
        assert "secret" not in repr(HubServer(token="secret"))


class TestCutConnections:
    def test_a_download_goes_on_where_it_broke_off(self, hub: Hub, server: FakeHub, waited: list[float]) -> None:
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        server.order(digest, cut_after(1000), cut_after(500), status(503))
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS
        ranges = [request.headers.get("range") for request in server.asked(digest)]
        assert ranges == [None, "bytes=1000-", "bytes=1500-", "bytes=1500-"]
        assert waited == [1.0, 2.0, 4.0]

    def test_a_later_run_goes_on_too(self, hub: Hub, server: FakeHub, env: dict[str, str]) -> None:
        digest = hashlib.sha256(WEIGHTS).hexdigest()
        server.order(digest, *[cut_after(1000)] * 4)
        with pytest.raises(ModelError, match="broke off"):
            get(hub)
        assert blobs(hub)[f"{digest}.incomplete"] == WEIGHTS[:4000]
        assert find_in_cache(ID, env=env) is None
        assert hub.missing_bytes(hub.look_up(ID)) == len(WEIGHTS) - 4000
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS
        assert server.asked(digest)[-1].headers["range"] == "bytes=4000-"

    def test_a_server_that_does_not_resume_begins_anew(self, hub: Hub, server: FakeHub) -> None:
        server.order(hashlib.sha256(WEIGHTS).hexdigest(), cut_after(1000), whole)
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS

    def test_another_part_than_was_asked_for_is_not_appended(self, hub: Hub, server: FakeHub) -> None:
        server.order(hashlib.sha256(WEIGHTS).hexdigest(), cut_after(1000), another_range)
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS

    def test_a_list_that_breaks_off_is_asked_for_again(self, hub: Hub, server: FakeHub) -> None:
        server.order("/revision/main", cut_after(10), status(500))
        assert hub.look_up(ID).commit == COMMIT

    def test_what_is_longer_than_it_should_be_is_no_reason_to_go_on(self, hub: Hub, server: FakeHub) -> None:
        part = hub.cache / "models--someone--a-model" / "blobs" / f"{hashlib.sha256(WEIGHTS).hexdigest()}.incomplete"
        part.parent.mkdir(parents=True)
        part.write_bytes(WEIGHTS + b"more")
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS

    def test_silence_is_trouble(self, hub: Hub, server: FakeHub) -> None:
        quick = Hub(HubServer(server.url, timeout_s=0.1, waits_s=(0.0,), sleep=lambda _: None), hub.cache)
        server.order("/revision/main", hang(1), hang(1))
        with pytest.raises(ModelError, match="took too long"):
            quick.look_up(ID)

    def test_nobody_there(self, hub: Hub) -> None:
        nobody = Hub(HubServer("http://127.0.0.1:9", waits_s=(), timeout_s=5), hub.cache)
        with pytest.raises(ModelError, match="can not be reached"):
            nobody.look_up(ID)


class TestChecksums:
    @pytest.mark.parametrize("name", ["model.safetensors", "config.json"])
    @pytest.mark.parametrize("how", ["same length", "too long"])
    def test_damaged_content_is_deleted_and_said(self, hub: Hub, server: FakeHub, name: str, how: str) -> None:
        right = server.repositories[ID][name]
        wrong = b"?" * len(right) + (b"?" if how == "too long" else b"")
        end = hashlib.sha256(right).hexdigest() if name == "model.safetensors" else name
        server.order(end, instead(wrong))
        with pytest.raises(ModelError, match=f"{name} .* damaged"):
            get(hub)
        assert not [blob for blob in blobs(hub) if blob.endswith(".incomplete")]
        assert wrong not in blobs(hub).values()
        assert (get(hub) / name).read_bytes() == right

    def test_a_damaged_beginning_from_an_earlier_run_is_found(self, hub: Hub) -> None:
        part = hub.cache / "models--someone--a-model" / "blobs" / f"{hashlib.sha256(WEIGHTS).hexdigest()}.incomplete"
        part.parent.mkdir(parents=True)
        part.write_bytes(b"x" * 1000)
        with pytest.raises(ModelError, match="damaged"):
            get(hub)
        assert not part.exists()


class TestRefusals:
    @pytest.mark.parametrize("code", [401, 403])
    def test_no_access(self, hub: Hub, server: FakeHub, code: int) -> None:
        server.order("/revision/main", status(code))
        with pytest.raises(ModelError, match="private, gated, or not there") as refused:
            hub.look_up(ID)
        assert "HF_TOKEN" in refused.value.remedy

    def test_no_such_model(self, hub: Hub, waited: list[float]) -> None:
        with pytest.raises(ModelError, match="The hub has no someone/nothing"):
            hub.look_up("someone/nothing")
        assert waited == []

    def test_a_busy_server_is_given_the_time_it_asks_for(self, hub: Hub, server: FakeHub, waited: list[float]) -> None:
        server.order("/revision/main", status(429, Retry_After="7"))
        hub.look_up(ID)
        assert waited == [7.0]

    def test_a_server_that_asks_for_an_hour_is_not_waited_for(
        self, hub: Hub, server: FakeHub, waited: list[float]
    ) -> None:
        server.order("/revision/main", status(429, Retry_After="3600"))
        with pytest.raises(ModelError, match="429"):
            hub.look_up(ID)
        assert waited == []

    def test_redirects_lead_to_http_only(self, hub: Hub, server: FakeHub) -> None:
        server.redirect_to = "file:///etc/passwd"
        with pytest.raises(ModelError, match="redirects to where nothing is fetched from"):
            get(hub)

    def test_redirects_end(self, hub: Hub, server: FakeHub) -> None:
        server.redirect_to = f"{server.url}/{ID}/resolve/{COMMIT}/model.safetensors"
        with pytest.raises(ModelError, match="redirects more than"):
            get(hub)

    def test_encryption_is_not_given_up_on_the_way(self) -> None:
        with pytest.raises(ModelError, match="redirects to where"):
            HubServer()._next("https://hub.example/a", "http://hub.example/b", Connections())

    def test_nothing_is_fetched_offline(self, env: dict[str, str]) -> None:
        with pytest.raises(ModelError, match="HF_HUB_OFFLINE"):
            Hub.from_environment(env | {"HF_HUB_OFFLINE": "1"})

    @pytest.mark.parametrize("endpoint", ["ftp://hub.example", "hub.example", "http://"])
    def test_an_endpoint_that_is_none(self, env: dict[str, str], endpoint: str) -> None:
        with pytest.raises(ModelError, match="not the address of a hub"):
            Hub.from_environment(env | {"HF_ENDPOINT": endpoint})

    def test_too_little_space_is_said_before_the_first_byte(
        self, hub: Hub, server: FakeHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 1000, 50_000))
        repository = hub.look_up(ID)
        server.requests.clear()
        with pytest.raises(StorageError, match="GB free"):
            hub.fetch(repository)
        assert server.requests == [] and not hub.cache.exists()

    def test_a_cache_that_can_not_be_written(self, hub: Hub) -> None:
        hub.cache.parent.mkdir(parents=True)
        hub.cache.write_text("a file where a folder should be")
        with pytest.raises(StorageError, match="can not be written"):
            get(hub)

    def test_two_at_once(self, hub: Hub, server: FakeHub) -> None:
        server.order(hashlib.sha256(WEIGHTS).hexdigest(), hang(0.5))
        failures: list[LlavaError] = []
        repository = hub.look_up(ID)

        def work() -> None:
            try:
                hub.fetch(repository)
            except LlavaError as error:
                failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert all("being fetched already" in error.cause for error in failures)
        assert (get(hub) / "model.safetensors").read_bytes() == WEIGHTS


class TestListings:
    @pytest.mark.parametrize(
        "name", ["../config.json", "/etc/passwd", "a/../../b", "a\\..\\b", "C:x", "a\nb", "\x1b[2Jx", "", "a//b", "./a"]
    )
    def test_a_name_that_leads_out_is_refused(self, hub: Hub, server: FakeHub, name: str) -> None:
        server.repositories[ID][name] = b"x"
        with pytest.raises(ModelError, match="would leave its folder"):
            hub.look_up(ID)

    @pytest.mark.parametrize(
        "answer",
        [
            None,
            [],
            {},
            {"sha": "main", "siblings": []},
            {"sha": COMMIT, "siblings": [{"rfilename": "config.json"}]},
            {"sha": COMMIT, "siblings": [{"rfilename": "config.json", "size": -1, "blobId": COMMIT}]},
            {"sha": COMMIT, "siblings": [{"rfilename": "config.json", "size": 1, "blobId": "../../x"}]},
            {"sha": COMMIT, "siblings": [{"rfilename": "config.json", "lfs": {"size": 1, "sha256": "../x"}}]},
            {"sha": "../" * 13 + "x", "siblings": []},
        ],
    )
    def test_an_answer_of_another_form_is_refused(self, hub: Hub, server: FakeHub, answer: Any) -> None:
        server.listings[ID] = answer
        with pytest.raises(ModelError, match="can not be understood"):
            hub.look_up(ID)

    def test_no_json(self, hub: Hub, server: FakeHub) -> None:
        server.order("/revision/main", instead(b"<html>"))
        with pytest.raises(ModelError, match="did not answer with JSON"):
            hub.look_up(ID)

    def test_a_repository_without_weights(self, hub: Hub, server: FakeHub) -> None:
        server.add(ID, config__json=CONFIG, model__gguf=WEIGHTS)
        with pytest.raises(ModelError, match="no weights"):
            hub.look_up(ID)

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["sha", "siblings", "rfilename", "size", "lfs", "sha256", "blobId"]), inner
                )
            ),
        )
    )
    def test_no_answer_gives_anything_but_a_list_or_our_error(self, answer: Any) -> None:
        try:
            repository = read_listing(ID, "main", answer)
        except ModelError:
            return
        assert all("/" not in file.name and file.name.isprintable() for file in repository.files)


class TestChoice:
    @pytest.mark.parametrize(
        ("names", "wanted"),
        [
            (
                ["config.json", "model.safetensors", "pytorch_model.bin", "tf_model.h5", "flax_model.msgpack"],
                ["config.json", "model.safetensors"],
            ),
            (
                [*SHARDS, "pytorch_model-00001-of-00001.bin", "pytorch_model.bin.index.json"],
                SHARDS,
            ),
            (
                ["config.json", "pytorch_model.bin", "training_args.bin", "tokenizer.model", "configuration_llava.py"],
                ["config.json", "pytorch_model.bin", "tokenizer.model"],
            ),
            (
                ["adapter_model.safetensors", "adapter_model.bin", "non_lora_trainables.bin", "adapter_config.json"],
                ["adapter_config.json", "adapter_model.safetensors", "non_lora_trainables.bin"],
            ),
            (["some-projector.bin", "optimizer.bin", "README.md"], ["some-projector.bin"]),
            (["checkpoint-1/model.safetensors", "mm_projector.bin", "trainer_state.json"], ["mm_projector.bin"]),
        ],
    )
    def test_weights_in_the_safest_form_and_what_belongs_to_them(self, names: list[str], wanted: list[str]) -> None:
        assert chosen(names) == wanted

    @given(st.lists(st.from_regex(r"[a-z/_]{1,12}\.(py|pkl|pt|pth|h5|so|sh|safetensors|bin|json)", fullmatch=True)))
    def test_never_code(self, names: list[str]) -> None:
        assert all(name.endswith((".safetensors", ".bin", ".json")) and "/" not in name for name in chosen(names))


class TestIds:
    @pytest.mark.parametrize(
        "text",
        [
            "..",
            "../x",
            "a/..",
            "/etc/passwd",
            "a",
            "a/b/c",
            "a/b c",
            "a/b\n",
            "a/",
            "a--b/c",
            "a/.b",
            "a/b.",
            "~/x",
            "",
        ],
    )
    def test_a_name_that_climbs_or_is_odd_is_none(self, hub: Hub, text: str) -> None:
        assert not is_id(text)
        assert find_in_cache(text, env={"HF_HUB_CACHE": str(hub.cache)}) is None
        with pytest.raises(ModelError, match="not the id"):
            hub.look_up(text)
        with pytest.raises(ModelError, match="not the id"):
            remove_from_cache(text, {"HF_HUB_CACHE": str(hub.cache)})

    @pytest.mark.parametrize("text", ["llava-hf/llava-1.5-7b-hf", "liuhaotian/LLaVA-7b-delta-v0", "a_b/c.d"])
    def test_those_of_the_hub_are_ids(self, text: str) -> None:
        assert is_id(text)

    @pytest.mark.parametrize("revision", ["../main", "a b", "-x", "", "a/../b", "/x"])
    def test_an_odd_revision(self, hub: Hub, revision: str) -> None:
        with pytest.raises(ModelError, match="not a revision"):
            hub.look_up(ID, revision)
        assert find_in_cache(ID, revision=revision, env={"HF_HUB_CACHE": str(hub.cache)}) is None

    @given(st.text(max_size=40))
    def test_a_name_that_is_inside_stays_inside(self, name: str) -> None:
        if is_inside(name):
            assert os.path.normpath(f"/a/b/{name}").startswith("/a/b/")


class TestCache:
    @pytest.mark.parametrize(
        ("env", "folder"),
        [
            ({"HF_HUB_CACHE": "/c", "HF_HOME": "/h"}, "/c"),
            ({"HUGGINGFACE_HUB_CACHE": "/old", "HF_HOME": "/h"}, "/old"),
            ({"HF_HOME": "/h", "XDG_CACHE_HOME": "/x"}, "/h/hub"),
            ({"XDG_CACHE_HOME": "/x"}, "/x/huggingface/hub"),
        ],
    )
    def test_it_is_where_the_official_library_has_it(self, env: dict[str, str], folder: str) -> None:
        assert cache_folder(env) == Path(folder)
        code = "import huggingface_hub.constants as c; print(c.HF_HUB_CACHE)"
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "XDG_"))}
        done = subprocess.run([sys.executable, "-c", code], env=clean | env, capture_output=True, text=True, check=True)
        assert Path(done.stdout.strip()) == Path(folder)

    def test_the_official_library_finds_what_we_fetched(self, hub: Hub, env: dict[str, str]) -> None:
        folder = get(hub)
        code = (
            "import huggingface_hub as h; print(h.snapshot_download('someone/a-model', local_files_only=True));"
            "print(h.try_to_load_from_cache('someone/a-model', 'config.json'));"
            "print(sorted(f.file_name for r in h.scan_cache_dir().repos for v in r.revisions for f in v.files))"
        )
        done = _official(code, env)
        assert done == [str(folder), str(folder / "config.json"), "['config.json', 'model.safetensors']"]

    def test_we_find_what_the_official_library_fetched(self, server: FakeHub, env: dict[str, str], hub: Hub) -> None:
        code = (
            "import huggingface_hub as h; patterns = ['*.json', '*.safetensors'];"
            "print(h.snapshot_download('someone/a-model', allow_patterns=patterns))"
        )
        done = _official(code, env | {"HF_ENDPOINT": server.url, "HF_HUB_DISABLE_XET": "1"})
        assert find_in_cache(ID, env=env) == Path(done[0])
        server.requests.clear()
        assert get(hub) == Path(done[0])
        assert len(server.requests) == 1, "all files were here: only the list is asked for"

    def test_a_snapshot_that_is_not_whole_is_not_found(self, hub: Hub, env: dict[str, str]) -> None:
        folder = get(hub)
        index = {"weight_map": {"a": "model-00001-of-00002.safetensors"}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        assert find_in_cache(ID, env=env) is None
        (folder / "model.safetensors.index.json").unlink()
        assert find_in_cache(ID, env=env) == folder
        (folder / "config.json").resolve().unlink()
        assert find_in_cache(ID, env=env) is None

    def test_listing_and_removing(self, hub: Hub, env: dict[str, str]) -> None:
        assert cached_models(env) == []
        folder = get(hub)
        (found,) = cached_models(env)
        assert (found.id, found.commit, found.folder, found.bytes) == (ID, COMMIT, folder, len(WEIGHTS) + len(CONFIG))
        assert stored_bytes(ID, env) == len(WEIGHTS) + len(CONFIG) + len(COMMIT)
        remove_from_cache(ID, env)
        assert cached_models(env) == [] and find_in_cache(ID, env=env) is None
        with pytest.raises(ModelError, match="not in the hub cache"):
            remove_from_cache(ID, env)


def _official(code: str, env: dict[str, str]) -> list[str]:
    """What a program with the official library prints, in an environment without settings of the person who tests."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "XDG_"))}
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean | env, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()
