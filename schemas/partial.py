"""The records of `lampit.partials`: what one ledger partition holds of a region and adds to its closings.

In: the ledger worker. Out: `schemas/json/partials.json`; read by the roll-up only. Values are absolute, so that
repeats are harmless; at one (epoch, offset) a partition has one value. A tally by sex is a list [M, F, unknown].
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, RootModel

from schemas.fields import Column, Day, Measure, Output, PeriodName
from schemas.ledger import OpeningBalanceRecord

BySex = Annotated[list[int], Field(min_length=3, max_length=3)]
"""[M, F, unknown]."""

FlowName = Literal["births", "stillbirths", "deaths", "moved_out", "moved_in", "recordings", "served", "turned_17"]
"""The flows that are counted; corrections are what is left."""

Stated = int | Annotated[list[int], Field(min_length=2, max_length=2)]
"""A number stated by a balance: the total, or [M, F]."""


class PartialCounts(Output):
    """The six measures of contract.md section 2."""

    population: BySex
    """Everyone whose home is there."""
    obliged: BySex
    """Wajib KTP."""
    recorded: BySex
    """Obliged and recorded."""
    recorded_early: BySex
    """Recorded and not yet obliged."""
    print_ready: BySex
    """Obliged, with a print-ready record."""
    issued: BySex
    """Obliged, with a delivered card."""


class PartialBalance(Output):
    """The region's own balance, as this partition sees it.

    Where a change of codes brought regions with balances in, or took some out, theirs are added or taken away."""

    as_of: Day
    """Day D0 of the balance that governs."""
    counts: dict[Measure, Stated] = Field(default_factory=dict)
    """What the balance states; a measure left out is not stated. Partition 0 only."""
    schedule_to_day: Stated | None = None
    """Birthdays of the schedule after D0 up to the day; null: the balance has no schedule. Partition 0 only."""
    others_to_day: BySex | None = None
    """The same of the balances of regions that came in by a change of codes, less those that left; absent: none."""
    held: PartialCounts
    """What the balance already holds of the people of this partition (V0)."""


class PartialRecord(Output):
    """What one partition holds of one place. The record's key is `region|partition`."""

    region: Column
    """The place that events named; the roll-up knows its code on every day."""
    partition: int
    """Ledger partition."""
    epoch: int
    """Epoch of the ledger."""
    offset: int
    """Next offset of the partition after the batch."""
    day: Day
    """Day the figures are of."""
    counts: PartialCounts | None = None
    """The figures; absent: all zero."""
    balance: PartialBalance | None = None
    """The region's own balance, if it has one."""


class HeadRecord(Output):
    """Closes a batch: every partial up to here is written. The record's key is `head|partition`."""

    partition: int
    """Ledger partition."""
    epoch: int
    """Epoch of the ledger."""
    offset: int
    """Next offset of the partition."""
    day: Day
    """Business day the partition has reached."""
    worker: str | None = None
    """Where the web server of the worker that wrote it is reached; the roll-up asks there for other days."""
    settings: str | None = None
    """Digest of the settings and the region reference it was counted under."""


class ClosingDating(Output):
    """What a cell of the closings holds in one dating; what is zero is left out."""

    stock: dict[Measure, BySex] = Field(default_factory=dict)
    """By how much the period moves each measure."""
    flows: dict[FlowName, BySex] = Field(default_factory=dict)
    """What happened in the period."""


class ClosingChangeRecord(Output):
    """What one partition adds to the closing of one place in one period. The record's key is
    `change|COLUMN|PERIOD|PARTITION|KNOWN_DAY|SETTINGS`; a tombstone when a later one has taken its place."""

    column: str
    """A region code, or `REGION@DAY` of what a balance already holds of known people."""
    period: PeriodName | Literal["before"]
    """The period, or all the time before the first one."""
    partition: int
    """Ledger partition."""
    known_day: Day
    """The last business day that was over when the partition came to its day record."""
    settings: str
    """Digest of the settings and the region reference it was made with."""
    by_event_date: ClosingDating = Field(default_factory=ClosingDating)
    """By the day on which it happened."""
    by_report_date: ClosingDating = Field(default_factory=ClosingDating)
    """By the day on which the office registered it."""


class ClosingBalanceRecord(Output):
    """An opening balance that is in the closings from a known day on. The record's key is `balance|DIGEST|SETTINGS`."""

    known_day: Day
    """The first known day that includes it."""
    settings: str
    """Digest of the settings and the region reference."""
    record: OpeningBalanceRecord
    """Its record of the ledger."""


class BarrierRecord(Output):
    """Closes what a partition says of a known day. The record's key is `barrier|PARTITION|KNOWN_DAY|SETTINGS`."""

    partition: int
    """Ledger partition."""
    known_day: Day
    """The last business day that was over."""
    settings: str
    """Digest of the settings and the region reference."""
    epoch: int
    """Epoch of the ledger."""
    offset: int
    """Next offset of the partition behind the day record."""
    balances: str
    """Digest of the balances taken in; a day is closed when all partitions have the same."""


class ClosedRecord(Output):
    """Written by the roll-up: all closings known at the end of that day are published. The record's key is `closed`."""

    known_day: Day
    """The day."""
    settings: str
    """Digest of the settings and the region reference."""
    all_is_new: bool = False
    """Other settings than these made the closings of the day; these begin at the next."""


class AnyPartialRecord(
    RootModel[PartialRecord | HeadRecord | ClosingChangeRecord | ClosingBalanceRecord | BarrierRecord | ClosedRecord]
):
    """One record of `lampit.partials`: the key says which."""
