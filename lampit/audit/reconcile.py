"""`lampit audit reconcile`: published figures against arithmetic, against each other, and against the counted ones.

In: references.csv and, with --against, a source of events. Out: every gap with its size, as a table, CSV or JSON; exit code 1
when there is one. Where the counted figures state nothing of a region, it is said and is no gap.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Literal

import click
import msgspec

from agents.errors import ConfigurationError
from lampit import tables
from lampit.audit.coverage import by_sql
from lampit.audit.options import Instant, with_rules
from lampit.audit.references import Gap, Reference, against, gaps, read
from lampit.audit.sources import notice_rejected, open_source
from lampit.cli import EXIT_PROBLEM

KINDS: Final = {
    "arithmetic": "wajib − recorded is not unrecorded",
    "percent": "the percentage does not follow from the counts",
    "sources": "two sources disagree",
    "ours": "not what the events say",
}
_COLUMNS: Final = ("kind", "region", "date", "source", "measure", "said", "expected", "gap", "note")


def counted_gaps(
    references: list[Reference], words: tuple[str, ...], known_at: int | None, rules_given: tuple[int | None, Any]
) -> tuple[list[Gap], list[Reference]]:
    """What the counted figures say differently, and the rows of which they say nothing."""
    found: list[Gap] = []
    silent: list[Reference] = []
    with open_source(words, need_instants=None if known_at is None else "--known-at") as source:
        rules = source.rules(*rules_given)
        for day in sorted({one.as_of for one in references if one.as_of is not None}):
            of_day = [one for one in references if one.as_of == day]
            regions = {one.region for one in of_day}
            only = regions.pop() if len(regions) == 1 else None
            records = {record["region"]: record for record in by_sql(source, day, known_at, rules, only)}
            for reference in of_day:
                record = records.get(reference.region)
                if record is None or record["obliged"]["total"] is None:
                    silent.append(reference)
                else:
                    found += against(reference, record)
        notice_rejected(source)
    return found, silent


def _row(gap: Gap) -> dict[str, Any]:
    return {
        "kind": gap.kind,
        "region": gap.region,
        "date": None if gap.as_of is None else gap.as_of.isoformat(),
        "lines": list(gap.lines),
        "sources": list(gap.sources),
        "measure": gap.measure,
        "said": _number(gap.said.number),
        "said_about": bool(gap.said.slack),
        "expected": _number(gap.expected.number),
        "expected_about": bool(gap.expected.slack),
        "gap": _number(gap.gap),
        "note": gap.note,
    }


def _number(value: Any) -> int | float:
    return int(value) if value == value.to_integral_value() else float(value)


def _cells(gap: Gap) -> tuple[str, ...]:
    return (
        gap.kind,
        gap.region,
        tables.NOTHING if gap.as_of is None else gap.as_of.isoformat(),
        " / ".join(gap.sources),
        gap.measure,
        gap.said.text,
        gap.expected.text,
        f"{gap.gap:+,}",
        gap.note,
    )


def _show(form: str, references: list[Reference], found: list[Gap], silent: Iterable[Reference]) -> None:
    if form == "json":
        answer = {
            "rows": len(references),
            "gaps": [_row(gap) for gap in found],
            "not_counted": [{"region": one.region, "date": str(one.as_of), "line": one.line} for one in silent],
        }
        click.echo(msgspec.json.encode(answer))
        return
    if form == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*_COLUMNS[:3], "lines", *_COLUMNS[3:]])
        for gap in found:
            row = _row(gap)
            row["lines"], row["source"] = " ".join(map(str, gap.lines)), " / ".join(gap.sources)
            writer.writerow([row[name] for name in (*_COLUMNS[:3], "lines", *_COLUMNS[3:])])
        click.echo(text.getvalue(), nl=False)
        return
    for one in silent:
        tables.notice(f"Line {one.line}: nothing is counted for {one.region} on {one.as_of}.")
    if not found:
        click.echo(f"{len(references):,} rows: everything adds up.")
        return
    tables.print_table(_COLUMNS, [_cells(gap) for gap in found], ("said", "expected", "gap"))
    click.echo()
    click.echo(f"{len(references):,} rows, {len(found):,} gaps:")
    counts = Counter(gap.kind for gap in found)
    for kind, meaning in KINDS.items():
        if counts[kind]:
            click.echo(f"  {counts[kind]:>3}  {kind}: {meaning}")


@click.command()
@click.argument("references", type=click.Path(path_type=Path, dir_okay=False, exists=True), metavar="REFERENCES.CSV")
@click.option(
    "--against", "sources", multiple=True, metavar="SOURCE", help="Also hold against the figures of these events."
)
@click.option("--known-at", type=Instant(), help="With --against: as known then; a day stands for its end (WIB).")
@click.option("--format", "form", type=click.Choice(["table", "csv", "json"]), default="table", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@with_rules
def command(
    references: Path,
    sources: tuple[str, ...],
    known_at: int | None,
    form: str,
    as_json: bool,
    transit_expiry_days: int | None,
    leap_birthday: Literal["mar1", "feb28"] | None,
) -> None:
    """Published figures against arithmetic, against each other and against ours.

    REFERENCES.CSV has the columns region, date, source, wajib, recorded, unrecorded, percent; a cell may be empty, and ~57000
    means about 57,000. Percentages are expected half up, with two decimals at most. SOURCE is an archive, ledger records or
    event files. Exit code 1 when there is a gap.

    \b
    Examples:
      lampit audit reconcile references.csv
      lampit audit reconcile references.csv --against /srv/lampit/archive --json
    """
    if known_at is not None and not sources:
        raise ConfigurationError("--known-at without --against: name the events that were known then.")
    rows = read(references)
    found = list(gaps(rows))
    silent: list[Reference] = []
    if sources:
        ours, silent = counted_gaps(rows, sources, known_at, (transit_expiry_days, leap_birthday))
        found += ours
    _show("json" if as_json else form, rows, found, silent)
    if found:
        raise click.exceptions.Exit(EXIT_PROBLEM)
