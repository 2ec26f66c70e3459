"""What a hub refuses or lists wrongly is said, and which of its files a model needs."""

from __future__ import annotations

import hashlib
import shutil
import threading
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import LlavaError, ModelError, StorageError
from llava_engine.hub.fetching import Hub
from llava_engine.hub.listing import chosen, read_listing
from llava_engine.hub.server import HubServer
from llava_engine.network.connections import Connections
from tests.fakes.fake_hub import COMMIT, FakeHub, hang, instead, status
from tests.llava_engine.hub.parts import CONFIG, ID, WEIGHTS, get

SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]


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

    @pytest.mark.parametrize(
        "endpoint", ["ftp://hub.example", "hub.example", "http://", "http://me:secret@[::1", "http://me:secret@h:port"]
    )
    def test_an_endpoint_that_is_none(self, env: dict[str, str], endpoint: str) -> None:
        with pytest.raises(ModelError, match="not the address of a hub") as refused:
            Hub.from_environment(env | {"HF_ENDPOINT": endpoint})
        assert "secret" not in str(refused.value)

    def test_too_little_space_is_said_before_the_first_byte(
        self, hub: Hub, server: FakeHub, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1000, 1000, 50_000))
        repository = hub.look_up(ID)
        server.requests.clear()
        with pytest.raises(StorageError, match=r"50\.0 kB free"):
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
