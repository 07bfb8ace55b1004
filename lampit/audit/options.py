"""What the audit commands ask for in the same way: instants, regions, sources, rules.

In: words of the command line. Out: values for the commands. Called by the commands of `lampit audit` that count.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date, datetime
from typing import Any, Final, TypeVar

import click

from stream.calendar import day_of, end_of_day, format_instant, iso_day, parse_instant

CommandT = TypeVar("CommandT", bound=Callable[..., Any])

_MEMORY: Final = re.compile(r"[1-9]\d*(MiB|GiB)", re.ASCII)
_DAY: Final = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)


class Instant(click.ParamType):
    """An instant with an offset, or a day, which stands for its end in WIB, as the business day turns."""

    name = "day or instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The last microsecond that counts."""
        if isinstance(value, int):
            return value
        try:
            if _DAY.fullmatch(value):
                return end_of_day(date.fromisoformat(value).toordinal(), None) - 1
            return parse_instant(value)
        except ValueError:
            self.fail(
                f"{value!r} is no day (2019-03-28, its end in WIB) and no instant with an offset "
                "(2019-03-28T17:00:00+07:00).",
                param,
                ctx,
            )


class Memory(click.ParamType):
    """An amount of memory as DuckDB takes it: 8GiB, 500MiB."""

    name = "memory"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The same text."""
        if not _MEMORY.fullmatch(value):
            self.fail(f"{value!r} is no amount of memory: write it as 8GiB or 500MiB.", param, ctx)
        return value


def microseconds(moment: datetime) -> int:
    """An instant in UTC without a zone, as DuckDB gives it, in microseconds."""
    return parse_instant(f"{moment.isoformat()}Z")


def shown_instant(instant: int | None) -> str | None:
    """The instant in UTC, as the JSON of the audit has it."""
    return None if instant is None else format_instant(instant)


def known_text(instant: int | None) -> str:
    """`, as known at …`, or nothing; the end of a day (WIB) is shown as the day."""
    if instant is None:
        return ""
    day = day_of(instant, None)
    if instant == end_of_day(day, None) - 1:
        return f", as known at the end of {iso_day(day)}"
    return f", as known at {shown_instant(instant)}"


def with_rules(command: CommandT) -> CommandT:
    """The settings that change figures."""
    for decorate in (
        click.option(
            "--leap-birthday",
            type=click.Choice(["mar1", "feb28"]),
            help="When someone born on 29 February turns 17; default: as the archive's epoch or the setting says.",
        ),
        click.option(
            "--transit-expiry-days",
            type=click.IntRange(1, 36_500),
            help="Days in transit until a person counts at the old home again; default as above.",
        ),
    ):
        command = decorate(command)
    return command
