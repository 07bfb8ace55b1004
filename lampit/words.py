"""Words of the command line that several subcommands ask for: a day, a region code.

In: words. Out: values. Called by the subcommands; nothing that counts is imported here.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any

import click

from stream.regions import REGION


def calendar_day(text: str) -> date:
    """The day written YYYY-MM-DD; ValueError for anything else, also for what else Python takes for a day, as 2019-W13-4."""
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text, re.ASCII):
        raise ValueError("no day written YYYY-MM-DD")
    return date.fromisoformat(text)


class Day(click.ParamType):
    """A day, written YYYY-MM-DD."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> date:
        """The day."""
        if isinstance(value, date):
            return value
        try:
            return calendar_day(value)
        except ValueError:
            self.fail(f"{value!r} is not a day of the calendar written YYYY-MM-DD.", param, ctx)


def region_code(ctx: click.Context, param: click.Parameter, value: str | None) -> str | None:
    """A well-formed region code, as click asks for it."""
    if value is not None and not REGION.fullmatch(value):
        raise click.BadParameter("a code is ID, 16, 16.05, 16.05.02, 16.05.02.2001 or ID-transit", ctx, param)
    return value
