"""`llava models`: list, show, get, remove.

In: the command line. Out: lines for a person or one JSON object, on standard output; questions and progress on standard
error. `get` is the only command of llava that fetches weights. Text from files and servers is stripped before it is
shown. Must not know how models are read or fetched.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from llava_engine.byte_text import gigabytes
from llava_engine.errors import LlavaError, ModelError
from llava_engine.opening import EngineSource, Placement, Source
from llava_engine.terminal_safe import strip_control
from llava_tui.commands import options
from llava_tui.commands.byte_progress import byte_progress
from llava_tui.commands.say import say

if TYPE_CHECKING:
    from llava_engine.plan import Plan

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The models on this machine, and those that were published.",
    epilog="""\b
Examples:
  llava models list
  llava models list --engine http://gpu1:8000  what a server has
  llava models show ~/llava-7b                 what it is and what it takes
  llava models get llava-hf/llava-1.5-7b-hf    into the cache that all tools of the hub share
  llava chat --model llava-hf/llava-1.5-7b-hf
""",
)

AsJson = Annotated[bool, typer.Option("--json", help="The same as one JSON object.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


class UnansweredError(LlavaError):
    """A question that nobody is there to answer."""


@app.command("list")
def list_models(
    as_json: AsJson = False,
    engine: Annotated[
        str | None, typer.Option("--engine", metavar="URL", help="Those that a server has, instead.")
    ] = None,
    engine_key_file: Annotated[
        str | None, typer.Option("--engine-key-file", metavar="FILE", help="Its key; else LLAVA_ENGINE_KEY.")
    ] = None,
) -> None:
    """List the published models, the hub cache's, and your folders.

    Yours are those that a command has opened.
    """
    from llava_tui.commands.model_list import facts, facts_of_server, page, page_of_server

    if (source := EngineSource(engine=engine, engine_key_file=engine_key_file)).engine is not None:
        there = facts_of_server(source.engine, source.engine_key_file)
        _say(json.dumps(there, indent=2) if as_json else "\n".join(page_of_server(there)))
        return
    found = facts()
    _say(json.dumps(found, indent=2) if as_json else "\n".join(page(found)))


@app.command(
    epilog="""\b
Examples:
  llava models show                             the model that comes along
  llava models show ~/llava-7b --context 4096
  llava models show llava-hf/llava-1.5-7b-hf --json
"""
)
@options.opening
def show(
    model: Annotated[
        str | None, typer.Argument(metavar="FOLDER|ID", help="A folder or a hub id; without it, the tiny one.")
    ] = None,
    as_json: AsJson = False,
    *,
    source: Source,
    placement: Placement,
) -> None:
    """Show what a model is, what it needs, and how much memory it takes.

    Ends with 1 when something is missing.
    """
    from llava_engine.checkpoints.catalog import find, name_of
    from llava_engine.checkpoints.released import RELEASED

    try:
        folder = find(model)
    except ModelError:
        published = next((one for one in RELEASED if one.id == model), None)
        if published is None:
            raise
        from llava_tui.commands.model_list import about, published_facts

        facts = published_facts(published, here=False)
        _say(json.dumps(facts, indent=2) if as_json else "\n".join(about(facts)))
        return
    from llava_tui.commands.model_report import describe, files_in, foreign_page, page, plan_facts, plans

    facts = {"name": name_of(folder), "folder": str(folder), "files": files_in(folder)}
    memory: list[Plan] = []
    missing: LlavaError | None = None
    from llava_engine.backends.opening import describe_foreign, foreign

    found = foreign(source)
    try:
        if found is not None:
            told, plan = describe_foreign(found, source, placement)
            memory = [plan]
            facts |= {**told, "memory": [plan_facts(plan)]}
        else:
            from llava_engine.checkpoints.open import open_source

            checkpoint = open_source(source)
            memory = plans(checkpoint, placement)
            facts |= {**describe(checkpoint), "memory": [plan_facts(plan) for plan in memory]}
    except LlavaError as error:
        missing = error
        facts["missing"] = {"cause": error.cause, "remedy": error.remedy}
    lines = page if found is None else foreign_page
    _say(json.dumps(facts, indent=2) if as_json else "\n".join(lines(facts, memory, placement.quantize)))
    if missing is not None:
        raise missing


@app.command(
    epilog="""\b
Examples:
  llava models get llava-hf/llava-1.5-7b-hf
  llava models get openai/clip-vit-large-patch14-336 --yes

HF_HOME or HF_HUB_CACHE says where to, HF_TOKEN opens gated models, HF_ENDPOINT names another hub, and HF_HUB_OFFLINE
forbids the network.
"""
)
def get(
    model: Annotated[str, typer.Argument(metavar="ID", help="A model on the hub: ORG/NAME.")],
    revision: Annotated[str, typer.Option("--revision", metavar="REV", help="A branch, tag or commit.")] = "main",
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Fetch a model from the hub, or go on fetching it.

    Only weights, configs and tokenizer files are fetched, never code; each is checked against the hub's checksum.
    """
    from llava_engine.checkpoints.catalog import named_tower
    from llava_engine.checkpoints.released import RELEASED
    from llava_engine.hub.cache import find_in_cache, is_id
    from llava_engine.hub.fetching import Hub

    hub = Hub.from_environment()
    repository = hub.look_up(model, revision)
    missing = hub.missing_bytes(repository)
    advice = next((one.advice for one in RELEASED if one.id == model and one.advice), "")
    if missing:
        form = ".bin, read without running any code in them" if repository.has_pickles else "safetensors"
        _note(f"{model} at {repository.commit[:12]}: {len(repository.files)} files, weights in {form}")
        if advice:
            _note(advice[0].upper() + advice[1:] + ".")
        _confirm(f"Fetch {gigabytes(missing)} into {hub.cache}?", yes)
    try:
        with byte_progress(shown=missing > 0) as tell:
            folder = hub.fetch(repository, tell)
    except KeyboardInterrupt:
        _note(f"\nStopped. Go on with: llava models get {model}")
        raise typer.Exit(130) from None
    if as_json:
        found = {"id": model, "commit": repository.commit, "folder": str(folder), "bytes": repository.bytes}
        _say(json.dumps(found, indent=2))
        return
    _say(str(folder))
    tower = named_tower(folder)
    if tower and is_id(tower) and find_in_cache(tower) is None:
        _note(f"Its vision tower is not in the cache: llava models get {tower}")
    if not advice:
        _note(f"Talk with it: llava chat --model {model if find_in_cache(model) == folder else folder}")


@app.command()
def remove(
    model: Annotated[str, typer.Argument(metavar="ID|FOLDER", help="A hub id in the cache, or a folder on the list.")],
    yes: Yes = False,
) -> None:
    """Delete a model from the hub cache, or take a folder off the list.

    A folder of your own is only forgotten, never deleted.
    """
    from llava_engine.hub.cache import cache_folder, is_id, remove_from_cache, stored_bytes
    from llava_tui.commands.known_folders import forget_folder
    from llava_tui.paths import user_paths

    try:
        folder = Path(model).expanduser().resolve()
    except (OSError, RuntimeError, ValueError):
        raise ModelError(f"{model!r} is neither a path nor the id of a model.", "Give a folder, or ORG/NAME.") from None
    if forget_folder(folder, user_paths().state):
        _say(f"{folder} is off the list; its files are as they were.")
        return
    if not is_id(model):
        raise ModelError(
            f"{model!r} is neither on the list nor the id of a model.",
            "Folders of your own are never deleted from here.",
        )
    size = stored_bytes(model)
    if size:
        question = f"Delete {model} from {cache_folder()}, where other programs use it too ({gigabytes(size)})?"
        _confirm(question, yes, default=False)
    remove_from_cache(model)
    _say(f"{model} is deleted; {gigabytes(size)} are free again.")


def _confirm(question: str, yes: bool, *, default: bool = True) -> None:
    if yes:
        return
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise UnansweredError(strip_control(question), "Nobody can answer here; say it again with --yes.")
    typer.confirm(strip_control(question), default=default, abort=True, err=True)


def _say(text: str) -> None:
    say(strip_control(text))


def _note(text: str) -> None:
    say(strip_control(text), err=True)
