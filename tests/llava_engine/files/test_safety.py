"""Files that are not a model folder's own, or only stand for one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from llava_engine.checkpoints.catalog import EMBEDDED
from llava_engine.checkpoints.open import open_checkpoint
from llava_engine.errors import ModelError
from llava_engine.files.safety import check_own_file, copy_own_file, own_files

# As the git-lfs specification writes one.
POINTER = (
    b"version https://git-lfs.github.com/spec/v1\n"
    b"oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258daaa5e2ca24d17e2393\n"
    b"size 12345\n"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model").mkdir()
    (tmp_path / "secret").write_text("{}")
    return tmp_path / "model"


def test_a_file_of_the_folder(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    check_own_file(folder, folder / "config.json")


def test_a_missing_file_is_for_others_to_miss(folder: Path) -> None:
    check_own_file(folder, folder / "config.json")


@pytest.mark.parametrize("target", ["../secret", "{absolute}"])
def test_a_link_that_leads_out(folder: Path, target: str) -> None:
    (folder / "config.json").symlink_to(target.format(absolute=folder.parent / "secret"))
    with pytest.raises(ModelError, match="leads out of its folder"):
        check_own_file(folder, folder / "config.json")


def test_a_link_that_leads_out_in_two_steps(folder: Path) -> None:
    (folder / "there").symlink_to("..")
    with pytest.raises(ModelError, match="leads out of its folder"):
        check_own_file(folder, folder / "there" / "secret")


def test_a_link_within_the_folder(folder: Path) -> None:
    (folder / "one.json").write_text("{}")
    (folder / "config.json").symlink_to("one.json")
    check_own_file(folder, folder / "config.json")


def test_nothing_is_copied_through_a_link_that_leads_out(folder: Path, tmp_path: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")
    (folder / "chat_template.jinja").symlink_to("../secret")
    with pytest.raises(ModelError, match=r"chat_template\.jinja is a link that leads out"):
        own_files(folder, ("tokenizer.json", "chat_template.jinja", "merges.txt"))
    with pytest.raises(ModelError, match="leads out of its folder"):
        copy_own_file(folder / "chat_template.jinja", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()
    assert own_files(folder, ("tokenizer.json", "merges.txt")) == (folder / "tokenizer.json",)


def test_a_snapshots_files_are_copied_as_files(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / "0123"
    snapshot.mkdir(parents=True)
    (tmp_path / "models--a--b" / "blobs").mkdir()
    (tmp_path / "models--a--b" / "blobs" / "77").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../blobs/77")
    for file in own_files(snapshot, ("tokenizer.json",)):
        copy_own_file(file, tmp_path / "copy")
    assert (tmp_path / "copy").read_text() == "{}" and not (tmp_path / "copy").is_symlink()


def test_a_link_that_goes_round_in_a_circle(folder: Path) -> None:
    (folder / "config.json").symlink_to("config.json")
    with pytest.raises(ModelError, match=r"config\.json can not be read"):
        check_own_file(folder, folder / "config.json")


def test_a_folder_may_itself_be_a_link(folder: Path) -> None:
    (folder / "config.json").write_text("{}")
    (folder.parent / "link").symlink_to(folder)
    check_own_file(folder.parent / "link", folder.parent / "link" / "config.json")


def test_a_snapshot_of_the_hub_cache_has_its_contents_beside_it(tmp_path: Path) -> None:
    snapshot = tmp_path / "models--a--b" / "snapshots" / ("0" * 40)
    blobs = tmp_path / "models--a--b" / "blobs"
    snapshot.mkdir(parents=True)
    blobs.mkdir()
    (blobs / "1234").write_text("{}")
    (snapshot / "config.json").symlink_to("../../blobs/1234")
    check_own_file(snapshot, snapshot / "config.json")
    (tmp_path / "elsewhere").write_text("{}")
    (snapshot / "tokenizer.json").symlink_to("../../../elsewhere")
    with pytest.raises(ModelError, match="leads out of its folder"):
        check_own_file(snapshot, snapshot / "tokenizer.json")


def test_a_pointer_is_not_the_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(POINTER)
    with pytest.raises(ModelError, match="git-LFS pointers") as refused:
        check_own_file(folder, folder / "model.safetensors")
    assert "git lfs pull" in refused.value.remedy


def test_a_large_file_that_begins_like_a_pointer_is_none(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(POINTER + b" " * 2000)
    check_own_file(folder, folder / "model.safetensors")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return shutil.copytree(EMBEDDED, tmp_path / "a-model", ignore=shutil.ignore_patterns("samples", "*.py", "*.md"))


READ = ["config.json", "model.safetensors", "preprocessor_config.json", "tokenizer.json", "tokenizer_config.json"]


@pytest.mark.parametrize("name", READ)
def test_no_model_is_opened_through_a_link_that_leads_out(model: Path, name: str) -> None:
    (model / name).rename(model.parent / name)
    (model / name).symlink_to(model.parent / name)
    with pytest.raises(ModelError, match="leads out of its folder"):
        open_checkpoint(model)


@pytest.mark.parametrize("name", READ)
def test_no_model_is_opened_from_pointers(model: Path, name: str) -> None:
    (model / name).write_bytes(POINTER)
    with pytest.raises(ModelError, match="git-LFS pointers"):
        open_checkpoint(model)


def test_a_snapshot_of_the_hub_cache_is_opened(model: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--a--b"
    snapshot = repository / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    model.rename(repository / "blobs")
    for name in READ:
        (snapshot / name).symlink_to(Path("../../blobs") / name)
    assert open_checkpoint(snapshot).found.generation == "llava-hf 1.5"


def test_the_folder_of_a_training_run_leads_to_the_model_inside(model: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    model.rename(run / "model")
    with pytest.raises(ModelError) as told:
        open_checkpoint(run)
    assert str(run / "model") in told.value.remedy
