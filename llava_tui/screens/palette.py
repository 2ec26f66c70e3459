"""The table of commands as entries of the command palette."""

from __future__ import annotations

from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from llava_tui.screens.command_table import COMMANDS, Command, key_name


class ChatCommands(Provider):
    """What can be done in the chat, found by its title or its slash command."""

    async def discover(self) -> Hits:
        for command in _offered():
            yield DiscoveryHit(command.title, partial(self.screen.run_action, command.action), help=_help(command))

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for command in _offered():
            score = max(matcher.match(command.title), matcher.match(command.slash))
            if score > 0:
                run = partial(self.screen.run_action, command.action)
                yield Hit(score, matcher.highlight(command.title), run, help=_help(command))


def _offered() -> list[Command]:
    return [command for command in COMMANDS if command.slash]


def _help(command: Command) -> str:
    ways = [key_name(key) for key in command.keys] + [f"/{command.slash}"]
    return "   ".join(ways)
