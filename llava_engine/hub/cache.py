"""The hub cache: where models that were downloaded once are, in the layout that all tools of the hub share.

`models--ORG--NAME/blobs/HASH` holds contents, `snapshots/COMMIT/FILE` links to them, `refs/main` names a commit. This
file only looks and removes: it knows nothing of the network, and nothing of what is in a model.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from llava_engine.errors import ModelError, StorageError
from llava_engine.files.json import read_json

COMMIT = re.compile(r"[0-9a-f]{40}")
_PART = r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_ID = re.compile(rf"{_PART}/{_PART}")
_REVISION = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]{0,199}")
_CONFIGS = ("config.json", "adapter_config.json")
_WEIGHTS = (".safetensors", ".bin")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")


@dataclass(frozen=True)
class CachedModel:
    """A snapshot in the cache.

    Attributes:
        id: the repository, `ORG/NAME`.
        commit: which state of it.
        folder: the snapshot.
        bytes: of all its files.
    """

    id: str
    commit: str
    folder: Path
    bytes: int


def cache_folder(env: Mapping[str, str] = os.environ) -> Path:
    """$HF_HUB_CACHE, or $HF_HOME/hub, or huggingface/hub in the user's cache folder. It need not exist."""
    if named := env.get("HF_HUB_CACHE") or env.get("HUGGINGFACE_HUB_CACHE"):
        return Path(os.path.expandvars(named)).expanduser()
    if home := env.get("HF_HOME"):
        return Path(os.path.expandvars(home)).expanduser() / "hub"
    cache = env.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(cache).expanduser() / "huggingface" / "hub"


def is_id(text: str) -> bool:
    """Whether a text has the form `ORG/NAME` of the hub: letters, digits, `_`, `-`, `.`, and no way out of a folder."""
    return bool(_ID.fullmatch(text)) and ".." not in text and "--" not in text


def check_id(model_id: str) -> str:
    """The same text, if it is a hub id.

    Raises:
        ModelError: it is none.
    """
    if not is_id(model_id):
        raise ModelError(
            f"{model_id!r} is not the id of a model on the hub.", "An id is ORG/NAME, like llava-hf/llava-1.5-7b-hf."
        )
    return model_id


def check_revision(revision: str) -> str:
    """The same text, if it can be a branch, a tag or a commit.

    Raises:
        ModelError: it can not.
    """
    if not _REVISION.fullmatch(revision) or not is_inside(revision):
        raise ModelError(f"{revision!r} is not a revision.", "Give a branch, a tag or a commit.")
    return revision


def is_inside(name: str) -> bool:
    """Whether a relative name, with `/` between its parts, stays in the folder that it is put into on any system."""
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or PurePosixPath(name).is_absolute():
        return False
    return name.isprintable() and not set(name) & set('\\:*?"<>|')


def repository_folder(cache: Path, model_id: str) -> Path:
    """Where the cache keeps a repository."""
    return cache / ("models--" + check_id(model_id).replace("/", "--"))


def find_in_cache(model_id: str, *, revision: str = "main", env: Mapping[str, str] = os.environ) -> Path | None:
    """The snapshot of a model that was downloaded before, by whatever tool; None if it is not here or not whole.

    Looks at files only, whatever HF_HUB_OFFLINE says, and never at the network. The files in the snapshot are links to
    `../../blobs`.

    Args:
        model_id: `ORG/NAME`; anything else is not in the cache.
        revision: a branch or tag that the cache has heard of, or a commit. Where it has not heard of main, the only
            snapshot that is whole stands for it.
    """
    if not is_id(model_id) or not _REVISION.fullmatch(revision) or not is_inside(revision):
        return None
    repository = repository_folder(cache_folder(env), model_id)
    commit = revision if COMMIT.fullmatch(revision) else _read_ref(repository / "refs" / revision)
    if commit is None and revision == "main":
        whole = [snapshot for snapshot in _commits(repository) if is_whole(snapshot)]
        return whole[0] if len(whole) == 1 else None
    snapshot = repository / "snapshots" / (commit or "none")
    return snapshot if commit and is_whole(snapshot) else None


def id_of_snapshot(folder: Path, cache: Path | None = None) -> str | None:
    """The model that a folder is a snapshot of, if it is one in this cache; None stands for any cache."""
    repository = folder.parent.parent
    if folder.parent.name != "snapshots" or not repository.name.startswith("models--"):
        return None
    if cache is not None and repository.parent.resolve() != cache.resolve():
        return None
    return _id(repository)


def snapshot_or_folder(folder: Path) -> Path:
    """A folder, or where it is a repository's folder of a cache, as people copy and name it, the snapshot in it.

    That is main's, or without one the newest that is whole. Repositories are told by what is in them.
    """
    if not folder.is_dir() or (folder / "config.json").exists():
        return folder
    commit = _read_ref(folder / "refs" / "main")
    if commit is not None and (folder / "snapshots" / commit).is_dir():
        return folder / "snapshots" / commit
    snapshots = [snapshot for snapshot in _commits(folder) if snapshot.is_dir()]
    return max(snapshots, key=lambda each: (is_whole(each), each.stat().st_mtime), default=folder)


def is_whole(folder: Path) -> bool:
    """Whether a folder has a config, weights, and every shard that an index of it names."""
    try:
        names = {file.name for file in folder.iterdir() if file.is_file()}  # a link to nothing is no file
    except OSError:
        return False
    if names.isdisjoint(_CONFIGS) or not any(name.endswith(_WEIGHTS) for name in names):
        return False
    return all(_shards(folder / index) <= names for index in _INDEXES if index in names)


def cached_models(env: Mapping[str, str] = os.environ) -> list[CachedModel]:
    """Every snapshot in the cache that is whole, by id."""
    return sorted(_snapshots(cache_folder(env)), key=lambda model: (model.id.lower(), model.commit))


def remove_from_cache(model_id: str, env: Mapping[str, str] = os.environ) -> None:
    """Delete all that the cache has of a model.

    Raises:
        ModelError: it is not in the cache, or the name is no id.
        StorageError: no permission.
    """
    repository = repository_folder(cache_folder(env), model_id)
    if repository.is_symlink() or not repository.is_dir():
        raise ModelError(f"{model_id} is not in the hub cache.", "See: llava models list")
    try:
        shutil.rmtree(repository)
    except OSError as error:
        raise StorageError(f"{repository} can not be deleted: {error.strerror}.", "Check its permissions.") from None


def stored_bytes(model_id: str, env: Mapping[str, str] = os.environ) -> int:
    """What deleting a model would free, of all its revisions and half downloads."""
    repository = repository_folder(cache_folder(env), model_id)
    files = (Path(folder, name) for folder, _, names in os.walk(repository) for name in names)
    return sum(file.stat().st_size for file in files if not file.is_symlink())


def _snapshots(cache: Path) -> Iterator[CachedModel]:
    for repository in cache.glob("models--*--*"):
        model_id = _id(repository)
        for snapshot in _commits(repository):
            if model_id and is_whole(snapshot):
                size = sum(file.stat().st_size for file in snapshot.rglob("*") if file.is_file())
                yield CachedModel(model_id, snapshot.name, snapshot, size)


def _commits(repository: Path) -> list[Path]:
    return [snapshot for snapshot in repository.glob("snapshots/*") if COMMIT.fullmatch(snapshot.name)]


def _id(repository: Path) -> str | None:
    """The id that a folder of the cache is for."""
    org, _, name = repository.name.removeprefix("models--").partition("--")
    return f"{org}/{name}" if is_id(f"{org}/{name}") else None


def _read_ref(file: Path) -> str | None:
    try:
        text = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return None
    return text if COMMIT.fullmatch(text) else None


def _shards(index: Path) -> set[str]:
    """The files that an index names; a broken index names one that is never there."""
    try:
        table = read_json(index).get("weight_map")
    except (OSError, ModelError):
        table = None
    return {str(name) for name in table.values()} if isinstance(table, dict) else {""}
