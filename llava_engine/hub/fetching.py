"""Models from the hub into the cache that its tools share: looked up, fetched, checked, resumed.

The only place of the engine that fetches weights, and only when `llava models get` says so: nothing calls it to load a
model. A file is in the snapshot when its size and checksum are right; a branch points to a commit when all files are.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import quote

from llava_engine.byte_text import gigabytes
from llava_engine.contract import LoadProgress
from llava_engine.errors import ModelError, StorageError
from llava_engine.files.atomic import write_text
from llava_engine.files.lock import try_lock
from llava_engine.hub.cache import cache_folder, check_id, check_revision, repository_folder
from llava_engine.hub.listing import RemoteFile, Repository, read_listing
from llava_engine.hub.server import HubServer, PassingTrouble

if TYPE_CHECKING:
    from hashlib import _Hash

    import httpx

READ_BYTES = 2**20
YES = frozenset({"1", "on", "yes", "true"})


@dataclass(frozen=True)
class Hub:
    """A hub and the cache that its models go to.

    Attributes:
        server: whom to ask.
        cache: the folder with the models--… folders.
    """

    server: HubServer
    cache: Path

    @classmethod
    def from_environment(cls, env: Mapping[str, str] = os.environ) -> Hub:
        """As HF_ENDPOINT, HF_TOKEN, HF_HOME and HF_HUB_CACHE say.

        Raises:
            ModelError: HF_HUB_OFFLINE forbids the network, or HF_ENDPOINT is no address.
        """
        if env.get("HF_HUB_OFFLINE", "").lower() in YES:
            raise ModelError("HF_HUB_OFFLINE is set, so nothing is fetched.", "Unset it and say it again.")
        endpoint = env.get("HF_ENDPOINT") or HubServer.endpoint
        return cls(HubServer(endpoint, (env.get("HF_TOKEN") or "").strip() or None), cache_folder(env))

    def look_up(self, model_id: str, revision: str = "main") -> Repository:
        """What of a model would be fetched: files, sizes, checksums.

        Raises:
            ModelError: no such model, no access, no network, no weights, or an answer that can not be trusted.
        """
        path = f"/api/models/{check_id(model_id)}/revision/{quote(check_revision(revision), safe='')}?blobs=true"
        return read_listing(model_id, revision, self.server.ask(path, f"{model_id} at {revision}"))

    def missing_bytes(self, repository: Repository) -> int:
        """How much of it is not on this disk yet."""
        blobs = self._blobs(repository)
        return sum(file.size - _bytes_here(blobs, file) for file in repository.files)

    def fetch(self, repository: Repository, on_progress: Callable[[LoadProgress], None] | None = None) -> Path:
        """Bring a model into the cache, going on where an earlier try ended.

        Args:
            on_progress: told with every piece that arrives: which file, and bytes of all files, those from earlier
                included.

        Returns:
            The snapshot: a folder as a model is opened from.

        Raises:
            ModelError: the network, the server, or a checksum; what was right stays for the next try.
            StorageError: not enough space (said before the first byte), no permission.
        """
        self._check_space(repository)
        folder = repository_folder(self.cache, repository.id)
        snapshot = folder / "snapshots" / repository.commit
        done = 0
        try:
            (folder / "blobs").mkdir(parents=True, exist_ok=True)
            snapshot.mkdir(parents=True, exist_ok=True)
            for file in repository.files:
                blob = folder / "blobs" / file.blob

                def tell(here: int, file: RemoteFile = file, before: int = done) -> None:
                    if on_progress:
                        on_progress(LoadProgress(file.name, before + here, repository.bytes))

                if not (blob.is_file() and blob.stat().st_size == file.size):
                    self._fetch_file(repository, file, blob, tell)
                _link(blob, snapshot / file.name)
                done += file.size
                tell(file.size)
            if repository.revision != repository.commit:
                reference = folder / "refs" / repository.revision
                reference.parent.mkdir(parents=True, exist_ok=True)
                write_text(reference, repository.commit)
        except OSError as error:
            raise StorageError(
                f"The hub cache {self.cache} can not be written: {error.strerror or error}.",
                "Free some space, or set HF_HOME to another folder.",
            ) from error
        return snapshot

    def _blobs(self, repository: Repository) -> Path:
        return repository_folder(self.cache, repository.id) / "blobs"

    def _check_space(self, repository: Repository) -> None:
        there = next(parent for parent in (self.cache, *self.cache.absolute().parents) if parent.exists())
        missing, free = self.missing_bytes(repository), shutil.disk_usage(there).free
        if missing > free:
            raise StorageError(
                f"{repository.id} needs {gigabytes(missing)} more, and {self.cache} has {gigabytes(free)} free.",
                "Free some space, or set HF_HOME to a folder on another disk.",
            )

    def _fetch_file(self, repository: Repository, file: RemoteFile, blob: Path, tell: Callable[[int], None]) -> None:
        """Fetch one file under its temporary name, check it, and give it its name."""
        part = blob.with_name(f"{blob.name}.incomplete")
        path = f"/{repository.id}/resolve/{repository.commit}/{quote(file.name)}"
        with part.open("ab") as out:
            if not try_lock(out.fileno()):
                raise ModelError(f"{repository.id} is being fetched already.", "Wait for the other one to end.")
            arriving = _Arriving(out, part, file, tell)
            tell(arriving.size)

            def receive() -> None:
                if arriving.size < file.size:
                    with self.server.stream(path, f"{file.name} of {repository.id}", arriving.size) as response:
                        arriving.take(response)

            self.server.retried(receive, lambda: arriving.size)
            out.flush()
            os.fsync(out.fileno())
            right = arriving.is_right()
        if not right:
            part.unlink()
            raise ModelError(
                f"{file.name} of {repository.id} arrived damaged: its size or checksum is not what the hub says.",
                "It was deleted. Say it again; if it happens twice, the repository or something on the way is broken.",
            )
        part.replace(blob)


class _Arriving:
    """A file that is being received: what is here of it, and the checksum of that so far.

    Attributes:
        size: bytes here.
    """

    def __init__(self, out: IO[bytes], part: Path, file: RemoteFile, tell: Callable[[int], None]) -> None:
        self._out = out
        self._file = file
        self._tell = tell
        self.size = part.stat().st_size
        self._digest = _digest(file)
        if self.size > file.size:
            self._restart()
        with part.open("rb") as here:
            while block := here.read(READ_BYTES):
                self._digest.update(block)

    def take(self, response: httpx.Response) -> None:
        """Append what a response brings.

        Raises:
            PassingTrouble: it ended too early, or is not what was asked for.
        """
        begin = response.headers.get("content-range", "").removeprefix("bytes ").partition("-")[0]
        if response.headers.get("content-encoding", "identity").strip().lower() not in ("", "identity"):
            raise PassingTrouble("sent a packed file that nobody asked for")  # a part of it could not be appended
        if response.status_code == HTTPStatus.OK:
            self._restart()  # this server does not resume
        elif begin != str(self.size):
            self._restart()
            raise PassingTrouble("sent another part of the file than was asked for")
        for chunk in response.iter_raw():
            room = self._file.size + 1 - self.size  # one byte too many is enough to know
            self._out.write(chunk[:room])
            self._digest.update(chunk[:room])
            self.size += len(chunk[:room])
            self._tell(min(self.size, self._file.size))
            if self.size > self._file.size:
                return
        if self.size < self._file.size:
            raise PassingTrouble("broke off")

    def is_right(self) -> bool:
        """Whether size and checksum are what the hub says."""
        return self.size == self._file.size and self._digest.hexdigest() == self._file.blob

    def _restart(self) -> None:
        self._out.truncate(0)
        self.size = 0
        self._digest = _digest(self._file)


def _digest(file: RemoteFile) -> _Hash:
    """LFS counts the content alone, git a header before it."""
    return hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)


def _bytes_here(blobs: Path, file: RemoteFile) -> int:
    for name in (file.blob, f"{file.blob}.incomplete"):
        try:
            return min((blobs / name).stat().st_size, file.size)
        except OSError:
            continue
    return 0


def _link(blob: Path, name: Path) -> None:
    """Let a file of the snapshot be the blob; where the system has no links, a copy of it."""
    target = os.path.relpath(blob, name.parent)
    if name.is_symlink() and str(name.readlink()) == target:
        return
    draft = name.with_name(f"{name.name}.{os.getpid()}.tmp")
    try:
        draft.symlink_to(target)
    except (OSError, NotImplementedError):
        shutil.copyfile(blob, draft)
    draft.replace(name)
