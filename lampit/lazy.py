"""Groups of subcommands that are imported only when they are run.

In: a table of where each subcommand is. Out: a click group. Used by the command itself and by `lampit audit`: their
`--help` starts at once.
"""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, NamedTuple

import click


class Entry(NamedTuple):
    """Where a subcommand is, and what it is for in one line."""

    module: str
    attribute: str
    help: str


class LazyGroup(click.Group):
    """A group whose commands are imported when they are run."""

    entries: ClassVar[dict[str, Entry]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """In the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        entry = self.entries.get(cmd_name)
        if entry is None:
            return None
        command: Any = getattr(importlib.import_module(entry.module), entry.attribute)
        assert isinstance(command, click.Command)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The table, without importing anything."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in self.entries.items()])
