"""docs/settings.md shows the settings in force, and no option that no command has."""

from __future__ import annotations

import click

from tests.docs.settings_page import current, renewed
from ui import SETTINGS
from ui.cli import cli


def test_the_table_is_that_of_the_settings() -> None:
    assert current() == renewed(), "write it anew: python -m tests.docs.settings_page"


def test_every_setting_is_in_the_table() -> None:
    assert [setting.env for setting in SETTINGS if f"| `{setting.env}` |" not in current()] == []


def test_every_option_of_the_table_is_one_of_a_command() -> None:
    shown = {line.split("`")[1] for line in current().splitlines() if line.startswith("| `")}
    assert shown - options(cli) == set()


def options(command: click.Command) -> set[str]:
    """The options of a command and of all its sub-commands."""
    own = {name for parameter in command.params for name in parameter.opts}
    below = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*(options(each) for each in below))
