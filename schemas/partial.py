"""The records of `lampit.partials`: what one ledger partition holds of a region, and the head that closes each batch.

In: the ledger worker. Out: `schemas/json/partials.json`; read by the roll-up only. Values are absolute, so that
repeats are harmless; at one (epoch, offset) a partition has one value. A tally by sex is a list [M, F, unknown].
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, RootModel

from schemas.fields import Column, Day, Measure, Output

BySex = Annotated[list[int], Field(min_length=3, max_length=3)]
"""[M, F, unknown]."""

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


class AnyPartialRecord(RootModel[PartialRecord | HeadRecord]):
    """One record of `lampit.partials`: the key says which."""
