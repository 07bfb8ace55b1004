"""`lampit report`: the monthly lampit report of a region, from event files or from the closings of the agents.

In: a region, a period. Out: a table, CSV, JSON or a workbook. What counts is decided in `stream.closing`; here it is laid out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any, Final

import click

from agents.errors import ConfigurationError
from agents.settings import load_settings
from lampit.cli import EXIT_PROBLEM
from lampit.count import Rejected, print_rejected
from lampit.files import open_all
from lampit.report import text
from lampit.report.layout import Report
from lampit.words import Day, region_code
from stream.periods import month_of
from stream.rules import Rules

TEXTS: Final[dict[str, Callable[[Report], str]]] = {
    "table": text.table,
    "csv": text.comma_separated,
    "json": text.json,
}
XLSX: Final = "xlsx"
ENDINGS: Final = {"txt": "table", "csv": "csv", "json": "json", XLSX: XLSX}
"""The format of a file by how its name ends."""


class Month(click.ParamType):
    """A period, written YYYY-MM."""

    name = "month"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """The period's name."""
        try:
            month_of(value)
        except ValueError as error:
            self.fail(f"{value!r}: {error}.", param, ctx)
        return str(value)


def _format(chosen: str | None, output: Path | None) -> str:
    """The format asked for, else the one the file's name ends in; without a file the table."""
    suffix = "" if output is None else output.suffix.lower().removeprefix(".")
    if chosen is not None:
        if (chosen == XLSX) != (suffix == XLSX) and output is not None:
            raise click.UsageError(f"--format {chosen} does not fit {output}: leave one of the two out.")
        return chosen
    if output is None:
        return "table"
    if suffix not in ENDINGS:
        raise click.UsageError(f"{output} says no format: give --format, or a name that ends in {', '.join(ENDINGS)}.")
    return ENDINGS[suffix]


def _write(report: Report, chosen: str, output: Path | None) -> None:
    try:
        if chosen == XLSX:
            from lampit.report import workbook

            assert output is not None
            workbook.write(report, output)
        elif output is not None:
            output.write_text(TEXTS[chosen](report), encoding="utf-8")
        else:
            click.echo(TEXTS[chosen](report), nl=False)
    except OSError as error:
        raise ConfigurationError(
            f"{output} cannot be written ({error.strerror or type(error).__name__}): give another --output."
        ) from None


@click.command()
@click.argument("region", callback=region_code)
@click.argument("files", nargs=-1, metavar="[FILE...]")
@click.option("--period", type=Month(), required=True, help="The month, named by the one it ends in.")
@click.option(
    "--by",
    type=click.Choice(["event", "report"]),
    default="report",
    show_default=True,
    help="By the day things happened, or by the day they were reported, as official monthly figures are.",
)
@click.option("--children", is_flag=True, help="Also a table of every region right below this one.")
@click.option(
    "--format",
    "chosen",
    type=click.Choice([*TEXTS, XLSX]),
    help="Default: by what --output ends in (.txt: a table); without it a table.",
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="File to write; xlsx needs one.")
@click.option("--known-day", type=Day(), help="Without FILE: as known at the end of this day. Default: the latest.")
@click.option("--closing-day", type=click.IntRange(1, 28), help="With FILE: default is the setting, which is 28.")
@click.option("--strict", is_flag=True, help="Exit with 1 when a line was rejected.")
def command(
    region: str,
    files: tuple[str, ...],
    period: str,
    by: str,
    children: bool,
    chosen: str | None,
    as_json: bool,
    output: Path | None,
    known_day: date | None,
    closing_day: int | None,
    strict: bool,
) -> None:
    """The monthly lampit report of REGION: opening, births, deaths, moves, corrections, closing, coverage.

    When months are closed on the 28th, 2019-03 is from the day after 28 February to 28 March 2019. With FILE the month is
    closed over event files, as `lampit count` reads them. Without, it is read from lampit.closings, where the agents publish
    each month, and a revision when something came late.

    \b
    Examples:
      lampit report 16.05 --period 2019-03 events.jsonl
      lampit report 16.05 --period 2019-03 --by event --children events.jsonl.gz
      lampit report ID --period 2019-03 --children --output march.xlsx
    """
    if as_json and chosen not in (None, "json"):
        raise click.UsageError(f"--json and --format {chosen} exclude each other.")
    shown = _format("json" if as_json else chosen, output)
    if shown == XLSX and output is None:
        raise click.UsageError("A workbook goes to a file: give --output FILE.")
    if files and known_day is not None:
        raise click.UsageError("--known-day is of lampit.closings; event files do not say when Lampit knew of them.")
    if not files and closing_day is not None:
        raise click.UsageError("--closing-day needs FILE; the months on lampit.closings are closed already.")
    settings = load_settings()
    rejected: list[Rejected] = []
    from lampit.report import sources

    if files:
        rules = Rules(
            settings.transit_expiry_days, settings.leap_birthday, closing_day=closing_day or settings.closing_day
        )
        opened = open_all(files)
        report, rejected = sources.from_files(opened, settings, rules, region, period, by, children=children)
    else:
        report = asyncio.run(sources.from_topic(settings, region, period, by, known_day, children=children))
    _write(report, shown, output)
    print_rejected(rejected)
    if strict and rejected:
        raise click.exceptions.Exit(EXIT_PROBLEM)
