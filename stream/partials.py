"""The records of `lampit.partials`, as the ledger worker writes and the roll-up reads them (schema: `schemas/partial.py`).

In: a `Partial` and its stamp. Out: bytes, and back. Both keys are here too: `region|partition` and `head|partition`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date

import msgspec

from stream.events import BySex
from stream.opening_figures import BalancePart, Count
from stream.rollup import Partial
from stream.tally import MEASURES, pack, unpack

HEAD = "head"

Counts = dict[str, list[int]]


class Balance(msgspec.Struct, omit_defaults=True):
    """`balance` of a partial; before its first D0 only `as_of` and `held` are there."""

    as_of: date
    held: Counts
    counts: dict[str, int | list[int]] = {}
    schedule_to_day: list[int] | None = None
    others_to_day: list[int] | None = None


class PartialRecord(msgspec.Struct, omit_defaults=True):
    """One place's absolute part in one partition; `region` is its column (`stream.places`)."""

    region: str
    partition: int
    epoch: int
    offset: int
    day: date
    counts: Counts | None = None
    balance: Balance | None = None

    def partial(self) -> Partial:
        """The part, as the roll-up adds it."""
        own = _tally(self.counts) if self.counts else 0
        if self.balance is None:
            return Partial(own)
        balance = self.balance
        counts = tuple((measure, _count(value)) for measure, value in balance.counts.items())
        scheduled = balance.schedule_to_day
        governs = balance.as_of <= self.day
        day = balance.as_of.toordinal()
        part = BalancePart(
            day, governs, counts, _three(scheduled), scheduled is not None, _three(balance.others_to_day)
        )
        return Partial(own, _tally(balance.held), part)


class HeadRecord(msgspec.Struct, omit_defaults=True):
    """Closes a batch: every partial of the partition up to `offset` is written, and its day reached.

    settings: those it was counted under, as the closing parts name them; None in what older versions wrote.
    """

    partition: int
    epoch: int
    offset: int
    day: date
    worker: str | None = None
    settings: str | None = None


def newest_epoch(heads: Collection[HeadRecord]) -> tuple[int, set[str]]:
    """The newest epoch, 0 before the first head, and the settings that its heads name: one where all is well."""
    epoch = max((head.epoch for head in heads), default=0)
    return epoch, {head.settings for head in heads if head.epoch == epoch and head.settings is not None}


_encode = msgspec.json.Encoder().encode
_partial = msgspec.json.Decoder(PartialRecord)
_head = msgspec.json.Decoder(HeadRecord)


def key(region: str, partition: int) -> bytes:
    """The record key of a region's partial."""
    return f"{region}|{partition}".encode()


def head_key(partition: int) -> bytes:
    """The record key of a head."""
    return key(HEAD, partition)


def encode(region: str, part: Partial, partition: int, epoch: int, offset: int, day: date) -> bytes:
    """The record of a partial, stamped with (epoch, offset) and the day its figures are of."""
    balance = None
    if part.balance is not None:
        said = part.balance
        balance = Balance(
            date.fromordinal(said.day),
            _counts(part.held),
            {measure: _stated(count) for measure, count in said.counts},
            list(said.scheduled) if said.has_schedule else None,
            list(said.others) if any(said.others) else None,
        )
    return _encode(PartialRecord(region, partition, epoch, offset, day, _counts(part.own), balance))


def encode_head(head: HeadRecord) -> bytes:
    """The record of a head."""
    return _encode(head)


def decode(raw_key: bytes, value: bytes) -> PartialRecord | HeadRecord:
    """Either record, by its key; msgspec.DecodeError if it is neither."""
    return _head.decode(value) if raw_key.startswith(b"head|") else _partial.decode(value)


def _three(numbers: list[int] | None) -> tuple[int, int, int]:
    male, female, unknown = numbers or (0, 0, 0)
    return male, female, unknown


def _counts(tally: int) -> Counts:
    lanes = unpack(tally)
    width = len(MEASURES)
    return {
        measure: [lanes[index], lanes[width + index], lanes[2 * width + index]]
        for index, measure in enumerate(MEASURES)
    }


def _tally(counts: Counts) -> int:
    return pack([counts[measure][sex] for sex in range(3) for measure in MEASURES])


def _stated(count: Count) -> int | list[int]:
    return [count.male, count.female] if isinstance(count, BySex) else count


def _count(value: int | list[int]) -> Count:
    return BySex(value[0], value[1]) if isinstance(value, list) else value
