"""What is fetched from a hub arrives whole or not at all, and goes on where it broke off."""

from __future__ import annotations

import hashlib
import shutil

import pytest

from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError
from llava_engine.hub.cache import (
    find_in_cache,
)
from llava_engine.hub.fetching import Hub
from llava_engine.hub.server import HubServer
from tests.fakes.fake_hub import COMMIT, FakeHub, another_range, cut_after, git_sha1, hang, instead, status, whole
from tests.llava_engine.hub.parts import CONFIG, ID, WEIGHTS, blobs, get


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
        told: list[LoadProgress] = []
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
