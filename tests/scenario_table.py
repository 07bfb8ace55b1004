"""The scenario table: every story by every counter, side by side. `make scenarios` prints it.

In: tests/scenarios/*.yaml. Out: name × {core, shuffled, sql, live} on standard output, progress on standard error; exit
code 1 when a counter says something else than a story.

| column | the story's events, counted by |
| --- | --- |
| core | the engine, in the order told and reversed |
| shuffled | the engine, each event twice, in a random order |
| sql | the SQL recount; in what the story does not say it must agree with the engine too |
| live | the agents on a Kafka broker: intake, two ledger workers, roll-up, four partitions (`tests/scenario_live.py`) |
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

import click
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from agents.barrier import today
from lampit.tables import notice
from tests.brokers import KafkaBroker, delete_topics, kafka_missing
from tests.scenario_check import backwards, by_the_core, by_the_sql, shuffled_with_repeats, told
from tests.scenario_files import Scenario, load_scenarios
from tests.scenario_ledgers import ledgers
from tests.scenario_live import count_live

COLUMNS: Final = ("core", "shuffled", "sql", "live")
EQUAL, DIFFERENT, LEFT_OUT = "equal", "differs", "–"
_STYLES: Final = {EQUAL: "green", DIFFERENT: "bold red", LEFT_OUT: "dim"}
_LINES_MAX: Final = 5
"""Differences told of one cell; --json has all."""


@dataclass
class Row:
    """One story: the differences by column; no entry where a column was not counted."""

    scenario: Scenario
    differences: dict[str, list[str]] = field(default_factory=dict)

    def cell(self, column: str) -> str:
        """What the table shows."""
        if column not in self.differences:
            return LEFT_OUT
        return DIFFERENT if self.differences[column] else EQUAL


def count_here(scenario: Scenario) -> dict[str, list[str]]:
    """The columns that need no broker."""
    return {
        "core": by_the_core(scenario, told) + by_the_core(scenario, backwards),
        "shuffled": by_the_core(scenario, shuffled_with_repeats),
        "sql": by_the_sql(scenario),
    }


def count_rows(rows: Sequence[Row], shown: Progress) -> None:
    """Fill the columns that need no broker, by a process for each core of the machine."""
    task = shown.add_task("core, shuffled, sql", total=len(rows), detail="")
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        for row, found in zip(rows, pool.map(count_here, [row.scenario for row in rows], chunksize=4), strict=True):
            row.differences |= found
            shown.update(task, advance=1, detail=row.scenario.name)


def count_rows_live(rows: Sequence[Row], shown: Progress) -> list[str]:
    """Fill the live column; one line for each ledger that was counted."""
    by_name = {row.scenario.name: row for row in rows}
    lines = []
    all_of_them = ledgers(row.scenario for row in rows)
    task = shown.add_task("live", total=sum(len(shared.scenarios) for shared in all_of_them), detail="broker starts")
    with KafkaBroker() as kafka, tempfile.TemporaryDirectory() as folder:
        for number, shared in enumerate(all_of_them, start=1):
            delete_topics(kafka.bootstrap_servers)
            place = Path(folder) / str(number)
            place.mkdir()

            def detail(text: str, number: int = number) -> None:
                shown.update(task, detail=f"ledger {number} of {len(all_of_them)}: {text}")

            detail("agents start")
            for name, found in count_live(shared, kafka.broker, place, today(), detail).items():
                by_name[name].differences["live"] = found
            shown.update(task, advance=len(shared.scenarios))
            settings = "".join(f", {key} {value}" for key, value in shared.scenarios[0].settings.items())
            days = shared.days(today())
            lines.append(
                f"ledger {number}: {len(shared.scenarios)} stories, {len(shared.events)} events, "
                f"{len(days)} days from {days[0]} to {days[-1]}{settings}"
            )
            notice(lines[-1])
    return lines


@contextmanager
def progress() -> Iterator[Progress]:
    """A bar on a terminal; silence anywhere else."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TextColumn("{task.fields[detail]}"), console=console, transient=True, disable=not console.is_terminal
    ) as shown:
        yield shown


def print_table(rows: Sequence[Row]) -> None:
    """The table, then what differs."""
    console = Console()
    table = Table(box=box.SIMPLE_HEAD if console.is_terminal else None, pad_edge=False)
    for column in ("scenario", *COLUMNS):
        table.add_column(column, no_wrap=True)
    for row in rows:
        cells = [row.cell(column) for column in COLUMNS]
        table.add_row(row.scenario.name, *(f"[{_STYLES[cell]}]{cell}[/]" for cell in cells))
    Console(width=None if console.is_terminal else 160).print(table)
    for row in rows:
        for column, lines in row.differences.items():
            for line in lines[:_LINES_MAX]:
                click.echo(f"{row.scenario.name} {column}: {line}")
            if len(lines) > _LINES_MAX:
                click.echo(f"{row.scenario.name} {column}: … {len(lines) - _LINES_MAX} more, see --json")


def summary(rows: Sequence[Row]) -> dict[str, dict[str, int]]:
    """How many cells of each column are equal, differ and are left out."""
    return {
        column: {
            "equal": sum(row.cell(column) == EQUAL for row in rows),
            "different": sum(row.cell(column) == DIFFERENT for row in rows),
            "left_out": sum(row.cell(column) == LEFT_OUT for row in rows),
        }
        for column in COLUMNS
    }


def as_json(rows: Sequence[Row], told_of_ledgers: list[str]) -> dict[str, Any]:
    """The table for a program."""
    return {
        "scenarios": [
            {
                "name": row.scenario.name,
                "file": row.scenario.file,
                "cells": {
                    column: {EQUAL: "equal", DIFFERENT: "different"}.get(row.cell(column), "left_out")
                    for column in COLUMNS
                },
                "differences": {column: lines for column, lines in row.differences.items() if lines},
            }
            for row in rows
        ],
        "summary": summary(rows),
        "ledgers": told_of_ledgers,
        "days_until": date.isoformat(today()),
    }


@click.command(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--json", "json_output", is_flag=True, help="JSON instead of a table.")
@click.option("--without-live", is_flag=True, help="Leave out the live column, which needs Java and Kafka.")
@click.option("--only", default="", metavar="TEXT", help="Only scenarios with TEXT in their name or file.")
def main(json_output: bool, without_live: bool, only: str) -> None:
    """Count every scenario by every counter and print the table; exit code 1 when a counter differs from a story.

    Example: python -m tests.scenario_table --without-live --only recorded
    """
    rows = [Row(scenario) for scenario in load_scenarios() if only in scenario.name or only in scenario.file]
    if not rows:
        raise click.UsageError(f"No scenario has {only!r} in its name or file: leave --only out to see all.")
    missing = None if without_live else kafka_missing()
    if missing is not None:
        raise click.UsageError(f"{missing} Or leave the live column out with --without-live.")
    with progress() as shown:
        count_rows(rows, shown)
        told_of_ledgers = [] if without_live else count_rows_live(rows, shown)
    if json_output:
        click.echo(json.dumps(as_json(rows, told_of_ledgers), indent=2, ensure_ascii=False))
    else:
        print_table(rows)
    for column, counts in summary(rows).items():
        notice(f"{column:9}{counts['equal']:4} equal, {counts['different']} different, {counts['left_out']} left out")
    sys.exit(any(cell for row in rows for cell in row.differences.values()))


if __name__ == "__main__":
    main()
