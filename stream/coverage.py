"""The coverage record of a region (contract.md section 3), from its figure.

In: a `Figure` of the roll-up. Out: a plain dictionary in the order of the contract, ready to encode. Called by the
roll-up agent, `lampit count` and the page.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_UP, Decimal
from typing import Any, NamedTuple

from stream.calendar import iso_day
from stream.reference import Reference
from stream.regions import level
from stream.rollup import Figure
from stream.tally import MEASURES

_OBLIGED = MEASURES.index("obliged")
_RECORDED = MEASURES.index("recorded")
_KEYS = ("M", "F", "unknown", "total")


class Names(NamedTuple):
    """What regions are called in the records of a day, or by the codes of another day."""

    reference: Reference
    day: int
    codes_of: int | None = None

    def of(self, region: str) -> str | None:
        """The name of a region then; None for a code that no reference knows."""
        return self.reference.name(region, self.day if self.codes_of is None else self.codes_of)


def record(region: str, figure: Figure, names: Names) -> dict[str, Any]:
    """The coverage record, without epoch and position; `coverage` is a ratio, null when nobody is obliged."""
    measures = {
        measure: dict(zip(_KEYS, row, strict=True)) for measure, row in zip(MEASURES, figure.counts, strict=True)
    }
    obliged, recorded = figure.counts[_OBLIGED], figure.counts[_RECORDED]
    unrecorded = {
        key: None if due is None or done is None else due - done
        for key, due, done in zip(_KEYS, obliged, recorded, strict=True)
    }
    return {
        "region": region,
        "level": level(region),
        "name": names.of(region),
        "as_of": iso_day(names.day),
        **measures,
        "unrecorded": unrecorded,
        "coverage": None if figure.opening == "parent" else ratio(recorded[3], obliged[3]),
        "opening": figure.opening,
        "stale_denominator": figure.stale_denominator,
    }


def ratio(recorded: int | None, obliged: int | None) -> float | None:
    """recorded / obliged; None when nobody is obliged or either is not stated. Over 1 is possible and is never clamped."""
    return None if recorded is None or not obliged else recorded / obliged


def percent(recorded: int | None, obliged: int | None) -> str | None:
    """The percentage as shown to people: two decimals, half up, from the counts themselves."""
    if recorded is None or not obliged:
        return None
    return str((Decimal(100 * recorded) / Decimal(obliged)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def totals(record: Mapping[str, Any]) -> dict[str, int | None]:
    """The totals of a coverage record by measure."""
    return {measure: record[measure]["total"] for measure in (*MEASURES, "unrecorded")}
