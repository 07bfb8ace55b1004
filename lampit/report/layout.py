"""What a monthly report says, line by line and region by region, whatever it is written as.

In: closing records. Out: `lines` of one region, `columns` of several. The letters are those of the offices' lampit: L lahir,
M mati, P pindah, D datang. Called by `lampit.report.text` and `lampit.report.workbook`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final, NamedTuple

from stream.closing import KEYS
from stream.coverage import percent
from stream.delay import Delay

Record = Mapping[str, Any]

BY: Final = {"event": "by_event_date", "report": "by_report_date"}
"""`--by` → the block of a closing record."""

SAID_BY: Final = {"event": "by day of event", "report": "by day of report"}


@dataclass
class Report:
    """A region's month, and those of the regions right below it, where they were asked for.

    delays: by kind of flow; None where the source does not tell. source: where the figures are from, for people.
    """

    by: str
    record: Record
    children: list[Record] = field(default_factory=list)
    delays: dict[str, Delay] | None = None
    source: str = ""

    @property
    def title(self) -> str:
        """The first line."""
        return f"Lampit report of {named(self.record)}, {self.record['period']}, {SAID_BY[self.by]}"

    @property
    def subtitle(self) -> str:
        """The days, what the figures rest on, and how they are known."""
        first = date.fromisoformat(self.record["opened_on"]) + timedelta(days=1)
        known = self.record.get("known_day")
        as_known = f"as known at the end of {known}, revision {self.record['revision']}" if known else self.source
        stale = ", stale" if self.record["stale_denominator"] else ""
        return f"{first} to {self.record['closed_on']}; rests on: {self.record['basis']}{stale}; {as_known}"


def named(record: Record) -> str:
    """Code, name and level."""
    return " ".join(part for part in (record["region"], record["name"], f"({record['level']})") if part)


class Line(NamedTuple):
    """A line of figures by sex. item: its name for programs; figures: M, F, unknown, total, None where not stated."""

    item: str
    mark: str
    label: str
    figures: tuple[int | None, ...]


_FLOWS: Final = (
    ("births", "L", "Births (lahir)"),
    ("deaths", "M", "Deaths (mati)"),
    ("moved_out", "P", "Moved out (pindah)"),
    ("moved_in", "D", "Moved in (datang)"),
    ("corrections", "", "Corrections"),
)
_OTHERS: Final = (
    ("stillbirths", "Stillbirths (lahir mati)"),
    ("turned_17", "Turned 17"),
    ("recordings", "Recordings, by home (perekaman)"),
    ("served", "Recordings, by office"),
)
_STOCKS: Final = (
    ("obliged", "Obliged (wajib KTP)"),
    ("recorded", "Recorded (rekam)"),
    ("unrecorded", "Unrecorded (belum rekam)"),
)
DELAYED: Final = {
    "births": "Births",
    "stillbirths": "Stillbirths",
    "deaths": "Deaths",
    "moved_out": "Moved out",
    "moved_in": "Moved in",
    "recordings": "Recordings, by home",
    "served": "Recordings, by office",
}
"""Flows with a registration delay, as people call them."""


def lines(record: Record, by: str) -> list[list[Line]]:
    """The figures of a region in groups: the population's month, other flows, the stock at the cut-off."""
    return _lines(record, record[BY[by]])


def changes(record: Record, by: str) -> list[Line]:
    """What a revision changed since the one before, without lines of zeros; nothing for a first closing."""
    if record["difference"] is None:
        return []
    return [line for group in _lines(record, record["difference"][BY[by]]) for line in group if any(line.figures)]


def _lines(record: Record, month: Mapping[str, Any]) -> list[list[Line]]:
    def line(item: str, mark: str, label: str, counts: Mapping[str, int | None]) -> Line:
        return Line(item, mark, label, tuple(counts[key] for key in KEYS))

    flows, opening, closing = month["flows"], month["opening"], month["closing"]
    population = [
        line("opening", "", f"Population on {record['opened_on']}", opening["population"]),
        *(line(item, mark, label, flows[item]) for item, mark, label in _FLOWS),
        line("closing", "", f"Population on {record['closed_on']}", closing["population"]),
    ]
    others = [line(item, "", label, flows[item]) for item, label in _OTHERS]
    return [population, others, [line(item, "", label, closing[item]) for item, label in _STOCKS]]


def coverage_percent(record: Record, by: str) -> str | None:
    """recorded / obliged at the closing in percent, two decimals, half up; None where it is not known."""
    month = record[BY[by]]
    if month["coverage"] is None:
        return None
    return percent(month["closing"]["recorded"]["total"], month["closing"]["obliged"]["total"])


COLUMNS: Final = (
    "code", "name", "opening", "L", "M", "P", "D", "corrections", "closing", "turned 17", "recordings", "served", "obliged",
    "recorded", "unrecorded",
)  # fmt: skip
"""Headers of the table of several regions; the coverage comes last."""


def columns(record: Record, by: str) -> list[Any]:
    """A region's totals under COLUMNS."""
    month = record[BY[by]]
    flows, closing = month["flows"], month["closing"]
    return [
        record["region"],
        record["name"],
        month["opening"]["population"]["total"],
        *(flows[item]["total"] for item, _, _ in _FLOWS),
        closing["population"]["total"],
        *(flows[item]["total"] for item in ("turned_17", "recordings", "served")),
        *(closing[item]["total"] for item, _ in _STOCKS),
    ]


def remainder(report: Report) -> list[Any] | None:
    """What of the region is in none of those below it (a balance's own people, an office's recordings), under COLUMNS.

    None when nothing is. A column in which something is not stated has no remainder.
    """
    whole = columns(report.record, report.by)
    parts = [columns(child, report.by) for child in report.children]
    left: list[Any] = ["", "not in a region below"]
    for number in range(len(left), len(COLUMNS)):
        values = [row[number] for row in parts]
        known = whole[number] is not None and None not in values
        left.append(whole[number] - sum(values) if known else None)
    return left if any(left[2:]) else None
