"""What `llava models list` says: published models, the hub cache, folders that were opened, the embedded model.

In: the disk, nothing else. Out: plain JSON data, and lines for a person made from it; what is one's own comes last,
where the eye is when a long list has gone by.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from llava_engine.backends.opening import models_at
from llava_engine.byte_text import gigabytes
from llava_engine.checkpoints.catalog import EMBEDDED, EMBEDDED_NAME, holds_llava
from llava_engine.checkpoints.released import RELEASED, Released
from llava_engine.hub.cache import cache_folder, cached_models, find_in_cache
from llava_tui.commands.known_folders import known_folders
from llava_tui.commands.model_report import files_in
from llava_tui.paths import user_paths

HERE, NOT_HERE = "●", "○"


def facts() -> dict[str, Any]:
    """All, as JSON data."""
    return {
        "published": [published_facts(one, here=find_in_cache(one.id) is not None) for one in RELEASED],
        "cache": {
            "folder": str(cache_folder()),
            "models": [
                {"id": one.id, "commit": one.commit, "folder": str(one.folder), "bytes": one.bytes}
                for one in cached_models()
                if holds_llava(one.folder)
            ],
        },
        "folders": [
            {"folder": str(known.path), "opened": known.opened, "here": known.path.exists()}
            for known in known_folders(user_paths().state)
        ],
        "embedded": {"name": EMBEDDED_NAME, "folder": str(EMBEDDED), "bytes": files_in(EMBEDDED)["bytes"]},
    }


def published_facts(one: Released, *, here: bool) -> dict[str, Any]:
    """A published model as JSON data; `here`: whether it is in the hub cache."""
    return {**asdict(one), "here": here}


def page(found: dict[str, Any]) -> Iterator[str]:
    """The facts as lines for a person."""
    yield f"Published ({HERE} is in the hub cache)"
    for one in found["published"]:
        lines = about(one)
        yield f"  {HERE if one['here'] else NOT_HERE} {next(lines)}"
        yield from (f"    {line}" for line in lines if not line.startswith("Fetch"))
    yield ""
    yield f"Hub cache {found['cache']['folder']}"
    several = Counter(one["id"] for one in found["cache"]["models"])
    for one in found["cache"]["models"]:
        which = f" at {one['commit']}" if several[one["id"]] > 1 else ""
        yield f"  {HERE} {one['id']}{which}  {gigabytes(one['bytes'])}"
    if not found["cache"]["models"]:
        yield "  no LLaVA yet: llava models get ID"
    yield ""
    yield "Folders that you have opened"
    for one in found["folders"]:
        day = time.strftime("%Y-%m-%d", time.localtime(one["opened"]))
        yield f"  {HERE if one['here'] else NOT_HERE} {one['folder']}  " + (day if one["here"] else "is gone")
    if not found["folders"]:
        yield "  none yet: llava chat --model FOLDER"
    yield ""
    yield "Comes along"
    yield f"  {HERE} {found['embedded']['name']}  {gigabytes(found['embedded']['bytes'])}, without --model"


def facts_of_server(url: str, key_file: str | None) -> dict[str, Any]:
    """The models of a server, as JSON data."""
    where, models = models_at(url, key_file)
    return {"where": where, "models": [asdict(one) for one in models]}


def page_of_server(found: dict[str, Any]) -> Iterator[str]:
    """They as lines for a person."""
    yield f"At {found['where']}"
    for one in found["models"]:
        size = f"{one['context_length']:,} tokens" if one["context_length"] else ""
        sees = {True: "sees pictures", False: "can not see", None: ""}[one["sees"]]
        yield f"  {one['name']}  {', '.join(word for word in (size, sees) if word)}".rstrip()
    if not found["models"]:
        yield "  none"


def about(one: dict[str, Any]) -> Iterator[str]:
    """A published model, as lines for a person."""
    size = f"about {one['gigabytes']} GB" if one["gigabytes"] else "size not known"
    what = f"vision tower, {one['base']}" if one["form"] == "tower" else _what(one)
    yield one["id"]
    yield f"{what} · {size} · {one['licence']}"
    if one["tower"]:
        yield f"tower beside it: {one['tower']}"
    if one["advice"]:
        yield one["advice"]
    if not one["here"]:
        yield f"Fetch it: llava models get {one['id']}"


def _what(one: dict[str, Any]) -> str:
    how = "from" if one["form"] == "whole" else "over"
    return f"{one['generation']}, {one['size']}, {one['form']}, {how} {one['base']}"
