"""Votes on answers, kept as lines of JSON in the form that the original's page logged them.

A line: tstamp, type, model, state (the conversation), ip. Who voted is not kept, so that ip is empty; of pictures only
their hashes are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from pathlib import Path

from llava_engine.errors import PictureError
from llava_engine.files.atomic import storage_errors
from llava_engine.pictures.reading import read_data_url
from llava_engine.server.conversation import draft
from llava_engine.server.problems import invalid
from llava_engine.server.protocol import Vote


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
    with storage_errors(path):
        # One write at the end of the file: lines of two servers do not mix.
        file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(file, json.dumps(line).encode("ascii") + b"\n")
        finally:
            os.close(file)


def _hash(url: str, param: str) -> str:
    if url[:5].lower() != "data:":
        return url
    try:
        return hashlib.sha256(read_data_url(url)).hexdigest()
    except PictureError as error:
        raise invalid(str(error.cause), param, "invalid_image") from error
