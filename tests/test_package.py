"""The package as it is installed."""

from importlib.metadata import entry_points


def test_llava_is_a_command() -> None:
    [command] = entry_points(group="console_scripts", name="llava")
    assert command.value == "llava_tui.cli:main"
