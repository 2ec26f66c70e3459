"""What a repository on the hub holds, as its server says, and which of its files a model needs.

In: the server's JSON, of which nothing is trusted. Out: files with size and checksum, safe names only. Chosen are
weights (safetensors where there are any, `.bin` only where there are none), configs and tokenizer files; never code.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from llava_engine.errors import ModelError
from llava_engine.hub.cache import COMMIT, is_inside

COMPANIONS = frozenset(
    {
        "config.json",
        "generation_config.json",
        "preprocessor_config.json",
        "processor_config.json",
        "tokenizer.json",
        "tokenizer.model",
        "tokenizer_config.json",
        "special_tokens_map.json",
        "added_tokens.json",
        "vocab.json",
        "merges.txt",
        "chat_template.json",
        "chat_template.jinja",
        "adapter_config.json",
        "LICENSE",
        "LICENSE.txt",
    }
)
# A model's own weights. A repository that has none of these names is taken for a collection of projector files.
_MODEL = re.compile(
    r"(?P<stem>(pytorch_)?model|adapter_model|non_lora_trainables|mm_projector)(?P<shard>-\d+-of-\d+)?"
    r"\.(?P<form>safetensors|bin)"
)
_INDEX = re.compile(r"(?P<stem>(pytorch_)?model|adapter_model)\.(?P<form>safetensors|bin)\.index\.json")
_TRAINING_STATE = frozenset({"training_args.bin", "optimizer.bin", "scheduler.bin"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub.

    Attributes:
        name: in the top folder of the repository.
        size: bytes.
        sha256: of the content, where it is stored in LFS; "" otherwise.
        git_sha1: of the content as git counts it, where it is not in LFS; "" otherwise.
    """

    name: str
    size: int
    sha256: str
    git_sha1: str

    @property
    def blob(self) -> str:
        """The content's name in the cache."""
        return self.sha256 or self.git_sha1


@dataclass(frozen=True)
class Repository:
    """A repository at one commit, as far as a model needs it.

    Attributes:
        id: `ORG/NAME`, as it was asked for.
        revision: the branch, tag or commit that was asked for.
        commit: what that is now.
        files: those to fetch.
    """

    id: str
    revision: str
    commit: str
    files: tuple[RemoteFile, ...]

    @property
    def bytes(self) -> int:
        """All files together."""
        return sum(file.size for file in self.files)

    @property
    def has_pickles(self) -> bool:
        """Whether weights come in the `.bin` form, which is read by a reader that runs no code."""
        return any(file.name.endswith(".bin") for file in self.files)


def read_listing(model_id: str, revision: str, answer: Any) -> Repository:
    """What the server said of a repository, checked.

    Args:
        answer: the JSON of `/api/models/ID/revision/REVISION?blobs=true`.

    Raises:
        ModelError: it is not of that form, a name leads out of the folder, sizes or checksums are missing, or there
            are no weights that can be trusted.
    """
    try:
        commit, siblings = answer["sha"], answer["siblings"]
        names = [sibling["rfilename"] for sibling in siblings]
        if not COMMIT.fullmatch(commit):
            raise ValueError(commit)
        for name in names:
            if not is_inside(name):
                raise ModelError(
                    f"{model_id} has a file that would leave its folder: {name!r}.", "Nothing was fetched; report it."
                )
        wanted = set(chosen(names))
        files = tuple(_remote(sibling) for sibling in siblings if sibling["rfilename"] in wanted)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise ModelError(
            f"The server's list of the files of {model_id} can not be understood.",
            "It must say sizes and checksums; is HF_ENDPOINT a hub?",
        ) from None
    if len({file.name for file in files}) != len(files):
        raise ModelError(f"{model_id} lists a file twice.", "Nothing was fetched; report it.")
    if not any(_is_weights(file.name) for file in files):
        raise ModelError(
            f"{model_id} has no weights in safetensors or .bin form.", "Is there another form? See: llava models list"
        )
    return Repository(model_id, revision, commit, files)


def chosen(names: Iterable[str]) -> list[str]:
    """Which of a repository's files a model needs, sorted; only those in its top folder."""
    top = {name for name in names if "/" not in name}
    weights = [name for name in top if _MODEL.fullmatch(name) or _INDEX.fullmatch(name)]
    safe = {_stem(name) for name in weights if name.endswith(".safetensors")}
    weights = [name for name in weights if _is_safe(name) or _stem(name) not in safe]
    if not any(_is_weights(name) for name in weights):
        others = top - _TRAINING_STATE
        weights = [name for name in others if name.endswith(".safetensors")]
        weights = weights or [name for name in others if name.endswith(".bin")]
    return sorted({*weights, *(top & COMPANIONS)})


def _stem(name: str) -> str:
    """What the weights are, whatever their form: model.… in one is pytorch_model.… in the other."""
    match = _MODEL.fullmatch(name) or _INDEX.fullmatch(name)
    assert match
    return match["stem"].removeprefix("pytorch_")


def _is_safe(name: str) -> bool:
    return name.endswith((".safetensors", ".safetensors.index.json"))


def _is_weights(name: str) -> bool:
    return name.endswith((".safetensors", ".bin"))


def _remote(sibling: Any) -> RemoteFile:
    lfs = sibling.get("lfs")
    size = lfs["size"] if lfs else sibling["size"]
    sha256 = lfs.get("sha256") or lfs["oid"] if lfs else ""
    git_sha1 = "" if lfs else sibling["blobId"]
    if type(size) is not int or size < 0:
        raise ValueError(size)
    if not (_SHA256.fullmatch(sha256) if lfs else COMMIT.fullmatch(git_sha1)):
        raise ValueError(sha256 or git_sha1)
    return RemoteFile(sibling["rfilename"], size, sha256, git_sha1)
