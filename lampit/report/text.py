"""The report as text: a table for people, CSV and JSON for programs.

In: a `Report`. Out: text, complete, with its last line feed. Called by `lampit.report`.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from lampit.report.layout import (
    COLUMNS,
    DELAYED,
    Line,
    Record,
    Report,
    changes,
    columns,
    coverage_percent,
    lines,
    remainder,
)
from lampit.tables import NOTHING
from stream.closing import KEYS

_CSV: Final = (
    "region", "name", "level", "period", "opened_on", "closed_on", "by", "known_day", "revision", "item", *KEYS,
)  # fmt: skip
_HEADS: Final = ("male", "female", "unknown", "total")


def table(report: Report) -> str:
    """For people: the region by sex, then the regions below it, the delays, and what a revision changed."""
    blocks = [f"{report.title}\n{report.subtitle}", _by_sex(report)]
    if report.children:
        blocks.append(_regions(report))
    if report.delays:
        blocks.append(_delays(report))
    changed = changes(report.record, report.by)
    if changed:
        blocks.append(_changes(f"Changed since revision {report.record['revision'] - 1}", changed))
    return "\n\n".join(blocks) + "\n"


def _by_sex(report: Report) -> str:
    rows: list[Sequence[str]] = [("", "", *_HEADS)]
    for group in lines(report.record, report.by):
        rows += [(line.mark, line.label, *map(_count, line.figures)) for line in group]
        rows.append(("",) * 6)
    shown = coverage_percent(report.record, report.by)
    rows[-1] = ("", "Coverage", "", "", "", NOTHING if shown is None else f"{shown} %")
    return _grid(rows, left=2)


def _regions(report: Report) -> str:
    rows: list[Sequence[str]] = [(*COLUMNS, "coverage")]
    for record in (*report.children, report.record):
        shown = coverage_percent(record, report.by)
        rows.append((*_cells(columns(record, report.by)), NOTHING if shown is None else f"{shown} %"))
    left = remainder(report)
    if left is not None:
        rows.insert(-1, (*_cells(left), ""))
    return _grid(rows, left=2)


def _cells(row: Sequence[Any]) -> list[str]:
    return [row[0], row[1] or NOTHING, *map(_count, row[2:])]


def _changes(title: str, changed: list[Line]) -> str:
    rows: list[Sequence[str]] = [("", title, *_HEADS)]
    rows += [(line.mark, line.label, *map(_difference, line.figures)) for line in changed]
    return _grid(rows, left=2)


def _difference(count: int | None) -> str:
    return NOTHING if count is None else f"{count:+,}" if count else "0"


def _delays(report: Report) -> str:
    rows: list[Sequence[str]] = [("Days from event to registration", "flows", "median", "90 %")]
    for kind, delay in (report.delays or {}).items():
        rows.append((DELAYED[kind], f"{delay.flows:,}", f"{delay.median_days:,}", f"{delay.ninetieth_days:,}"))
    return _grid(rows, left=1)


def _count(count: int | None) -> str:
    return NOTHING if count is None else f"{count:,}"


def _grid(rows: Sequence[Sequence[str]], left: int) -> str:
    """Columns of equal width, the first `left` of them ranged left."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if number < left else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def comma_separated(report: Report) -> str:
    """One row a region and item, by sex; an empty field is "not stated"; coverage is a ratio; the delays come last."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV)
    for record in (report.record, *report.children):
        writer.writerows(_csv_rows(record, report.by))
    head = _csv_head(report.record, report.by)
    for kind, delay in (report.delays or {}).items():
        writer.writerow([*head, f"{kind}_delay_median_days", "", "", "", delay.median_days])
        writer.writerow([*head, f"{kind}_delay_90th_percentile_days", "", "", "", delay.ninetieth_days])
    return text.getvalue()


def _csv_rows(record: Record, by: str) -> Iterator[list[Any]]:
    head = _csv_head(record, by)
    for group in lines(record, by):
        for line in group:
            yield [*head, line.item, *line.figures]
    yield [*head, "coverage", "", "", "", record[f"by_{by}_date"]["coverage"]]


def _csv_head(record: Record, by: str) -> list[Any]:
    said = ("region", "name", "level", "period", "opened_on", "closed_on")
    return [*(record[name] for name in said), by, record.get("known_day"), record["revision"]]


def json(report: Report) -> str:
    """The closing records as they are, in both datings, the region's first, and the delays in the dating asked for."""
    delays = None if report.delays is None else {kind: delay._asdict() for kind, delay in report.delays.items()}
    answer = {"by": report.by, "closings": [report.record, *report.children], "delays": delays}
    return msgspec.json.encode(answer).decode() + "\n"
