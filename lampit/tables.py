"""What the command shows to people: tables on standard output, progress and notices on standard error.

In: coverage records, rejects, anomalies. Out: text. Colours, bars and boxes only on a terminal; a pipe or a file gets
plain lines. Called by the subcommands.
"""

from __future__ import annotations

import shutil
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

import click

from stream.coverage import percent

NOTHING: Final = "–"
"""Shown where a figure is not stated."""

_COLUMNS: Final = ("population", "obliged", "recorded", "unrecorded")
_RIGHT: Final = (*_COLUMNS, "coverage")
_RICH_ROWS_MAX: Final = 1000
"""More rows than that are read by a program or a pager; rich would take seconds to lay them out."""
_RICH_FRAME: Final = 3
"""What its box puts around a cell."""


class Progress(Protocol):
    """What a long task tells about itself."""

    def __call__(self, bytes_read: int, done: int) -> None:
        """So many bytes of the files read, so many lines done."""


def coverage_rows(records: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """The cells of a coverage table."""
    for record in records:
        totals = [record[measure]["total"] for measure in _COLUMNS]
        shown = None if record["coverage"] is None else percent(totals[2], totals[1])
        figures = [NOTHING if total is None else f"{total:,}" for total in totals]
        coverage = NOTHING if shown is None else f"{shown} %"
        opening = record["opening"] + (" (stale)" if record["stale_denominator"] else "")
        yield (record["region"], record["name"] or NOTHING, *figures, coverage, opening)


def print_coverage(records: list[dict[str, Any]]) -> None:
    """The table of some regions, on standard output."""
    print_table(("code", "name", *_COLUMNS, "coverage", "opening"), list(coverage_rows(records)), _RIGHT)


def print_table(header: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str] = ()) -> None:
    """Any table, on standard output; right: the columns of numbers.

    Rich would cut figures and codes to fit a terminal: a table that is too wide is plain lines, which the terminal wraps.
    """
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    columns = shutil.get_terminal_size().columns
    if sys.stdout.isatty() and len(rows) <= _RICH_ROWS_MAX and sum(widths) + _RICH_FRAME * len(widths) < columns:
        from rich import box
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=box.SIMPLE_HEAD)
        for name in header:
            table.add_column(name, justify="right" if name in right else "left")
        for row in rows:
            # As it is: rich would take [brackets] and :words: of an event's id for its own.
            table.add_row(*map(Text, row))
        Console().print(table)
        return
    to_the_right = [name in right for name in header]
    for row in (header, *rows):
        cells = [
            cell.rjust(width) if moved else cell.ljust(width)
            for cell, width, moved in zip(row, widths, to_the_right, strict=True)
        ]
        click.echo("  ".join(cells).rstrip())


def notice(line: str) -> None:
    """One line on standard error."""
    click.echo(line, err=True)


def print_summary(title: str, counts: Counter[str]) -> None:
    """`title: 3`, then how often each word came, most frequent first; nothing when nothing came."""
    if counts:
        notice(f"{title}: {counts.total():,}")
        for word, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
            notice(f"  {count:>9,}  {word}")


@contextmanager
def progress(label: str, bytes_total: int | None, unit: str) -> Iterator[Progress]:
    """A bar with rate and time left on a terminal; silence anywhere else."""
    if not sys.stderr.isatty():
        yield lambda bytes_read, done: None
        return
    from rich import progress as bars
    from rich.console import Console

    columns = (
        bars.TextColumn("{task.description}"),
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TextColumn("{task.fields[done]:,} " + unit),
        bars.TextColumn("{task.fields[rate]:,.0f}/s"),
        bars.TimeElapsedColumn(),
        bars.TimeRemainingColumn(),
    )
    with bars.Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(label, total=bytes_total, done=0, rate=0.0)

        def update(bytes_read: int, done: int) -> None:
            seconds = shown.tasks[0].elapsed or 0.0
            shown.update(task, completed=bytes_read, done=done, rate=done / seconds if seconds else 0.0)

        yield update
