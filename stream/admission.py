"""Whether an input is an event, and which: a raw CloudEvent in, an accepted event or a refusal out.

In: the value of one Kafka record (or one line of a file), and what turns a NIK into a person id. Out: `Admitted` for
the ledger, or a `Refusal`. Called by intake and by `lampit count`. Pure; never raises; no NIK leaves it.

The schema is that of `schemas.events`. It passes over fields it does not know; a payload that holds
any, or an escape, or a name twice, is seen by its number of commas and read a second time by `stream.strict_json`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from schemas.events import BirthEvent, IntakeEvent, OpeningBalanceEvent, PersonIntakeEvent
from schemas.rejection import Reason
from stream.admitted_events import BUILDERS, Admitted, balance_of, person_of
from stream.calendar import day_of, parse_instant
from stream.events import (
    Birth,
    Correction,
    Event,
    NikChange,
    Permit,
    Register,
    ResidencePermit,
)
from stream.pseudonym import Pseudonymise, stillborn_subject
from stream.quick_admission import admit_quickly
from stream.refusal import Fault, Refusal, diagnose, fault_at, refuse, refuse_unread, shown_name
from stream.strict_json import Unreadable, read

__all__ = ["PAYLOAD_BYTES_MAX", "Admitted", "Refusal", "admit", "admit_by_schema"]

PAYLOAD_BYTES_MAX: Final = 64 * 1024
"""No event is longer; a balance with a schedule of six years of days is not."""

_UNKNOWN_NAMES_MAX: Final = 32

_validate: Final = TypeAdapter[PersonIntakeEvent | OpeningBalanceEvent](IntakeEvent).validator.validate_json


def admit(raw: bytes | None, pseudonymise: Pseudonymise) -> Admitted | Refusal:
    """Accept or refuse one input."""
    if raw is None:
        return Refusal(Reason.TOMBSTONE, "the record has no value", "", None, 0, "")
    if len(raw) > PAYLOAD_BYTES_MAX:
        return refuse_unread(raw, Reason.TOO_LARGE, "the payload is longer than 64 KiB", pseudonymise)
    return admit_quickly(raw, pseudonymise) or admit_by_schema(raw, pseudonymise)


def admit_by_schema(raw: bytes, pseudonymise: Pseudonymise) -> Admitted | Refusal:
    """The same for every input that is not too large, and what decides: `admit_quickly` gives nothing else."""
    try:
        sent = _validate(raw)
    except ValidationError as error:
        return diagnose(raw, error, pseudonymise)
    unknown: tuple[str, ...] = ()
    if not _says_no_more(raw, sent):
        value = read(raw)
        if isinstance(value, Unreadable):
            return refuse_unread(raw, value.reason, value.message, pseudonymise)
        unknown = tuple(dict.fromkeys(_unknown_fields(sent, value, "")))[:_UNKNOWN_NAMES_MAX]
    admitted = _judged(sent, pseudonymise, unknown)
    return admitted if isinstance(admitted, Admitted) else refuse(raw, admitted, pseudonymise)


def _judged(
    sent: PersonIntakeEvent | OpeningBalanceEvent, pseudonymise: Pseudonymise, unknown: tuple[str, ...]
) -> Admitted | Fault:
    """The accepted event, or what is wrong with it that the schema could not see."""
    try:
        time = parse_instant(sent.time)
    except ValueError:
        return fault_at(Reason.MALFORMED_TIME, "/time")
    if type(sent) is OpeningBalanceEvent:
        return Admitted(None, balance_of(sent, time), sent.type, unknown)
    kind = sent.type
    data = sent.data
    nik = data.nik
    if nik is not None:
        subject = pseudonymise(nik)
    elif type(sent) is BirthEvent and sent.data.stillborn:
        subject = stillborn_subject(pseudonymise, sent.source, sent.id)
    else:
        return fault_at(Reason.MISSING_FIELD, "/data/nik")
    build, rule = _BUILT_AND_JUDGED[kind]
    event = build(sent, time, person_of(data.person), pseudonymise)
    fault = None if rule is None else rule(event, subject)
    person = event.person
    if person is not None and person.permanent_permit is not None and _ends_first(person.permanent_permit):
        fault = Fault(Reason.CONTRADICTORY, "/data/person/permanent_permit/until", _ENDS_FIRST)
    return Admitted(subject, event, kind, unknown) if fault is None else fault


def _says_no_more(raw: bytes, sent: PersonIntakeEvent | OpeningBalanceEvent) -> bool:
    """Whether every field of the payload is one of the schema, and there once; may say no where it is so.

    An object with n fields has n - 1 commas. So an unknown field, or a name that comes twice, is a comma more than the
    known fields need, and nothing makes it one less: what is not counted here (a comma in a text, the fields of a
    permit or of `cancels`) only adds. An object without any known field could hide one unknown field, and an escape a
    name.
    """
    if b"\\" in raw or type(sent) is OpeningBalanceEvent:
        return False
    data = sent.data
    fields = len(sent.__pydantic_fields_set__) + len(data.__pydantic_fields_set__) - 2
    person = data.person
    if person is not None:
        named = len(person.__pydantic_fields_set__)
        if not named:
            return False
        fields += named - 1
    return raw.count(b",") == fields


@cache
def _sent_names(model: type[BaseModel]) -> dict[str, str]:
    """Name of a field as it is sent → its name in the model."""
    return {field.alias or name: name for name, field in model.model_fields.items()}


def _unknown_fields(known: BaseModel, sent: dict[str, Any], prefix: str) -> list[str]:
    """The dotted names of the fields that the schema passed over, at every level it knows."""
    fields = _sent_names(type(known))
    names = []
    for name, value in sent.items():
        if name not in fields:
            names.append(prefix + shown_name(name))
            continue
        inner = getattr(known, fields[name])
        if isinstance(inner, BaseModel):
            names += _unknown_fields(inner, value, f"{prefix}{name}.")
        elif isinstance(inner, list):
            for line, line_sent in zip(inner, value, strict=True):
                names += _unknown_fields(line, line_sent, f"{prefix}{name}.")
    return names


_ENDS_FIRST: Final = "the permit ends before it begins"


def _ends_first(permit: Permit) -> bool:
    return permit.until is not None and permit.until < permit.begins


def _register(event: Register, subject: str) -> Fault | None:
    """On the register before being born."""
    if event.person is not None and event.person.birth_date is not None and event.person.birth_date > event.occurred_on:
        return Fault(Reason.CONTRADICTORY, "/data/person/birth_date", "the birth date is after occurred_on")
    return None


def _birth(event: Birth, subject: str) -> Fault | None:
    """Registered before it happened, or said twice in two ways."""
    if day_of(event.time, event.region) < event.occurred_on:
        return Fault(Reason.BIRTH_AFTER_TIME, "/data/occurred_on", "the birth is after the day of its time")
    if event.stillborn and event.already_registered:
        message = "stillborn and already_registered exclude each other"
        return Fault(Reason.CONTRADICTORY, "/data/already_registered", message)
    person = event.person
    if person is not None:
        if person.birth_date is not None and person.birth_date != event.occurred_on:
            return Fault(Reason.CONTRADICTORY, "/data/person/birth_date", "the birth date is not occurred_on")
        if person.sex is not None and person.sex != event.sex:
            return Fault(Reason.CONTRADICTORY, "/data/person/sex", "the sex of the person is not that of the birth")
    return None


def _residence_permit(event: ResidencePermit, subject: str) -> Fault | None:
    """Ends before it begins."""
    if event.permanent_permit is not None and _ends_first(event.permanent_permit):
        return Fault(Reason.CONTRADICTORY, "/data/permanent_permit/until", _ENDS_FIRST)
    return None


def _correction(event: Correction, subject: str) -> Fault | None:
    """Corrects nothing."""
    if event.birth_date is None and event.sex is None:
        return Fault(Reason.CONTRADICTORY, "/data", "a correction names birth_date or sex")
    return None


def _nik_change(event: NikChange, subject: str) -> Fault | None:
    """From a NIK to itself."""
    if event.new_subject == subject:
        return Fault(Reason.CONTRADICTORY, "/data/new_nik", "new_nik is the same as nik")
    return None


_RULES: Final[dict[type[Event], Callable[[Any, str], Fault | None]]] = {
    Register: _register,
    Birth: _birth,
    ResidencePermit: _residence_permit,
    Correction: _correction,
    NikChange: _nik_change,
}
"""What fields of one event exclude each other, by its class; a permit in `person` is judged for every event."""

_BUILT_AND_JUDGED: Final = {name: (build, _RULES.get(made)) for name, (made, build) in BUILDERS.items()}
