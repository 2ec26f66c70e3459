"""What a server is and has: which of its models is meant, what that can hold, whether it sees.

Every fact but the model's name is one that a server may keep to itself; then it is not known, and nothing is guessed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any
from urllib.parse import urlencode

from llava_engine.backends.remote.dialects import DIALECTS, Kind
from llava_engine.backends.remote.key import OPENAI_HOST
from llava_engine.backends.remote.problems import Problems
from llava_engine.backends.remote.server import Server, Whole
from llava_engine.contract import Ability, never
from llava_engine.errors import EngineAwayError, ModelError
from llava_engine.terminal_safe import SafeText, one_line

WITHIN_S = 15.0
"""How long a server may take for a list of its models."""

_PROBE_S = 5.0  # for what only some have
_MOST_BYTES = 2**23  # of a list: hosts with hundreds of models send half a megabyte
_MOST_NAMED = 12  # models in an error
_LONGEST_NAME = 200  # letters
_MOST_SLOTS = 256
_KINDS: dict[str, Kind] = {
    "llava": "llava",
    "vllm": "vllm",
    "sglang": "sglang",
    "llamacpp": "llamacpp",
    "library": "ollama",
    "ollama": "ollama",
}
_CONTEXTS = ("max_model_len", "context_length", "context_window")


@dataclass(frozen=True)
class Own:
    """What `llava serve` says of its model beside what all do; see `ModelCard`."""

    template: SafeText = SafeText("")
    picture_tokens: int | None = None
    tiles: bool = False
    slots: int | None = None


@dataclass(frozen=True)
class Listed:
    """A model that a server has.

    Attributes:
        name: as a request names it.
        shown: as a person sees it.
        owner: who has it, as the server says.
        context_length: what it can hold, in tokens; None where it does not say.
        sees: whether it takes pictures; None where it does not say.
        own: what only ours say.
    """

    name: str
    shown: SafeText
    owner: str = ""
    context_length: int | None = None
    sees: bool | None = None
    own: Own = Own()


@dataclass(frozen=True)
class Found:
    """What answers.

    Attributes:
        base: what stands before /chat/completions.
        kind: what kind of server it is; "" for one that does not say.
        model: the model that was chosen.
        slots: how many answers at once are no burden.
    """

    base: str
    kind: Kind
    model: Listed
    slots: int

    @property
    def cannot(self) -> frozenset[Ability]:
        """What is known to be lacking."""
        blind: frozenset[Ability] = frozenset({"pictures"} if self.model.sees is False else ())
        return DIALECTS[self.kind].lacks | blind | {"ids"}


def models_of(server: Server, cancelled: Callable[[], bool] = never) -> tuple[str, list[Listed]]:
    """The base under which a server answers, and its models.

    Raises:
        EngineAwayError: it can not be reached, refuses, or has no list of models.
    """
    answer = None
    for base in server.address.bases:
        answer = server.ask("GET", f"{base}/models", within_s=WITHIN_S, most_bytes=_MOST_BYTES, cancelled=cancelled)
        if answer.head.status != HTTPStatus.NOT_FOUND:
            return base, _listed(server, answer)
    assert answer is not None  # an address has one base at least
    return server.address.bases[0], _listed(server, answer)


def discover(server: Server, model: str | None, cancelled: Callable[[], bool] = never) -> Found:
    """Choose the model, and find out what can be known of it.

    Args:
        server: which.
        model: its name; None where the server has but one.
        cancelled: nobody wants to know any more.

    Raises:
        EngineAwayError: as `models_of`.
        ModelError: the server lacks that model, or has several and none was named. The error lists them.
    """
    base, models = models_of(server, cancelled)
    chosen = _chosen(models, model, server.address.where)
    kind = _KINDS.get(chosen.owner, "")
    if server.address.host == OPENAI_HOST:
        kind = "openai"
    found = Found(base, kind, chosen, min(chosen.own.slots or DIALECTS[kind].slots, _MOST_SLOTS))
    return _examined(server, found, cancelled)


def _listed(server: Server, answer: Whole) -> list[Listed]:
    where = server.address.where
    if answer.head.status != HTTPStatus.OK:
        error = Problems(server.address, server.key, None).of_answer(answer)
        raise error if isinstance(error, EngineAwayError) else EngineAwayError(error.cause, error.remedy)
    said = answer.json()
    rows = said.get("data") if isinstance(said, dict) else said
    if not isinstance(rows, list):
        what = "a web page" if answer.head.kind == "text/html" else "something else"
        raise EngineAwayError(
            f"{where} answers with {what}, not with a list of models.",
            "Give the address of an OpenAI-compatible engine, as http://HOST:PORT.",
        )
    return [one for one in map(_model, rows) if one is not None]


def _model(row: Any) -> Listed | None:
    if not isinstance(row, dict):
        return None
    name = row.get("id") or row.get("name")
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        return None
    meta = row.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    sizes = [row.get(key) for key in _CONTEXTS] + [meta.get("n_ctx"), meta.get("n_ctx_train")]
    architecture = row.get("architecture")
    takes = architecture.get("input_modalities") if isinstance(architecture, dict) else None
    return Listed(
        name,
        one_line(name),
        str(row.get("owned_by") or "")[:_LONGEST_NAME],
        next((size for size in map(_tokens, sizes) if size), None),
        "image" in takes if isinstance(takes, list) else None,
        _own(row) if row.get("owned_by") == "llava" else Own(),
    )


def _own(said: dict[str, Any]) -> Own:
    template = said.get("template")
    return Own(
        one_line(template[:_LONGEST_NAME] if isinstance(template, str) else ""),
        _tokens(said.get("picture_tokens")),
        said.get("tiles") is True,
        _tokens(said.get("slots")),
    )


def _chosen(models: Sequence[Listed], name: str | None, where: str) -> Listed:
    if name is None and len(models) == 1:
        return models[0]
    if not models:
        raise ModelError(f"{where} has no model.", "Load one there first.")
    for one in models:
        if name is not None and one.name in (name, f"{name}:latest"):  # Ollama's own way of leaving a tag away
            return one
    close = [one for one in models if name is not None and name.lower() in one.name.lower()] or models
    named = ", ".join(one.shown for one in close[:_MOST_NAMED])
    more = f" and {len(close) - _MOST_NAMED} more" if len(close) > _MOST_NAMED else ""
    has = f"{where} has several models" if name is None else f"{where} has no model {name}"
    raise ModelError(f"{has}. There {'is' if len(close) == 1 else 'are'} {named}{more}.", "Name one with --model.")


def _examined(server: Server, found: Found, cancelled: Callable[[], bool]) -> Found:
    """What a server tells at a place of its own."""
    root = found.base.removesuffix("/v1")

    def look(method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        try:
            answer = server.ask(
                method, root + path, body, within_s=_PROBE_S, most_bytes=_MOST_BYTES, cancelled=cancelled
            )
        except EngineAwayError:
            return {}
        said = answer.json() if answer.head.status == HTTPStatus.OK else None
        return said if isinstance(said, dict) else {}

    name = found.model.name
    match found.kind:
        case "llamacpp":
            # Not the context that it was trained with: the one that it was started with.
            props = look("GET", f"/props?{urlencode({'model': name, 'autoload': 'false'})}")
            settings, modalities = props.get("default_generation_settings"), props.get("modalities")
            size = _tokens(settings.get("n_ctx")) if isinstance(settings, dict) else None
            sees = modalities.get("vision") if isinstance(modalities, dict) else None
            slots = _tokens(props.get("total_slots"))
            found = replace(found, slots=min(slots or found.slots, _MOST_SLOTS))
            return _with(found, size, sees)
        case "sglang":
            told = look("GET", "/model_info") or look("GET", "/get_model_info")
            return _with(found, None, told.get("has_image_understanding"))
        case "ollama" | "":
            told = look("POST", "/api/show", {"model": name})
            abilities = told.get("capabilities")
            if found.kind == "" and told.get("model_info"):
                kind: Kind = "ollama"
                found = replace(found, kind=kind, slots=DIALECTS[kind].slots)
            return _with(found, None, "vision" in abilities if isinstance(abilities, list) else None)
        case _:
            return found


def _with(found: Found, context_length: int | None, sees: Any) -> Found:
    model = replace(found.model, context_length=context_length or found.model.context_length)
    return replace(found, model=replace(model, sees=sees) if isinstance(sees, bool) else model)


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 2**40 else None
