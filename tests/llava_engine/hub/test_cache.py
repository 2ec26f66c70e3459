"""The cache that all tools of the hub share, and the names that lead into it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llava_engine.errors import ModelError
from llava_engine.hub.cache import (
    cache_folder,
    cached_models,
    find_in_cache,
    is_id,
    is_inside,
    remove_from_cache,
    stored_bytes,
)
from llava_engine.hub.fetching import Hub
from tests.fakes.fake_hub import COMMIT, FakeHub
from tests.llava_engine.hub.parts import CONFIG, ID, WEIGHTS, get


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
