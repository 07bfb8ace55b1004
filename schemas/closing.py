"""The record of `lampit.closings`: a region's month, from one cut-off to the next (contract.md section 3).

In: `schemas.coverage`. Out: `schemas/json/closings.json`; read by subscribers and `lampit report`. The record's key is
`region|period|known_day`, and a record never changes: later knowledge makes a revision, under a later known_day.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.coverage import Figures
from schemas.fields import Day, Output, PeriodName, PlaceOut


class Flow(Output):
    """People in one flow of the period, by sex; always known, also where the population is not."""

    M: int
    """Men."""
    F: int
    """Women."""
    unknown: int
    """Sex not said by any event."""
    total: int
    """All of them."""


class Flows(Output):
    """What happened in the period; a region's flows are the sums of those below it, so moves inside it are in both."""

    births: Flow
    """Lahir: at the household's home, late certificates of people on the register among them."""
    stillbirths: Flow
    """Lahir mati: of no effect on the population."""
    deaths: Flow
    """Mati: where the person was counted until then."""
    moved_out: Flow
    """Pindah: left this place. Of ID-transit: arrived somewhere."""
    moved_in: Flow
    """Datang: arrived at this place. Of ID-transit: left somewhere, to arrive elsewhere."""
    recordings: Flow
    """Biometrics captured, by the home of the person."""
    served: Flow
    """Biometrics captured, by the office that served, where one is named."""
    turned_17: Flow
    """17th birthdays of those counted here on that day, obliged or not; under a balance with a schedule, those it states."""
    corrections: Figures
    """All else that moved the population: register entries, missing and found people, lapsed removals, balances, corrected
    sexes. Exactly closing − opening − (births − deaths + moved_in − moved_out); null where the population is."""


class Stock(Output):
    """The figures at the end of a cut-off day; null is "not known", never zero."""

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


class Month(Output):
    """The month in one dating. For M, F, unknown and total:
    closing = opening + births − deaths + moved_in − moved_out + corrections, of the population."""

    opening: Stock
    """At the end of `opened_on`: the closing of the month before, as known on the same day."""
    flows: Flows
    """In the days after `opened_on` up to `closed_on`."""
    closing: Stock
    """At the end of `closed_on`."""
    coverage: float | None
    """recorded / obliged at the closing, a ratio; null when nobody is obliged or a part is not known."""


class ChangedFlows(Output):
    """By how much each flow differs from the previous revision."""

    births: Figures
    """Lahir."""
    stillbirths: Figures
    """Lahir mati."""
    deaths: Figures
    """Mati."""
    moved_out: Figures
    """Pindah."""
    moved_in: Figures
    """Datang."""
    recordings: Figures
    """Captured, by home."""
    served: Figures
    """Captured, by office."""
    turned_17: Figures
    """17th birthdays."""
    corrections: Figures
    """All else; null where either revision's is."""


class ChangedMonth(Output):
    """By how much a dating differs from the previous revision; null where either revision says nothing."""

    opening: Stock
    """At the end of `opened_on`: not zero where an earlier month was revised."""
    flows: ChangedFlows
    """In the period."""
    closing: Stock
    """At the end of `closed_on`."""


class Difference(Output):
    """This revision less the previous one; the identity of the month holds for it too."""

    by_event_date: ChangedMonth
    """By the day on which it happened."""
    by_report_date: ChangedMonth
    """By the day on which the office registered it."""


class ClosingRecord(Output):
    """A region's month as known at the end of a business day."""

    region: PlaceOut
    """Region code at any level, `ID` or `ID-transit`."""
    level: Literal["country", "province", "regency", "district", "village", "transit"]
    """Level of the region."""
    name: str | None
    """Its name; null for a code the reference does not know."""
    period: PeriodName
    """The month in which the period ends."""
    opened_on: Day
    """The cut-off before: the period begins after this day."""
    closed_on: Day
    """The cut-off: the last day of the period."""
    known_day: Day | None = None
    """The last business day that was over; what came later is not in. Absent in `lampit report` over event files."""
    revision: int = Field(ge=0)
    """0: the first closing; n: the nth revision of it."""
    by_event_date: Month
    """By the day on which it happened (tanggal peristiwa), with everything known by `known_day`."""
    by_report_date: Month
    """By the day on which the office registered it (tanggal lapor): the stock is what could be known on the cut-off day,
    so a late report moves the month in which it came, and no month before. What official monthly figures are."""
    basis: Literal["balance", "none", "partial", "parent", "register"]
    """What the closing figures rest on: `opening` of a coverage record of `closed_on`."""
    stale_denominator: bool
    """On `closed_on` the balance was more than 90 days old and came without a schedule of birthdays."""
    difference: Difference | None
    """What a revision changed; null in the first closing."""
    epoch: int | None = None
    """Rules, settings and region reference in force; absent in `lampit report` over event files."""
    position: dict[str, int] | None = None
    """Next offset of each ledger partition the closing includes; absent in `lampit report` over event files."""
