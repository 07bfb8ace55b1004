"""The record of `lampit.coverage`: the figures of one region on one day (contract.md section 3).

In: nothing. Out: `schemas/json/coverage.json`; read by subscribers, the page and `lampit count --json`.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.fields import Day, Output, PlaceOut


class Figures(Output):
    """One measure: people by sex. Null is "not known" (a balance did not say), never zero."""

    M: int | None
    """Men."""
    F: int | None
    """Women."""
    unknown: int | None
    """Sex not said by any event."""
    total: int | None
    """All of them; known even where the split by sex is not."""


class CoverageRecord(Output):
    """The figures of a region at the end of a day. The record's key is the region code; the latest one holds."""

    region: PlaceOut
    """Region code at any level, `ID` or `ID-transit`."""
    level: Literal["country", "province", "regency", "district", "village", "transit"]
    """Level of the region."""
    name: str | None
    """Its name on that day; null for a code the reference does not know."""
    as_of: Day
    """Day the figures are of."""
    population: Figures
    """Everyone whose home is there."""
    obliged: Figures
    """Wajib KTP: 17, or ever married, and a citizen or within a permanent permit (UU 24/2013 art. 63)."""
    recorded: Figures
    """Obliged, with biometrics recorded."""
    recorded_early: Figures
    """Recorded and not yet obliged."""
    print_ready: Figures
    """Obliged, with a print-ready record."""
    issued: Figures
    """Obliged, with a delivered card."""
    unrecorded: Figures
    """obliged − recorded; may be negative."""
    coverage: float | None
    """recorded / obliged, a ratio, may be over 1; null when nobody is obliged or a part is not known."""
    opening: Literal["balance", "none", "partial", "parent", "register"]
    """What the figures rest on: an own balance, not yet any, balances of some below, one above, the register."""
    stale_denominator: bool
    """The balance is more than 90 days old and came without a schedule of birthdays."""
    epoch: int | None = None
    """Rules, settings and region reference in force; absent in `lampit count`."""
    position: dict[str, int] | None = Field(default=None)
    """Next offset of each ledger partition the figures include; absent in `lampit count`."""
