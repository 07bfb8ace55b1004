"""The event as the core counts it.

In: `stream.admission` (a raw CloudEvent that was accepted) and `stream.ledger` (a ledger record) build these values.
Out: `stream.person` folds them; the ledger worker's store keeps them, encoded as they stand (msgpack arrays).

Days are proleptic Gregorian ordinals (`date.toordinal()`), instants are microseconds since 1970-01-01T00:00:00Z, regions
are Kemendagri codes. Every class holds the whole accepted content of its type (contract.md section 1), so that the
ledger record and its digest can be written again from the value alone.
"""

from __future__ import annotations

from typing import Final

import msgspec

ABROAD: Final = "abroad"


class Permit(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A permanent stay permit (ITAP): from its first day to its last, both included; None is open-ended."""

    begins: int
    until: int | None = None


class PersonData(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """`data.person`: what the office that sent the event knows of the person. None: not said."""

    birth_date: int | None = None
    sex: str | None = None
    ever_married_on: int | None = None
    recorded_on: int | None = None
    citizen: bool | None = None
    permanent_permit: Permit | None = None


class Event(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True):
    """What every event has. `(source, id)` names it within one person; `time` is the instant of registration."""

    source: str
    id: str
    time: int
    occurred_on: int
    person: PersonData | None = None


class Placed(Event, frozen=True, array_like=True, gc=False, kw_only=True):
    """What every event has that names the village it is about."""

    region: str


class Register(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=0):
    """The person is on the register and lives in `region` since `occurred_on`."""

    in_opening: bool = False


class Birth(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=1):
    """A birth; `stillborn` and `already_registered` ones are a flow only."""

    sex: str
    stillborn: bool = False
    already_registered: bool = False


class Death(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=2):
    """A death."""


class MoveOut(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=3):
    """Leaves `region`; `destination` is a region code, ABROAD or None (not said)."""

    destination: str | None = None
    letter: str | None = None


class MoveIn(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=4):
    """Arrives in `region`; `origin` is a region code, ABROAD or None (not said)."""

    origin: str | None = None
    letter: str | None = None


class Recording(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=5):
    """A stage of the e-KTP: `region` is the home, `service_point` the region of the office that served."""

    status: str = "captured"
    service_point: str | None = None


class Marriage(Event, frozen=True, array_like=True, gc=False, kw_only=True, tag=6):
    """Married on `occurred_on`."""


class ResidencePermit(Event, frozen=True, array_like=True, gc=False, kw_only=True, tag=7):
    """From `occurred_on` on: citizen or not, and the permanent permit, if any."""

    citizen: bool
    permanent_permit: Permit | None = None


class Correction(Event, frozen=True, array_like=True, gc=False, kw_only=True, tag=8):
    """A corrected birth date or sex, true from birth on."""

    birth_date: int | None = None
    sex: str | None = None


class Missing(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=9):
    """Hilang."""


class Found(Placed, frozen=True, array_like=True, gc=False, kw_only=True, tag=10):
    """Found again."""


class NikChange(Event, frozen=True, array_like=True, gc=False, kw_only=True, tag=11):
    """The person is also known as `new_subject`."""

    new_subject: str


class Cancellation(Event, frozen=True, array_like=True, gc=False, kw_only=True, tag=12):
    """The named event of the same person counts as never sent."""

    target_source: str
    target_id: str


class BySex(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A published count that is split by sex."""

    male: int
    female: int


class TurningSeventeen(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One line of a balance's schedule: `count` people turn 17 on day `on`."""

    on: int
    count: int | BySex


class OpeningBalance(msgspec.Struct, frozen=True, array_like=True, gc=False, kw_only=True, tag=13):
    """Register totals of `region` at the end of `occurred_on`. Of no person."""

    source: str
    id: str
    time: int
    occurred_on: int
    region: str
    counts: dict[str, int | BySex]
    turning_17: tuple[TurningSeventeen, ...] = ()


PersonEvent = (
    Register
    | Birth
    | Death
    | MoveOut
    | MoveIn
    | Recording
    | Marriage
    | ResidencePermit
    | Correction
    | Missing
    | Found
    | NikChange
    | Cancellation
)
