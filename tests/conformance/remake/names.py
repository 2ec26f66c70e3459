"""Other names for everything that a conformance set names freely: folders, pictures, projectors, samples, cases.

In: the first set's folder. Out: a name for a name, the same one each time. Knows nothing of what the files hold.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

_FOLDERS = ("checkpoints", "vision", "tokenizers")


class Names:
    """New words for old names; which ones depends on the seed alone.

    Attributes:
        paths: every folder and file of the set with a free name, by its old path from the set's folder.
        pictures: file names in images/.
    """

    def __init__(self, first: Path, seed: int) -> None:
        self._words = _words(seed)
        self._ids: dict[str, str] = {}
        self.paths: dict[str, str] = {}
        for kind in _FOLDERS:
            for folder in sorted((first / kind).iterdir()):
                self.paths[f"{kind}/{folder.name}"] = f"{kind}/{next(self._words)}"
        for file in sorted((first / "projectors").iterdir()):
            self.paths[f"projectors/{file.name}"] = f"projectors/{next(self._words)}{file.suffix}"
        files = sorted(file for file in (first / "images").iterdir() if file.suffix != ".json")
        self.pictures = {file.name: f"{next(self._words)}{file.suffix}" for file in files}
        self._known = self.paths | self.pictures
        for old, new in self.paths.items():
            if old.startswith(("checkpoints/", "vision/")):  # the goldens write these without their folder, too
                self._known[old.partition("/")[2]] = new.partition("/")[2]

    def word(self) -> str:
        """A name that nothing has."""
        return next(self._words)

    def path(self, text: str) -> str:
        """A path or name, or a pixel golden's key made of some, renamed; any other text as it is."""
        return "|".join(self._known.get(part, part) for part in text.split("|"))

    def id(self, old: str) -> str:
        """A sample's, a conversation's or a case's; the same for the same."""
        return self._ids.setdefault(old, next(self._words))


def _words(seed: int) -> Iterator[str]:
    source = random.Random(seed)
    seen: set[str] = set()
    while True:
        word = "".join(source.choice("bdfgklmnprstvz") + source.choice("aeiou") for _ in range(3))
        if word not in seen:
            seen.add(word)
            yield word
