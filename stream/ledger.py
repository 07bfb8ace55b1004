"""The records of `lampit.ledger`: written by intake, read by the ledger worker, the archive and the audit.

In: events of `stream.events` and control records. Out: their JSON and back, exactly; the accepted form and its digest,
by which conflicts are decided. The form is that of `schemas.ledger`. Reading raises ValueError for what is not a ledger
record: intake wrote it, so it is damage, not bad input.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from stream.archive import Statement
from stream.calendar import format_instant, iso_day, ordinal, parse_instant
from stream.events import Event, OpeningBalance, PersonEvent
from stream.ledger_data import READERS, TYPES, EventData, data_of
from stream.periods import CLOSING_DAY
from stream.rules import Rules

SOURCE: Final = "/lampit/ledger"
FORMAT: Final = 1


class LedgerRecord(msgspec.Struct, frozen=True, gc=False):
    """An accepted event as kept.

    subject: the person id, None for a balance. received_at: instant of acceptance (of a copy: when it was
    made). forwarded_from: the other id of the same person under which the event itself is kept, if this is a copy.
    """

    subject: str | None
    event: PersonEvent | OpeningBalance
    received_at: int
    forwarded_from: str | None = None


class Predecessor(msgspec.Struct, frozen=True):
    """The ledger that this one was rewritten from, under a newer pseudonym key.

    keys: how many keys its ids went through. head: the last signed head of this very partition in its archive.
    """

    ledger_id: str
    key_fingerprint: str
    keys: int
    head: Statement


class Genesis(msgspec.Struct, frozen=True, tag="lampit.genesis.v1"):
    """The first record of a partition: which ledger this is."""

    ledger_id: str
    partitions: int
    partition: int
    key_fingerprint: str
    format: int = FORMAT
    succeeds: Predecessor | msgspec.UnsetType = msgspec.UNSET

    @property
    def keys(self) -> int:
        """How many keys the ids of this ledger went through."""
        return 1 if isinstance(self.succeeds, msgspec.UnsetType) else self.succeeds.keys + 1


class EpochSettings(msgspec.Struct, frozen=True):
    """The settings that change figures. Those of the closings are left out at their defaults, so that a ledger begun without
    them is still the same."""

    transit_expiry_days: int | None = None
    leap_birthday: Literal["mar1", "feb28"] = "mar1"
    closing_day: int | msgspec.UnsetType = msgspec.UNSET
    first_period: str | msgspec.UnsetType = msgspec.UNSET

    @classmethod
    def of(cls, rules: Rules) -> EpochSettings:
        """The settings of some rules."""
        return cls(
            rules.transit_expiry_days,
            rules.leap_birthday,
            msgspec.UNSET if rules.closing_day == CLOSING_DAY else rules.closing_day,
            rules.first_period or msgspec.UNSET,
        )


class Epoch(msgspec.Struct, frozen=True, tag="lampit.epoch.v1"):
    """From here on these rules, settings and region reference hold."""

    epoch: int
    rules: str
    settings: EpochSettings
    reference_digest: str


class Day(msgspec.Struct, frozen=True, tag="lampit.day.v1"):
    """The business day `day` (ordinal) begins."""

    day: int


Control = Genesis | Epoch | Day


class ControlRecord(msgspec.Struct, frozen=True):
    """A control record; time: the instant it was written for."""

    control: Control
    time: int


class _Envelope(msgspec.Struct, omit_defaults=True, kw_only=True, gc=False):
    """The CloudEvent around the data, in the order in which it is written."""

    specversion: Literal["1.0"]
    id: str
    source: str
    type: str
    time: str
    subject: str | None = None
    receivedat: str | None = None
    forwardedfrom: str | None = None
    data: Any


class _Read(_Envelope, kw_only=True, gc=False):
    """The same as read: of a control record, whose data has other fields, `data` says nothing."""

    data: EventData


class _Control(msgspec.Struct, gc=False):
    """A control record, its data unread until the type is known."""

    data: msgspec.Raw


class _DayData(msgspec.Struct):
    day: str


_ENCODER: Final = msgspec.json.Encoder()
_SORTED_ENCODER: Final = msgspec.json.Encoder(order="sorted")
_READ: Final = msgspec.json.Decoder(_Read)
_READ_CONTROL: Final = msgspec.json.Decoder(_Control)
_READ_GENESIS: Final = msgspec.json.Decoder(Genesis)
_READ_EPOCH: Final = msgspec.json.Decoder(Epoch)
_READ_DAY: Final = msgspec.json.Decoder(_DayData)

_CONTROL_NAMES: Final[dict[type[Control], str]] = {Genesis: "genesis", Epoch: "epoch", Day: "day"}


def _envelope(event: Event | OpeningBalance) -> _Envelope:
    return _Envelope(
        specversion="1.0",
        id=event.id,
        source=event.source,
        type=TYPES[type(event)],
        time=format_instant(event.time),
        data=data_of(event),
    )


def encode_record(
    subject: str | None, event: PersonEvent | OpeningBalance, received_at: int, forwarded_from: str | None = None
) -> bytes:
    """The value of the Kafka record of an accepted event."""
    envelope = _envelope(event)
    envelope.subject = subject
    envelope.receivedat = format_instant(received_at)
    envelope.forwardedfrom = forwarded_from
    return _ENCODER.encode(envelope)


def record_key(subject: str | None, event: PersonEvent | OpeningBalance) -> bytes:
    """The key of the Kafka record: the person id, or `balance|REGION`."""
    if isinstance(event, OpeningBalance):
        return f"balance|{event.region}".encode()
    if subject is None:
        raise ValueError("only an opening balance has no subject")
    return subject.encode()


def encode_control(control: Control, time: int) -> bytes:
    """The value of the Kafka record of a control record."""
    name = _CONTROL_NAMES[type(control)]
    if isinstance(control, Day):
        data: Any = _DayData(iso_day(control.day))
        identity = f"{name}|{data.day}"
    else:
        data = msgspec.to_builtins(control)
        del data["type"]
        if isinstance(control, Epoch):
            data["settings"] = {key: value for key, value in data["settings"].items() if value is not None}
        identity = name if isinstance(control, Genesis) else f"{name}|{control.epoch}"
    envelope = _Envelope(
        specversion="1.0",
        id=identity,
        source=SOURCE,
        type=f"lampit.{name}.v1",
        time=format_instant(time),
        data=data,
    )
    return _ENCODER.encode(envelope)


def control_key(control: Control) -> bytes:
    """The key of the Kafka record of a control record."""
    return f"control|{_CONTROL_NAMES[type(control)]}".encode()


def decode_record(raw: bytes) -> LedgerRecord | ControlRecord:
    """The record that `encode_record` or `encode_control` wrote."""
    read = _READ.decode(raw)
    reader = READERS.get(read.type)
    if reader is None:
        return ControlRecord(_control(read.type, _READ_CONTROL.decode(raw).data), parse_instant(read.time))
    if read.receivedat is None:
        raise ValueError("a ledger record without receivedat")
    event = reader(read.source, read.id, parse_instant(read.time), read.data)
    if read.subject is None and not isinstance(event, OpeningBalance):
        raise ValueError("a ledger record of a person without subject")
    return LedgerRecord(read.subject, event, _received_at(read.receivedat), read.forwardedfrom)


# Intake stamps a whole batch with one instant.
_received_at = lru_cache(maxsize=1_000)(parse_instant)


def _control(kind: str, data: msgspec.Raw) -> Control:
    if kind == "lampit.day.v1":
        return Day(ordinal(_READ_DAY.decode(data).day))
    if kind == "lampit.epoch.v1":
        return _READ_EPOCH.decode(data)
    if kind == "lampit.genesis.v1":
        return _READ_GENESIS.decode(data)
    raise ValueError("a ledger record of an unknown type")


def content(event: Event | OpeningBalance) -> dict[str, Any]:
    """The accepted form without the person: no subject, new_subject, receivedat, nor NIK (reading 1)."""
    accepted: dict[str, Any] = msgspec.to_builtins(_envelope(event))
    accepted["data"].pop("new_subject", None)
    return accepted


def content_digest(event: Event | OpeningBalance) -> bytes:
    """SHA-256 of the canonical JSON (RFC 8785) of the content.

    Names are ASCII, numbers small integers and texts without control characters: sorted, compact JSON is canonical.
    """
    return hashlib.sha256(_SORTED_ENCODER.encode(content(event))).digest()
