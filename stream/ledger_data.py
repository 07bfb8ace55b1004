"""The `data` of a ledger record: the accepted form of each type of event, and back.

In: values of `stream.events`. Out: `EventData`, which msgspec writes without the fields that are at their default, and
the event again. Called by `stream.ledger` only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any, Final, TypeVar

import msgspec

from stream import events
from stream.events import BySex, Event, OpeningBalance, Permit, PersonData, PersonEvent


class PermitData(msgspec.Struct, omit_defaults=True, gc=False):
    """`permanent_permit`."""

    begins: date = msgspec.field(name="from")
    until: date | None = None


class PersonRecordData(msgspec.Struct, omit_defaults=True, gc=False):
    """`person`."""

    birth_date: date | None = None
    sex: str | None = None
    ever_married_on: date | None = None
    recorded_on: date | None = None
    citizen: bool | None = None
    permanent_permit: PermitData | None = None


class EventNameData(msgspec.Struct):
    """`cancels`."""

    source: str
    id: str


class BySexData(msgspec.Struct):
    """A count split by sex."""

    M: int
    F: int


class TurningSeventeenData(msgspec.Struct):
    """A line of `turning_17`."""

    on: date
    count: int | BySexData


class EventData(msgspec.Struct, omit_defaults=True, gc=False):
    """The data of every type; each has its own fields of these, a control record none."""

    occurred_on: date | None = None
    region: str | None = None
    person: PersonRecordData | None = None
    in_opening: bool = False
    sex: str | None = None
    stillborn: bool = False
    already_registered: bool = False
    destination: str | None = None
    origin: str | None = None
    letter: str | None = None
    service_point: str | None = None
    status: str = "captured"
    citizen: bool | None = None
    permanent_permit: PermitData | None = None
    birth_date: date | None = None
    new_subject: str | None = None
    cancels: EventNameData | None = None
    counts: dict[str, int | BySexData] | None = None
    turning_17: list[TurningSeventeenData] | None = None


_SAME: Final = (
    "region",
    "in_opening",
    "sex",
    "stillborn",
    "already_registered",
    "destination",
    "origin",
    "letter",
    "service_point",
    "status",
    "citizen",
    "new_subject",
)
"""Fields that are written as they are held."""

_TAGS: Final[dict[type[PersonEvent | OpeningBalance], str]] = {
    events.Register: "register",
    events.Birth: "birth",
    events.Death: "death",
    events.MoveOut: "move_out",
    events.MoveIn: "move_in",
    events.Recording: "recording",
    events.Marriage: "marriage",
    events.ResidencePermit: "residence_permit",
    events.Correction: "correction",
    events.Missing: "missing",
    events.Found: "found",
    events.NikChange: "nik_change",
    events.Cancellation: "cancellation",
    OpeningBalance: "opening_balance",
}

TYPES: Final[dict[type[Event | OpeningBalance], str]] = {made: f"lampit.{tag}.v1" for made, tag in _TAGS.items()}
"""Class of an event → its CloudEvents type."""

_DEFAULTS: Final = EventData()

_FIELDS: Final[dict[type[Event | OpeningBalance], tuple[tuple[str, Any], ...]]] = {
    made: tuple((name, getattr(_DEFAULTS, name)) for name in _SAME if name in made.__struct_fields__) for made in _TAGS
}
"""Class of an event → those of `_SAME` that it has, each with its default."""


_date: Final = date.fromordinal


def _date_of(day: int | None) -> date | None:
    return None if day is None else _date(day)


def _day(on: date | None) -> int | None:
    return None if on is None else on.toordinal()


def _write_permit(permit: Permit | None) -> PermitData | None:
    return None if permit is None else PermitData(_date(permit.begins), _date_of(permit.until))


def _read_permit(permit: PermitData | None) -> Permit | None:
    return None if permit is None else Permit(permit.begins.toordinal(), _day(permit.until))


def _write_person(person: PersonData) -> PersonRecordData:
    return PersonRecordData(
        _date_of(person.birth_date),
        person.sex,
        _date_of(person.ever_married_on),
        _date_of(person.recorded_on),
        person.citizen,
        _write_permit(person.permanent_permit),
    )


def _read_person(person: PersonRecordData | None) -> PersonData | None:
    if person is None:
        return None
    return PersonData(
        _day(person.birth_date),
        person.sex,
        _day(person.ever_married_on),
        _day(person.recorded_on),
        person.citizen,
        _read_permit(person.permanent_permit),
    )


def _write_count(count: int | BySex) -> int | BySexData:
    return BySexData(count.male, count.female) if isinstance(count, BySex) else count


def _read_count(count: int | BySexData) -> int | BySex:
    return BySex(count.M, count.F) if isinstance(count, BySexData) else count


def data_of(event: Event | OpeningBalance) -> EventData:
    """The accepted form of the data of an event."""
    data = EventData(_date(event.occurred_on))
    for name, default in _FIELDS[type(event)]:
        value = getattr(event, name)
        # Left out by value: msgspec omits a default only where it is the very same object.
        if value != default:
            setattr(data, name, value)
    if isinstance(event, OpeningBalance):
        data.counts = {measure: _write_count(count) for measure, count in event.counts.items()}
        if event.turning_17:
            data.turning_17 = [
                TurningSeventeenData(_date(line.on), _write_count(line.count)) for line in event.turning_17
            ]
        return data
    if event.person is not None:
        data.person = _write_person(event.person)
    if isinstance(event, events.Cancellation):
        data.cancels = EventNameData(event.target_source, event.target_id)
    elif isinstance(event, events.ResidencePermit):
        data.permanent_permit = _write_permit(event.permanent_permit)
    elif isinstance(event, events.Correction):
        data.birth_date = _date_of(event.birth_date)
    return data


_FieldT = TypeVar("_FieldT")


def _required(value: _FieldT | None) -> _FieldT:
    if value is None:
        raise ValueError("a ledger record lacks a field of its type")
    return value


Reader = Callable[[str, str, int, EventData], PersonEvent | OpeningBalance]


def _reader(made: Callable[..., PersonEvent], fields: Callable[[EventData], dict[str, Any]]) -> Reader:
    """What makes an event of a person of its data; fields: those that are the type's own."""

    def read(source: str, event_id: str, time: int, data: EventData) -> PersonEvent:
        return made(
            source=source,
            id=event_id,
            time=time,
            occurred_on=_required(data.occurred_on).toordinal(),
            person=_read_person(data.person),
            **fields(data),
        )

    return read


def _register(source: str, event_id: str, time: int, data: EventData) -> events.Register:
    """Written out, because a whole register is read this way."""
    return events.Register(
        source=source,
        id=event_id,
        time=time,
        occurred_on=_required(data.occurred_on).toordinal(),
        person=_read_person(data.person),
        region=_required(data.region),
        in_opening=data.in_opening,
    )


def _recording(source: str, event_id: str, time: int, data: EventData) -> events.Recording:
    """Written out, because there are as many as people."""
    return events.Recording(
        source=source,
        id=event_id,
        time=time,
        occurred_on=_required(data.occurred_on).toordinal(),
        person=_read_person(data.person),
        region=_required(data.region),
        status=data.status,
        service_point=data.service_point,
    )


def _opening_balance(source: str, event_id: str, time: int, data: EventData) -> OpeningBalance:
    return OpeningBalance(
        source=source,
        id=event_id,
        time=time,
        occurred_on=_required(data.occurred_on).toordinal(),
        region=_required(data.region),
        counts={measure: _read_count(count) for measure, count in _required(data.counts).items()},
        turning_17=tuple(
            events.TurningSeventeen(line.on.toordinal(), _read_count(line.count)) for line in data.turning_17 or ()
        ),
    )


def _target(data: EventData) -> dict[str, Any]:
    cancels = _required(data.cancels)
    return {"target_source": cancels.source, "target_id": cancels.id}


_PERSON_FIELDS: Final[dict[type[PersonEvent], Callable[[EventData], dict[str, Any]]]] = {
    events.Birth: lambda data: {
        "region": _required(data.region),
        "sex": _required(data.sex),
        "stillborn": data.stillborn,
        "already_registered": data.already_registered,
    },
    events.Death: lambda data: {"region": _required(data.region)},
    events.MoveOut: lambda data: {
        "region": _required(data.region),
        "destination": data.destination,
        "letter": data.letter,
    },
    events.MoveIn: lambda data: {"region": _required(data.region), "origin": data.origin, "letter": data.letter},
    events.Marriage: lambda data: {},
    events.ResidencePermit: lambda data: {
        "citizen": _required(data.citizen),
        "permanent_permit": _read_permit(data.permanent_permit),
    },
    events.Correction: lambda data: {"birth_date": _day(data.birth_date), "sex": data.sex},
    events.Missing: lambda data: {"region": _required(data.region)},
    events.Found: lambda data: {"region": _required(data.region)},
    events.NikChange: lambda data: {"new_subject": _required(data.new_subject)},
    events.Cancellation: _target,
}

READERS: Final[dict[str, Reader]] = {
    TYPES[events.Register]: _register,
    TYPES[events.Recording]: _recording,
    TYPES[OpeningBalance]: _opening_balance,
    **{TYPES[made]: _reader(made, fields) for made, fields in _PERSON_FIELDS.items()},
}
"""CloudEvents type → what makes the event of a record's parts."""
