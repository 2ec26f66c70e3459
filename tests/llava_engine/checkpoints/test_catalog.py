"""What `--model` means: the embedded model, a folder, a hub id in the cache."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llava_engine.checkpoints.catalog import EMBEDDED, find, name_of
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.checkpoints.released import RELEASED
from llava_engine.errors import ModelError
from llava_engine.hub.cache import is_id
from tests.llava_engine.originals import write_tower

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture
def env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """A cache with one model in it, and a working folder without any."""
    cache = tmp_path / "cache"
    folder = cache / "models--someone--a-model" / "snapshots" / COMMIT
    shutil.copytree(EMBEDDED, folder)
    (cache / "models--someone--a-model" / "refs").mkdir()
    (cache / "models--someone--a-model" / "refs" / "main").write_text(COMMIT)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return {"HF_HUB_CACHE": str(cache)}


def test_no_name_is_the_model_that_comes_along(env: dict[str, str]) -> None:
    assert find(None, env=env) == EMBEDDED
    assert "embedded" in name_of(EMBEDDED)


def test_a_hub_id_is_its_snapshot_in_the_cache(env: dict[str, str]) -> None:
    folder = find("someone/a-model", env=env)
    assert folder == (Path(env["HF_HUB_CACHE"]) / "models--someone--a-model" / "snapshots" / COMMIT).resolve()
    assert name_of(folder) == "someone/a-model"


def test_a_folder_goes_before_a_hub_id(env: dict[str, str]) -> None:
    Path("someone/a-model").mkdir(parents=True)
    assert find("someone/a-model", env=env) == Path("someone/a-model").resolve()
    assert name_of(Path("someone/a-model").resolve()) == "a-model"


def test_the_home_folder(env: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    Path("mine").mkdir()
    assert find("~/mine", env=env) == Path("mine").resolve()


def test_an_id_that_is_not_here_says_how_to_get_it(env: dict[str, str]) -> None:
    with pytest.raises(ModelError) as refused:
        find("someone/another", env=env)
    assert refused.value.remedy.endswith("llava models get someone/another")


def test_half_a_model_is_not_here(env: dict[str, str]) -> None:
    (find("someone/a-model", env=env) / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="no whole model"):
        find("someone/a-model", env=env)


@pytest.mark.parametrize("name", ["nowhere", "a/b/c", "../nowhere", "\0", "~nobody-of-this-name/x", "x" * 5000])
def test_a_path_that_leads_nowhere(env: dict[str, str], name: str) -> None:
    with pytest.raises(ModelError):
        find(name, env=env)


def test_a_file_is_no_model(env: dict[str, str]) -> None:
    Path("config.json").touch()
    with pytest.raises(ModelError, match="is a file"):
        find("config.json", env=env)


def test_a_projector_may_be_a_file(env: dict[str, str]) -> None:
    Path("projector.bin").touch()
    assert find("projector.bin", env=env) == Path("projector.bin").resolve()


def test_the_released_ones_can_be_fetched_and_told_apart() -> None:
    ids = [released.id for released in RELEASED]
    assert len(set(ids)) == len(ids)
    assert all(is_id(released.id) and released.licence for released in RELEASED)
    towers = {released.id for released in RELEASED if released.form == "tower"}
    assert {released.tower for released in RELEASED} - {""} == towers


def test_deltas_and_adapters_say_what_else_they_need() -> None:
    assert all(released.advice for released in RELEASED if released.form in ("delta", "adapter"))


def test_a_tower_alone_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="is a vision tower"):
        open_checkpoint(write_tower(tmp_path / "x"))
