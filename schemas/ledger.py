"""The records of `lampit.ledger`: accepted events under a person id, and the control records between them.

In: `schemas.facts`. Out: the exported schema `schemas/json/ledger.json`, for auditors and subscribers. The engine
has `stream.ledger` for them, and a test holds the two together. `data` is in accepted form: schema fields
only, and a field that is absent, null or at its default is left out.
"""

from __future__ import annotations

from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field, RootModel

from schemas.facts import (
    BirthFacts,
    CancellationFacts,
    CorrectionFacts,
    DeathFacts,
    FoundFacts,
    MarriageFacts,
    MissingFacts,
    MoveInFacts,
    MoveOutFacts,
    NikChangeFacts,
    OpeningBalanceFacts,
    RecordingFacts,
    RegisterFacts,
    ResidencePermitFacts,
)
from schemas.fields import Count, Day, Id, Instant, PeriodName, Schema, Source, Subject
from schemas.head import HeadRecord

TypeT = TypeVar("TypeT")
DataT = TypeVar("DataT")


class LedgerEnvelope(Schema):
    """What every ledger record has."""

    specversion: Literal["1.0"]
    """Version of CloudEvents."""
    id: Id
    """Identity within the source."""
    source: Source
    """The sender; `/lampit/ledger` for control records."""
    time: Instant
    """When the office registered it, in UTC."""


class PersonRecord(LedgerEnvelope, Generic[TypeT, DataT]):
    """An accepted event of a person; the record's key is the subject."""

    type: TypeT
    """Type of the event."""
    subject: Subject
    """Person id."""
    receivedat: Instant
    """When intake accepted it, in UTC; of a copy, when that was made."""
    forwardedfrom: Subject | None = None
    """Only on a copy: the other id of the same person under which the event itself was sent and is kept too (after a
    change of NIK). Who reads all partitions leaves copies out; they add nothing."""
    data: DataT
    """The event, without the NIK."""


class NikChangeRecordFacts(NikChangeFacts):
    """A change of NIK, as kept: written under both ids."""

    new_subject: Subject
    """The person id of the new NIK."""


class OpeningBalanceRecord(LedgerEnvelope):
    """An accepted balance, written to every partition; the record's key is `balance|` and the region."""

    type: Literal["lampit.opening_balance.v1"]
    """Type of the event."""
    receivedat: Instant
    """When intake accepted it, in UTC."""
    data: OpeningBalanceFacts
    """The balance."""


class Predecessor(Schema):
    """The ledger that this one was rewritten from, under a newer pseudonym key."""

    ledger_id: str
    """Its identity."""
    key_fingerprint: str
    """Which keys it was made with."""
    keys: Annotated[int, Field(ge=1)]
    """How many keys those are."""
    head: HeadRecord
    """The last signed head of this partition in its archive: all before it is in this ledger."""


class Genesis(Schema):
    """The first record of every partition: which ledger this is."""

    ledger_id: str
    """Identity of the ledger, made when it was created."""
    partitions: Count
    """Number of partitions; a person is in partition int(subject[:8], 16) % partitions."""
    partition: Count
    """This partition."""
    key_fingerprint: str
    """Says which pseudonym keys are in use, and in which order, without telling them."""
    format: Literal[1]
    """Version of the record format."""
    succeeds: Predecessor | None = None
    """Only of a ledger that was rewritten from another one under a newer key."""


class EpochSettings(Schema):
    """The settings that change figures."""

    transit_expiry_days: int | None = None
    """Days after which someone who left and never arrived is back; absent: never."""
    leap_birthday: Literal["mar1", "feb28"]
    """When those born on 29 February turn 17 in a common year."""
    closing_day: Annotated[int, Field(ge=1, le=28)] | None = None
    """Day of the month at whose end a month is closed; absent: 28."""
    first_period: PeriodName | None = None
    """First month that is closed, YYYY-MM; absent: none is."""


class Epoch(Schema):
    """From here on figures are counted under these rules, settings and region reference."""

    epoch: Count
    """Number of the epoch; grows."""
    rules: str
    """Version of the counting rules."""
    settings: EpochSettings
    """The settings that change figures."""
    reference_digest: str
    """Digest of the region reference."""


class BusinessDay(Schema):
    """The business day begins (00:00 WIB); it turns forward only."""

    day: Day
    """The day."""


class ControlRecord(LedgerEnvelope, Generic[TypeT, DataT]):
    """A record that steers the count; of no person. The record's key is `control|` and the kind."""

    type: TypeT
    """Kind of control record."""
    data: DataT
    """What it says."""


LedgerRecord = Annotated[
    PersonRecord[Literal["lampit.register.v1"], RegisterFacts]
    | PersonRecord[Literal["lampit.birth.v1"], BirthFacts]
    | PersonRecord[Literal["lampit.death.v1"], DeathFacts]
    | PersonRecord[Literal["lampit.move_out.v1"], MoveOutFacts]
    | PersonRecord[Literal["lampit.move_in.v1"], MoveInFacts]
    | PersonRecord[Literal["lampit.recording.v1"], RecordingFacts]
    | PersonRecord[Literal["lampit.marriage.v1"], MarriageFacts]
    | PersonRecord[Literal["lampit.residence_permit.v1"], ResidencePermitFacts]
    | PersonRecord[Literal["lampit.correction.v1"], CorrectionFacts]
    | PersonRecord[Literal["lampit.missing.v1"], MissingFacts]
    | PersonRecord[Literal["lampit.found.v1"], FoundFacts]
    | PersonRecord[Literal["lampit.nik_change.v1"], NikChangeRecordFacts]
    | PersonRecord[Literal["lampit.cancellation.v1"], CancellationFacts]
    | OpeningBalanceRecord
    | ControlRecord[Literal["lampit.genesis.v1"], Genesis]
    | ControlRecord[Literal["lampit.epoch.v1"], Epoch]
    | ControlRecord[Literal["lampit.day.v1"], BusinessDay],
    Field(discriminator="type"),
]


class AnyLedgerRecord(RootModel[LedgerRecord]):
    """One record of the ledger, of any type."""
