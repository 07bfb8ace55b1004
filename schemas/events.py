"""The events that producers send to the intake topics: CloudEvents 1.0, structured JSON, one of the types of `TYPES`.

In: `schemas.facts`. Out: `IntakeEvent`, a union told apart by `type`, read by `stream.admission`; exported as
`schemas/json/intake.json`. Fields that are not listed here are dropped. What needs two fields to be judged (a permit
that ends before it begins, a birth dated after it was registered) is judged by `stream.admission`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal, final

from pydantic import Field

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
from schemas.fields import Id, Instant, Nik, Schema, Source

SPECVERSION: Final = "1.0"


class Envelope(Schema):
    """What every event has. (person, source, id) identifies it for ever."""

    specversion: Literal["1.0"]
    """Version of CloudEvents."""
    id: Id
    """Identity within the source; not a NIK."""
    source: Source
    """The sender, such as `/siak/1605`."""
    time: Instant
    """When the office registered it (tanggal lapor)."""


class RegisterData(RegisterFacts):
    """The data of a register entry."""

    nik: Nik


class BirthData(BirthFacts):
    """The data of a birth."""

    nik: Nik | None = None
    """NIK; only a stillborn may have none."""


class DeathData(DeathFacts):
    """The data of a death."""

    nik: Nik


class MoveOutData(MoveOutFacts):
    """The data of a departure."""

    nik: Nik


class MoveInData(MoveInFacts):
    """The data of an arrival."""

    nik: Nik


class RecordingData(RecordingFacts):
    """The data of a recording."""

    nik: Nik


class MarriageData(MarriageFacts):
    """The data of a marriage."""

    nik: Nik


class ResidencePermitData(ResidencePermitFacts):
    """The data of a change of citizenship or permit."""

    nik: Nik


class CorrectionData(CorrectionFacts):
    """The data of a correction."""

    nik: Nik


class MissingData(MissingFacts):
    """The data of a missing person."""

    nik: Nik


class FoundData(FoundFacts):
    """The data of a person found again."""

    nik: Nik


class NikChangeData(NikChangeFacts):
    """The data of a change of NIK."""

    nik: Nik
    new_nik: Nik
    """The other NIK of the same person."""


class CancellationData(CancellationFacts):
    """The data of a cancellation."""

    nik: Nik


class RegisterEvent(Envelope):
    """The person is on the register and lives in the region since the day named."""

    type: Literal["lampit.register.v1"]
    data: RegisterData


@final
class BirthEvent(Envelope):
    """Lahir."""

    type: Literal["lampit.birth.v1"]
    data: BirthData


class DeathEvent(Envelope):
    """Mati."""

    type: Literal["lampit.death.v1"]
    data: DeathData


class MoveOutEvent(Envelope):
    """Pindah."""

    type: Literal["lampit.move_out.v1"]
    data: MoveOutData


class MoveInEvent(Envelope):
    """Datang."""

    type: Literal["lampit.move_in.v1"]
    data: MoveInData


class RecordingEvent(Envelope):
    """Perekaman e-KTP, and the later stages of the card."""

    type: Literal["lampit.recording.v1"]
    data: RecordingData


class MarriageEvent(Envelope):
    """A marriage."""

    type: Literal["lampit.marriage.v1"]
    data: MarriageData


class ResidencePermitEvent(Envelope):
    """Foreigners, naturalisation, loss of citizenship."""

    type: Literal["lampit.residence_permit.v1"]
    data: ResidencePermitData


class CorrectionEvent(Envelope):
    """A corrected birth date or sex."""

    type: Literal["lampit.correction.v1"]
    data: CorrectionData


class MissingEvent(Envelope):
    """Hilang."""

    type: Literal["lampit.missing.v1"]
    data: MissingData


class FoundEvent(Envelope):
    """Found again."""

    type: Literal["lampit.found.v1"]
    data: FoundData


class NikChangeEvent(Envelope):
    """One person under two NIKs."""

    type: Literal["lampit.nik_change.v1"]
    data: NikChangeData


class CancellationEvent(Envelope):
    """The named event counts as never sent."""

    type: Literal["lampit.cancellation.v1"]
    data: CancellationData


@final
class OpeningBalanceEvent(Envelope):
    """Totals of a region without a person register."""

    type: Literal["lampit.opening_balance.v1"]
    data: OpeningBalanceFacts


PersonIntakeEvent = (
    RegisterEvent
    | BirthEvent
    | DeathEvent
    | MoveOutEvent
    | MoveInEvent
    | RecordingEvent
    | MarriageEvent
    | ResidencePermitEvent
    | CorrectionEvent
    | MissingEvent
    | FoundEvent
    | NikChangeEvent
    | CancellationEvent
)

IntakeEvent = Annotated[PersonIntakeEvent | OpeningBalanceEvent, Field(discriminator="type")]

FAMILIES: Final = ("birth", "death", "move-out", "move-in", "recording", "civil")
"""The intake topics are `lampit.intake.` and one of these."""

TYPES: Final = {
    "lampit.birth.v1": "birth",
    "lampit.death.v1": "death",
    "lampit.move_out.v1": "move-out",
    "lampit.move_in.v1": "move-in",
    "lampit.recording.v1": "recording",
    "lampit.register.v1": "civil",
    "lampit.marriage.v1": "civil",
    "lampit.residence_permit.v1": "civil",
    "lampit.correction.v1": "civil",
    "lampit.missing.v1": "civil",
    "lampit.found.v1": "civil",
    "lampit.nik_change.v1": "civil",
    "lampit.cancellation.v1": "civil",
    "lampit.opening_balance.v1": "civil",
}
"""Every type of event and the family whose topic carries it."""
