"""What a server is told when it starts: one frozen value, checked where it is made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from llava_engine.errors import UsageError

MOST_STOPS = 16
"""Stop texts of a request; OpenAI takes 4."""


@dataclass(frozen=True)
class Settings:
    """How requests are met.

    Attributes:
        key: what a client must show; None where nobody must.
        name: what the model is called instead of its own name, which stays good too.
        temperature: of requests that say none. 0, not OpenAI's 1: the same question has the same answer.
        queue: how many requests may wait beside those that are answered.
        max_body: bytes of a request.
        max_pictures: of a request.
        max_pixels: of a picture, by its header.
        fetch_from: hosts from which pictures are fetched, in lower case; none: addresses are refused.
        cors: origins of other pages that may use the API from a browser.
        hosts: names besides localhost and addresses by which this server may be called.
        votes: the file to which votes are added; None where they are not taken.

    Raises:
        UsageError: a value that its option can not have.
    """

    key: str | None = None
    name: str | None = None
    temperature: float = 0.0
    queue: int = 32
    max_body: int = 20_000_000
    max_pictures: int = 16
    max_pixels: int = 40_000_000
    fetch_from: frozenset[str] = frozenset()
    cors: tuple[str, ...] = ()
    hosts: frozenset[str] = frozenset()
    votes: Path | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < math.inf:
            raise UsageError(f"--temperature can not be {self.temperature}.", "Say 0 or more.")
        if self.queue < 0:
            raise UsageError(f"--queue can not be {self.queue}.", "Say how many may wait: 0 or more.")
        for name, least in (("max_body", 1), ("max_pictures", 0), ("max_pixels", 1)):
            if getattr(self, name) < least:
                raise UsageError(f"--{name.replace('_', '-')} can not be {getattr(self, name)}.")
        if self.key is not None and not self.key.isprintable():
            raise UsageError("The key has letters that no header can carry.", "Use letters, digits and signs.")
        for origin in self.cors:
            _check_origin(origin)


def _check_origin(origin: str) -> None:
    try:
        parts = urlsplit(origin)
        whole = parts.scheme in ("http", "https") and parts.hostname and f"{parts.scheme}://{parts.netloc}" == origin
    except ValueError:
        whole = False
    if not whole:  # "*" too: any page that a person looks at could ask then
        raise UsageError(f"--cors can not be {origin!r}.", "Say an origin, as https://example.org, or several.")
