"""What each type of event says in its `data`, besides the NIK.

In: `schemas.fields`. Out: `schemas.events` adds the NIK (what producers send), `schemas.ledger` the person id (what is
kept). Days are days at the place (tanggal peristiwa); every optional field may be left out or null, which is the same.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Discriminator, Field, Tag

from schemas.fields import BalanceRegion, Count, Day, Elsewhere, Id, Letter, RegionCode, Schema, Sex, Source, Village


class Permit(Schema):
    """A permanent stay permit (ITAP), the first and the last day included."""

    first_day: Day = Field(alias="from")
    """First day of the permit."""
    until: Day | None = None
    """Last day of the permit; absent: open-ended."""


class Person(Schema):
    """What the office that sent the event knows of the person; a field left out is not said."""

    birth_date: Day | None = None
    """Tanggal lahir. Obliged from the 17th birthday on (UU 24/2013 art. 63)."""
    sex: Sex | None = None
    """Jenis kelamin, M or F; never said: counted under `unknown`."""
    ever_married_on: Day | None = None
    """Day of the first marriage: whoever is or was married is obliged at any age (UU 24/2013 art. 63)."""
    recorded_on: Day | None = None
    """Day the biometrics were recorded, if they were before this system."""
    citizen: bool | None = None
    """WNI or not; never said: a citizen."""
    permanent_permit: Permit | None = None
    """ITAP of a foreigner, who is obliged within it (UU 24/2013 art. 63)."""


class RegisteredPerson(Person):
    """The person data of a register entry: the birth date is always said."""

    birth_date: Day
    """Tanggal lahir."""


class Facts(Schema):
    """What every event of a person may say."""

    occurred_on: Day
    """Day it happened (tanggal peristiwa)."""
    person: Person | None = None
    """What the office knows of the person."""


class PlacedFacts(Facts):
    """A fact in a village."""

    region: Village
    """Village it happened in, by its code on that day."""


class RegisterFacts(PlacedFacts):
    """The person is on the register and lives in `region` since `occurred_on`."""

    person: RegisteredPerson
    """What the register says of the person."""
    in_opening: bool | None = None
    """True: already part of the region's opening balance, whenever it was sent."""


class BirthFacts(PlacedFacts):
    """Lahir: `occurred_on` is the birth date, `region` the home of the household. Reporting is due in 60 days."""

    sex: Sex
    """Jenis kelamin."""
    stillborn: bool | None = None
    """True: a stillbirth; counted as a flow only."""
    already_registered: bool | None = None
    """True: a late certificate for someone on the register; counted as a flow only."""


class DeathFacts(PlacedFacts):
    """Mati. Reporting is due in 30 days."""


class MoveOutFacts(PlacedFacts):
    """Pindah: leaves `region`, and is in transit until an arrival unless gone abroad."""

    destination: Elsewhere | None = None
    """Where to: a region code, "abroad", or not said."""
    letter: Letter | None = None
    """Number of the removal letter (SKPWNI, SKPLN)."""


class MoveInFacts(PlacedFacts):
    """Datang: `region` is the new home. From abroad, reporting is due in 14 days."""

    origin: Elsewhere | None = None
    """Where from: a region code, "abroad", or not said."""
    letter: Letter | None = None
    """Number of the removal letter."""


class RecordingFacts(PlacedFacts):
    """Perekaman e-KTP or a later stage of the card; `region` is the home. Allowed from 16, counted from 17."""

    service_point: RegionCode | None = None
    """Region of the office that served, where it is not the home."""
    status: Literal["captured", "sent", "print_ready", "printed", "delivered", "failed", "duplicate"] | None = None
    """Stage reached; absent: captured. `duplicate`: the centre found the same biometrics under another NIK."""


class MarriageFacts(Facts):
    """Married: obliged from this day at the latest. Divorce and widowhood do not undo it."""


class ResidencePermitFacts(Facts):
    """From `occurred_on` on: citizen or not, and the permanent permit."""

    citizen: bool
    """WNI or not from this day on."""
    permanent_permit: Permit | None = None
    """ITAP; absent: none."""


class CorrectionFacts(Facts):
    """A corrected birth date or sex, true from birth on; the NIK stays as it is (Permendagri 108/2019 art. 15)."""

    birth_date: Day | None = None
    """The right birth date."""
    sex: Sex | None = None
    """The right sex."""


class MissingFacts(PlacedFacts):
    """Hilang."""


class FoundFacts(PlacedFacts):
    """Found again."""


class NikChangeFacts(Facts):
    """The person is also known under another NIK."""


class EventName(Schema):
    """Names an event of the same person."""

    source: Source
    """Its `source`."""
    id: Id
    """Its `id`."""


class CancellationFacts(Facts):
    """The named event counts as never sent."""

    cancels: EventName
    """The event that is cancelled; it may arrive later."""


class CountBySex(Schema):
    """A count split by sex."""

    M: Count
    """Men."""
    F: Count
    """Women."""


def _form_of_count(count: object) -> str:
    """Which of the two forms of a count this is, so that a fault is named in the right one."""
    return "by_sex" if isinstance(count, (dict, CountBySex)) else "total"


BalanceCount = Annotated[
    Annotated[Count, Tag("total")] | Annotated[CountBySex, Tag("by_sex")], Discriminator(_form_of_count)
]
"""People, in total or split by sex."""


class BalanceCounts(Schema):
    """The measures a balance states; one left out is not known there, which is not zero."""

    population: BalanceCount | None = None
    """Everyone on the register."""
    obliged: BalanceCount | None = None
    """Wajib KTP."""
    recorded: BalanceCount | None = None
    """Obliged and recorded; may be more than obliged."""
    recorded_early: BalanceCount | None = None
    """Recorded and not yet obliged."""
    print_ready: BalanceCount | None = None
    """Obliged, with a print-ready record."""
    issued: BalanceCount | None = None
    """Obliged, with a delivered card."""


class TurningSeventeen(Schema):
    """One day of the schedule of birthdays."""

    on: Day
    """Day of the 17th birthdays."""
    count: BalanceCount
    """People who turn 17 that day."""


class OpeningBalanceFacts(Schema):
    """Register totals of a region at the end of `occurred_on`, for a region without a person register."""

    occurred_on: Day
    """The as-of day D0."""
    region: BalanceRegion
    """Region the totals are of, at any level."""
    counts: BalanceCounts
    """Totals at the end of D0."""
    turning_17: list[TurningSeventeen] | None = None
    """Who turns 17 when, after D0; absent: not known, and the figures are stale 90 days after D0."""
