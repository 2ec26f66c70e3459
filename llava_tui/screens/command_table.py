"""Everything a person can do in the chat, in one table: it drives keys, slash commands, the palette and the help.

Knows names, not how anything is done: an action is a method `action_<name>` of the screen or widget that `where` says.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from textual.binding import Binding, BindingType

Where = Literal["chat", "turn", "prompt"]


@dataclass(frozen=True)
class Command:
    """One thing to do.

    Attributes:
        title: what it does, for the palette and the help.
        action: the method's name, without "action_".
        where: which part of the screen answers to it.
        keys: as Textual names them.
        slash: the word after "/"; "" when there is none.
        argument: what may follow the word, for the help; "" when nothing may.
    """

    title: str
    action: str
    where: Where = "chat"
    keys: tuple[str, ...] = ()
    slash: str = ""
    argument: str = ""


COMMANDS = (
    Command("Send", "send", "prompt", ("enter",)),
    Command("New line", "newline", "prompt", ("shift+enter", "ctrl+j")),
    Command("Earlier messages of yours", "recall(-1)", "prompt", ("up",)),
    Command("Later messages of yours", "recall(1)", "prompt", ("down",)),
    Command("Paste a picture, path or text", "paste_anything", "prompt", ("ctrl+v",)),
    Command("Attach a picture", "attach", "chat", ("ctrl+o",), "image", "[PATH or URL]"),
    Command("Remove the attached pictures", "detach", "chat", (), "clear"),
    Command("Stop; back to the prompt", "stop", "chat", ("escape",), "stop"),
    Command("Answer again", "regenerate", "chat", ("ctrl+r",), "regenerate"),
    Command("Change your last message", "edit", "chat", (), "edit"),
    Command("Copy the last answer", "copy", "chat", (), "copy"),
    Command("New chat", "new", "chat", ("ctrl+n",), "new"),
    Command("Earlier chats", "history", "chat", ("ctrl+l",), "history", "[WORDS]"),
    Command("Rename this chat", "rename", "chat", (), "rename", "TITLE"),
    Command("The model and its memory; another one", "model", "chat", (), "model", "[FOLDER|URL]"),
    Command("Change the colours", "theme", "chat", ("ctrl+t",), "theme", "[NAME]"),
    Command("Scroll up", "page(-1)", "chat", ("pageup",)),
    Command("Scroll down", "page(1)", "chat", ("pagedown",)),
    Command("To the first message", "first", "chat", ("ctrl+home",)),
    Command("To the last message", "last", "chat", ("ctrl+end",)),
    Command("Keys and commands", "help", "chat", ("f1",), "help"),
    Command("Quit", "quit", "chat", ("ctrl+q",), "quit"),
    Command("The message above", "move(-1)", "turn", ("up", "k")),
    Command("The message below", "move(1)", "turn", ("down", "j")),
    Command("Copy", "copy", "turn", ("y",)),
    Command("Answer again", "regenerate", "turn", ("r",)),
    Command("Change and send again", "edit", "turn", ("e",)),
    Command("Show its picture large", "open", "turn", ("enter", "o")),
    Command("The version before", "flip(-1)", "turn", ("left",)),
    Command("The version after", "flip(1)", "turn", ("right",)),
    Command("Back to the prompt", "leave", "turn", ("i",)),
)

QUIT_WORDS = frozenset({"exit", "quit", ":q"})
"""What people type alone when they want to leave."""


def bindings(where: Where) -> list[BindingType]:
    """The keys of one part of the screen, for its BINDINGS."""
    return [
        Binding(",".join(command.keys), command.action, command.title, show=False)
        for command in COMMANDS
        if command.where == where and command.keys
    ]


def slash(text: str) -> tuple[Command, str] | None:
    """The command and its argument, if `text` is "/word …" and the word is one of the table's; otherwise None."""
    if not text.startswith("/"):
        return None
    word, _, argument = text[1:].partition(" ")
    for command in COMMANDS:
        if command.slash and command.slash == word.strip().lower():
            return command, argument.strip()
    return None


def looks_like_slash(text: str) -> bool:
    """Whether `text` is a slash and one word of letters alone: a mistyped command rather than a message or a path."""
    word = text.strip()
    return word.startswith("/") and word[1:].isalpha()


def completions(text: str) -> list[Command]:
    """The slash commands that `text` may be the beginning of, while it is still one word."""
    if not text.startswith("/") or " " in text or "\n" in text:
        return []
    return [command for command in COMMANDS if command.slash and command.slash.startswith(text[1:].lower())]


def key_name(key: str) -> str:
    """A key as people write it: "Ctrl+O", "Esc", "←"."""
    names = {
        "escape": "Esc",
        "enter": "Enter",
        "up": "↑",
        "down": "↓",
        "left": "←",
        "right": "→",
        "pageup": "PgUp",
        "pagedown": "PgDn",
        "home": "Home",
        "end": "End",
    }
    parts = key.split("+")
    last = parts[-1]
    if last in names:
        last = names[last]
    elif len(parts) > 1 or (len(last) > 1 and last[0] == "f"):
        last = last.upper() if len(last) <= 3 else last.capitalize()
    return "+".join([*(part.capitalize() for part in parts[:-1]), last])
