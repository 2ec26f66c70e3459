"""Votes on answers, kept as lines of JSON in the form that the original's page logged them.

A line: tstamp, type, model, state (the conversation), ip. Who voted is not kept, so that ip is empty; of pictures only
their hashes are.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import threading
import time
from pathlib import Path

from llava_engine.errors import PictureError
from llava_engine.files.atomic import storage_errors
from llava_engine.pictures.reading import read_data_url
from llava_engine.server.conversation import draft
from llava_engine.server.problems import invalid
from llava_engine.server.protocol import Vote

_WRITING = threading.Lock()


def keep(path: Path, vote: Vote, model: str) -> None:
    """Add a vote to a file, for its owner's eyes only.

    Raises:
        Problem: it has nothing that was said.
        StorageError: the disk does not take it.
    """
    said = draft(vote.messages, to_be_answered=False)
    state = {
        "system": said.system or "",
        "roles": ["user", "assistant"],
        "messages": [[turn.role, turn.text] for turn in said.turns],
        "offset": 0,
        "images": [_hash(picture.url, picture.param) for picture in said.pictures],
    }
    line = {"tstamp": round(time.time(), 4), "type": vote.type, "model": model, "state": state, "ip": ""}
    with storage_errors(path), _WRITING:
        _add(path, json.dumps(line).encode("ascii") + b"\n")


def _add(path: Path, line: bytes) -> None:
    """All of a line or none of it: a full disk takes a part, and the next line would go on after that."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        # One write at the end of the file: lines of two servers do not mix.
        written = os.write(file, line)
        end = os.lseek(file, 0, os.SEEK_CUR)
        if written < len(line):
            if os.fstat(file).st_size == end:  # nobody else has gone on
                os.ftruncate(file, end - written)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


def _hash(url: str, param: str) -> str:
    if url[:5].lower() != "data:":
        return url
    try:
        return hashlib.sha256(read_data_url(url)).hexdigest()
    except PictureError as error:
        raise invalid(str(error.cause), param, "invalid_image") from error
