"""The ordinary events of the six common types, admitted in half the time.

In: the value of one Kafka record. Out: what `stream.admission` makes of it, or None, which says nothing about the
input: `stream.admission`, the only caller, then reads it in its own way, as it does what is rare (escapes, letters
outside ASCII, permits, a stillborn without a NIK, unknown fields) and all that is to be refused.

Fields that are unknown, of another type of event, or there twice are seen by the number of commas: an object of n
fields has n - 1, and nothing makes it one less. A comma in a text only adds, and is left to `stream.admission` as well.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from functools import lru_cache
from typing import Final

from msgspec import UNSET, MsgspecError, UnsetType
from msgspec.json import Decoder

from schemas.fields import CODE, DIGIT_RUN
from stream.admitted_events import Admitted
from stream.calendar import day_of, parse_instant
from stream.events import ABROAD, Birth, Death, MoveIn, MoveOut, PersonData, PersonEvent, Recording, Register
from stream.pseudonym import Pseudonymise
from stream.quick_form import Person, Sent

_BACKSLASH: Final = ord("\\")
_DELETE: Final = 0x7F
_VILLAGE_LENGTH: Final = len("16.05.02.2001")
_UUID_LENGTH: Final = 36
_DROPPED: Final = ("datacontenttype",)
_NO_NIK: Final = "0" * 16
_NOTHING_SAID: Final = PersonData()
_COMMAS: Final = 5 + 2
"""Of an event of the six fields that every one has, with the three in its data that all have here."""

_decode: Final = Decoder(Sent).decode
_is_place: Final = re.compile(CODE).fullmatch
_may_hold_nik: Final = re.compile(DIGIT_RUN).search

_Made = tuple[PersonEvent, int]
"""An event, and how many of the fields that only its type has were given."""


class _Unusual(Exception):
    """Not for this module."""


@lru_cache(maxsize=100_000)
def _place(code: str) -> str:
    """The code, if it is one; the same object each time, so that millions of events share it."""
    if not _is_place(code):
        raise _Unusual
    return code


def _text(text: str) -> str:
    """The text, if it holds no NIK."""
    if _may_hold_nik(text):
        raise _Unusual
    return text


_source: Final = lru_cache(maxsize=10_000)(_text)


def _elsewhere(place: str | UnsetType | None) -> str | None:
    return _place(place) if place and place != ABROAD else place or None


def _day(on: date | UnsetType | None) -> int | None:
    return on.toordinal() if on else None


def _said(person: Person | UnsetType | None) -> tuple[PersonData | None, int]:
    """What is said of the person, and how many commas it takes."""
    if not person:
        return None, 0 if person is UNSET else 1
    birth_date, sex, citizen = person.birth_date, person.sex, person.citizen
    married, recorded = person.ever_married_on, person.recorded_on
    given = 5 - (birth_date, sex, married, recorded, citizen).count(UNSET)
    if birth_date and married is UNSET and recorded is UNSET and citizen is UNSET:
        return PersonData(birth_date.toordinal(), sex or None), given
    citizen = None if citizen is UNSET else citizen
    said = PersonData(_day(birth_date), sex or None, _day(married), _day(recorded), citizen)
    if said == _NOTHING_SAID:
        raise _Unusual
    return said, given


def _register(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    in_opening = sent.data.in_opening
    if person is None or person.birth_date is None or person.birth_date > day:
        raise _Unusual
    opening = in_opening or False
    event = Register(
        source=source, id=sent.id, time=time, occurred_on=day, person=person, region=region, in_opening=opening
    )
    return event, in_opening is not UNSET


def _birth(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    sex, stillborn, already_registered = sent.data.sex, sent.data.stillborn, sent.data.already_registered
    if not sex or (stillborn and already_registered) or day_of(time, region) < day:
        raise _Unusual
    if person is not None and (person.birth_date not in (None, day) or person.sex not in (None, sex)):
        raise _Unusual
    event = Birth(
        source=source,
        id=sent.id,
        time=time,
        occurred_on=day,
        person=person,
        region=region,
        sex=sex,
        stillborn=stillborn or False,
        already_registered=already_registered or False,
    )
    return event, 3 - (stillborn, already_registered).count(UNSET)


def _death(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    return Death(source=source, id=sent.id, time=time, occurred_on=day, person=person, region=region), 0


def _move_out(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    destination, letter = sent.data.destination, sent.data.letter
    event = MoveOut(
        source=source,
        id=sent.id,
        time=time,
        occurred_on=day,
        person=person,
        region=region,
        destination=_elsewhere(destination),
        letter=_text(letter) if letter else None,
    )
    return event, 2 - (destination, letter).count(UNSET)


def _move_in(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    origin, letter = sent.data.origin, sent.data.letter
    event = MoveIn(
        source=source,
        id=sent.id,
        time=time,
        occurred_on=day,
        person=person,
        region=region,
        origin=_elsewhere(origin),
        letter=_text(letter) if letter else None,
    )
    return event, 2 - (origin, letter).count(UNSET)


def _recording(sent: Sent, source: str, time: int, day: int, person: PersonData | None, region: str) -> _Made:
    status, service_point = sent.data.status, sent.data.service_point
    event = Recording(
        source=source,
        id=sent.id,
        time=time,
        occurred_on=day,
        person=person,
        region=region,
        status=status or "captured",
        service_point=_place(service_point) if service_point else None,
    )
    return event, 2 - (status, service_point).count(UNSET)


_BUILDERS: Final[dict[str, Callable[[Sent, str, int, int, PersonData | None, str], _Made]]] = {
    "lampit.register.v1": _register,
    "lampit.birth.v1": _birth,
    "lampit.death.v1": _death,
    "lampit.move_out.v1": _move_out,
    "lampit.move_in.v1": _move_in,
    "lampit.recording.v1": _recording,
}


def admit_quickly(raw: bytes, pseudonymise: Pseudonymise) -> Admitted | None:
    """Accept an ordinary event; None for any other input."""
    if _BACKSLASH in raw or _DELETE in raw or not raw.isascii():
        return None
    try:
        sent = _decode(raw)
        data, nik = sent.data, sent.data.nik
        region = _place(data.region)
        if not nik.isdigit() or nik == _NO_NIK or len(region) != _VILLAGE_LENGTH:
            return None
        person, person_fields = _said(data.person)
        time, day = parse_instant(sent.time), data.occurred_on.toordinal()
        event, own_fields = _BUILDERS[sent.type](sent, _source(sent.source), time, day, person, region)
        if sent.id[8:24:5] != "----" or len(sent.id) > _UUID_LENGTH:  # a UUID has no 16 digits between its dashes
            _text(sent.id)
    except (MsgspecError, RecursionError, LookupError, ValueError, _Unusual):
        return None
    unknown_fields = () if sent.datacontenttype is UNSET else _DROPPED
    if raw.count(b",") != _COMMAS + person_fields + own_fields + len(unknown_fields):
        return None
    return Admitted(pseudonymise(nik), event, sent.type, unknown_fields)
