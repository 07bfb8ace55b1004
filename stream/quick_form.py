"""The form of the ordinary events of the six common types, for `stream.quick_admission`, which says what it is for.

In: nothing. Out: structs that accept nothing that `schemas.events` refuses, but for what `stream.quick_admission` sees
to: the form of places, NIK and free texts, fields of another type of event, names that come twice. UNSET is a
field that is not there; None is one that is null.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

_Day = date | None | UnsetType
_Flag = bool | None | UnsetType
_Place = Annotated[str, Meta(min_length=1)] | None | UnsetType
_Sex = Literal["M", "F"] | None | UnsetType
_Status = Literal["captured", "sent", "print_ready", "printed", "delivered", "failed", "duplicate"] | None | UnsetType


class Person(Struct, forbid_unknown_fields=True, gc=False):
    """What is said of the person."""

    birth_date: _Day = UNSET
    sex: _Sex = UNSET
    ever_married_on: _Day = UNSET
    recorded_on: _Day = UNSET
    citizen: _Flag = UNSET


class Data(Struct, forbid_unknown_fields=True, gc=False):
    """The fields of all six types: which of them go together is seen by their number."""

    nik: Annotated[str, Meta(min_length=16, max_length=16)]
    occurred_on: date
    region: str
    person: Person | UnsetType | None = UNSET
    in_opening: _Flag = UNSET
    sex: _Sex = UNSET
    stillborn: _Flag = UNSET
    already_registered: _Flag = UNSET
    destination: _Place = UNSET
    origin: _Place = UNSET
    letter: Annotated[str, Meta(min_length=1, max_length=128)] | UnsetType | None = UNSET
    service_point: _Place = UNSET
    status: _Status = UNSET


class Sent(Struct, forbid_unknown_fields=True, gc=False):
    """An event."""

    specversion: Literal["1.0"]
    id: Annotated[str, Meta(min_length=1, max_length=128)]
    source: Annotated[str, Meta(min_length=1, max_length=256)]
    type: str
    time: str
    data: Data
    datacontenttype: str | UnsetType = UNSET
    """Dropped like every field that `schemas.events` does not know; but libraries for CloudEvents send it."""
