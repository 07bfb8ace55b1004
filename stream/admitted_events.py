"""From a payload that the schema accepts to the event as the core counts it, one small function a type.

In: models of `schemas.events`. Out: values of `stream.events`. Called by `stream.admission` only, which then judges
whether the fields agree. An absent field, a null and a default written out give the same value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from schemas import events as sent_events
from schemas import facts
from stream.events import (
    Birth,
    BySex,
    Cancellation,
    Correction,
    Death,
    Found,
    Marriage,
    Missing,
    MoveIn,
    MoveOut,
    NikChange,
    OpeningBalance,
    Permit,
    PersonData,
    PersonEvent,
    Recording,
    Register,
    ResidencePermit,
    TurningSeventeen,
)
from stream.pseudonym import Pseudonymise
from stream.tally import MEASURES
from stream.value import Value

_NOTHING_SAID: Final = PersonData()


class Admitted(Value, frozen=True):
    """An accepted event. subject: the person id, None for a balance; unknown_fields: dotted names that were dropped."""

    subject: str | None
    event: PersonEvent | OpeningBalance
    type: str
    unknown_fields: tuple[str, ...] = ()


def permit_of(permit: facts.Permit | None) -> Permit | None:
    """The permit."""
    if permit is None:
        return None
    return Permit(permit.first_day.toordinal(), None if permit.until is None else permit.until.toordinal())


def person_of(person: facts.Person | None) -> PersonData | None:
    """What is said of the person; None when nothing is."""
    if person is None:
        return None
    birth_date, ever_married_on, recorded_on = person.birth_date, person.ever_married_on, person.recorded_on
    said = PersonData(
        None if birth_date is None else birth_date.toordinal(),
        person.sex,
        None if ever_married_on is None else ever_married_on.toordinal(),
        None if recorded_on is None else recorded_on.toordinal(),
        person.citizen,
        permit_of(person.permanent_permit),
    )
    return None if said == _NOTHING_SAID else said


def _register(
    sent: sent_events.RegisterEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Register:
    data = sent.data
    return Register(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
        in_opening=data.in_opening or False,
    )


def _birth(sent: sent_events.BirthEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise) -> Birth:
    data = sent.data
    return Birth(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
        sex=data.sex,
        stillborn=data.stillborn or False,
        already_registered=data.already_registered or False,
    )


def _death(sent: sent_events.DeathEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise) -> Death:
    data = sent.data
    return Death(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
    )


def _move_out(
    sent: sent_events.MoveOutEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> MoveOut:
    data = sent.data
    return MoveOut(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
        destination=data.destination,
        letter=data.letter,
    )


def _move_in(sent: sent_events.MoveInEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise) -> MoveIn:
    data = sent.data
    return MoveIn(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
        origin=data.origin,
        letter=data.letter,
    )


def _recording(
    sent: sent_events.RecordingEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Recording:
    data = sent.data
    return Recording(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
        status=data.status or "captured",
        service_point=data.service_point,
    )


def _marriage(
    sent: sent_events.MarriageEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Marriage:
    data = sent.data
    return Marriage(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
    )


def _residence_permit(
    sent: sent_events.ResidencePermitEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> ResidencePermit:
    data = sent.data
    return ResidencePermit(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        citizen=data.citizen,
        permanent_permit=permit_of(data.permanent_permit),
    )


def _correction(
    sent: sent_events.CorrectionEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Correction:
    data = sent.data
    return Correction(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        birth_date=None if data.birth_date is None else data.birth_date.toordinal(),
        sex=data.sex,
    )


def _missing(
    sent: sent_events.MissingEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Missing:
    data = sent.data
    return Missing(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
    )


def _found(sent: sent_events.FoundEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise) -> Found:
    data = sent.data
    return Found(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        region=data.region,
    )


def _nik_change(
    sent: sent_events.NikChangeEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> NikChange:
    data = sent.data
    return NikChange(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        new_subject=pseudonymise(data.new_nik),
    )


def _cancellation(
    sent: sent_events.CancellationEvent, time: int, person: PersonData | None, pseudonymise: Pseudonymise
) -> Cancellation:
    data = sent.data
    return Cancellation(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        person=person,
        target_source=data.cancels.source,
        target_id=data.cancels.id,
    )


def _count_of(count: int | facts.CountBySex) -> int | BySex:
    return count if isinstance(count, int) else BySex(count.M, count.F)


def balance_of(sent: sent_events.OpeningBalanceEvent, time: int) -> OpeningBalance:
    """The balance; measures in the order of MEASURES, the schedule as sent."""
    data = sent.data
    stated = {measure: getattr(data.counts, measure) for measure in MEASURES}
    return OpeningBalance(
        source=sent.source,
        id=sent.id,
        time=time,
        occurred_on=data.occurred_on.toordinal(),
        region=data.region,
        counts={measure: _count_of(count) for measure, count in stated.items() if count is not None},
        turning_17=tuple(
            TurningSeventeen(line.on.toordinal(), _count_of(line.count)) for line in data.turning_17 or ()
        ),
    )


Builder = Callable[[Any, int, PersonData | None, Pseudonymise], PersonEvent]

BUILDERS: Final[dict[str, tuple[type[PersonEvent], Builder]]] = {
    "lampit.register.v1": (Register, _register),
    "lampit.birth.v1": (Birth, _birth),
    "lampit.death.v1": (Death, _death),
    "lampit.move_out.v1": (MoveOut, _move_out),
    "lampit.move_in.v1": (MoveIn, _move_in),
    "lampit.recording.v1": (Recording, _recording),
    "lampit.marriage.v1": (Marriage, _marriage),
    "lampit.residence_permit.v1": (ResidencePermit, _residence_permit),
    "lampit.correction.v1": (Correction, _correction),
    "lampit.missing.v1": (Missing, _missing),
    "lampit.found.v1": (Found, _found),
    "lampit.nik_change.v1": (NikChange, _nik_change),
    "lampit.cancellation.v1": (Cancellation, _cancellation),
}
"""Type of a person's event → its class and what makes it."""
