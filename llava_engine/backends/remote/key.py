"""The key of a server: from where it comes, and that it is shown nowhere.

Never from a command line, which every process of a machine may read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from llava_engine.backends.remote.address import Address
from llava_engine.errors import UsageError

VARIABLE = "LLAVA_ENGINE_KEY"
OPENAI_VARIABLE, OPENAI_HOST = "OPENAI_API_KEY", "api.openai.com"
_LONGEST = 16_384  # bytes of a file: a signed token with many claims, and a little


class Key:
    """A secret, or none. It leaves as a header, and has no other face.

    Args:
        value: the secret; "" for none.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str = "") -> None:
        self._value = value

    def __repr__(self) -> str:
        return "Key(…)" if self._value else "Key()"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __reduce__(self) -> str:
        raise TypeError("a key is not written anywhere")

    def header(self) -> dict[str, str]:
        """What a request carries."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def hidden(self, text: str) -> str:
        """A text of the server, which may quote the key, without it."""
        return text.replace(self._value, "…") if self._value else text


def find_key(address: Address, file: str | None, environment: Mapping[str, str]) -> Key:
    """The key for this server: of the file, else of LLAVA_ENGINE_KEY; OPENAI_API_KEY is for OpenAI's own server only.

    Raises:
        UsageError: the file can not be read, or what is there is no key. The error quotes nothing of it.
    """
    if file is not None:
        return Key(checked(_read(file), f"--engine-key-file: {file}"))
    if value := environment.get(VARIABLE):
        return Key(checked(value, VARIABLE))
    if address.host == OPENAI_HOST and address.encrypted and (value := environment.get(OPENAI_VARIABLE)):
        return Key(checked(value, OPENAI_VARIABLE))
    return Key()


def _read(file: str) -> str:
    try:
        with Path(file).expanduser().open("rb") as stream:
            return stream.read(_LONGEST + 1).decode("ascii", "replace")
    except (OSError, RuntimeError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is no path"
        raise UsageError(
            f"--engine-key-file: {file} can not be read ({why}).", "Name a file that holds the key and nothing else."
        ) from None


def checked(value: str, whence: str) -> str:
    """A secret as it may stand in a header; raises UsageError, which names whence it is and quotes nothing of it."""
    value = value.strip()
    if not value or len(value) > _LONGEST or not all("!" <= letter <= "~" for letter in value):
        raise UsageError(f"{whence} holds no key.", "A key is one line of letters, digits and signs.")
    return value
