"""What crosses `lampit.partials` for the closings, as the ledger worker writes and the roll-up reads it (`schemas/partial.py`).

In: a `Barrier` of one partition. Out: its records and their keys, and back. A key names the day by whose end the value was
known, so that compaction keeps what a slower partition or roll-up still needs; the roll-up writes tombstones for what it
does not need any more. It names the settings too: cells of other months or rules are other cells.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from datetime import date

import msgspec

from stream import flow_tally, tally
from stream.closing_cells import Barrier
from stream.contribution import Change, PeriodCell
from stream.events import OpeningBalance
from stream.ledger import LedgerRecord, content_digest, decode_record, encode_record
from stream.periods import BEFORE, Periods

CHANGE, BALANCE, BARRIER, CLOSED = "change", "balance", "barrier", "closed"
BEFORE_NAME = "before"
SETTINGS_DIGITS = 8


class Dated(msgspec.Struct, omit_defaults=True, frozen=True):
    """A cell in one dating; lists are [M, F, unknown]."""

    stock: dict[str, list[int]] = {}
    flows: dict[str, list[int]] = {}


class ChangeRecord(msgspec.Struct, omit_defaults=True, frozen=True):
    """One cell of one partition, as known at the end of a day."""

    column: str
    period: str
    partition: int
    known_day: date
    settings: str
    by_event_date: Dated = Dated()
    by_report_date: Dated = Dated()

    @property
    def key(self) -> bytes:
        """As `change_key` makes it."""
        return change_key(self.column, self.period, self.partition, self.known_day, self.settings)

    def cell(self, periods: Periods) -> PeriodCell:
        """Which one."""
        return (BEFORE if self.period == BEFORE_NAME else periods.index_of(self.period), self.column)

    def change(self) -> Change:
        """What it holds."""
        event, report = self.by_event_date, self.by_report_date
        return Change(
            _tally(event.stock, tally.MEASURES),
            _tally(report.stock, tally.MEASURES),
            _tally(event.flows, flow_tally.FLOWS),
            _tally(report.flows, flow_tally.FLOWS),
        )


def change_key(column: str, period: str, partition: int, known_day: date, settings: str) -> bytes:
    """`change|COLUMN|PERIOD|PARTITION|KNOWN_DAY|SETTINGS`."""
    return f"{CHANGE}|{column}|{period}|{partition}|{known_day.isoformat()}|{settings}".encode()


class BalanceRecord(msgspec.Struct, frozen=True):
    """A balance that is in the closings from a known day on: its ledger record. Of partition 0."""

    known_day: date
    settings: str
    record: msgspec.Raw

    @property
    def key(self) -> bytes:
        """`balance|DIGEST|SETTINGS`."""
        return f"{BALANCE}|{content_digest(self.balance()).hex()[:32]}|{self.settings}".encode()

    def balance(self) -> OpeningBalance:
        """The balance; ValueError for what is none."""
        decoded = decode_record(bytes(self.record))
        if not isinstance(decoded, LedgerRecord) or not isinstance(decoded.event, OpeningBalance):
            raise ValueError("a balance that is none")
        return decoded.event


class BarrierRecord(msgspec.Struct, frozen=True):
    """Closes what a partition says of a known day. balances: a digest of those it has taken in."""

    partition: int
    known_day: date
    settings: str
    epoch: int
    offset: int
    balances: str

    @property
    def key(self) -> bytes:
        """`barrier|PARTITION|KNOWN_DAY|SETTINGS`."""
        return f"{BARRIER}|{self.partition}|{self.known_day.isoformat()}|{self.settings}".encode()


class ClosedRecord(msgspec.Struct, omit_defaults=True, frozen=True):
    """Written by the roll-up: the closings known at the end of that day are all published.

    all_is_new: by other settings; under these none is published yet.
    """

    known_day: date
    settings: str
    all_is_new: bool = False

    key = CLOSED.encode()


ClosingPart = ChangeRecord | BalanceRecord | BarrierRecord | ClosedRecord

_KINDS: dict[bytes, type[ClosingPart]] = {
    CHANGE.encode(): ChangeRecord,
    BALANCE.encode(): BalanceRecord,
    BARRIER.encode(): BarrierRecord,
    CLOSED.encode(): ClosedRecord,
}
_decoders = {kind: msgspec.json.Decoder(made) for kind, made in _KINDS.items()}
_encode = msgspec.json.Encoder().encode


def encode(part: ClosingPart) -> bytes:
    """The value of a record."""
    return _encode(part)


def decode(raw_key: bytes, value: bytes) -> ClosingPart | None:
    """The record, or None for a key that is none of these."""
    decoder = _decoders.get(raw_key.partition(b"|")[0])
    return None if decoder is None else decoder.decode(value)


def book_digest(balances: Iterable[OpeningBalance]) -> str:
    """Of a set of balances: two partitions with the same have taken in the same."""
    return hashlib.sha256(b"".join(sorted(map(content_digest, balances)))).hexdigest()[:16]


def records(barrier: Barrier, periods: Periods, partition: int, epoch: int, settings: str) -> Iterator[ClosingPart]:
    """What a partition says at a barrier; the last one closes it."""
    known_day = date.fromordinal(barrier.known_day)
    for (index, column), change in sorted(barrier.cells.items()):
        period = BEFORE_NAME if index == BEFORE else periods.period(index).name
        by_event = Dated(
            _counts(change.stock_by_event, tally.MEASURES), _counts(change.flows_by_event, flow_tally.FLOWS)
        )
        by_report = Dated(
            _counts(change.stock_by_report, tally.MEASURES), _counts(change.flows_by_report, flow_tally.FLOWS)
        )
        yield ChangeRecord(column, period, partition, known_day, settings, by_event, by_report)
    if partition == 0:
        for balance in barrier.balances:
            yield BalanceRecord(known_day, settings, msgspec.Raw(encode_record(None, balance, balance.time)))
    yield BarrierRecord(partition, known_day, settings, epoch, barrier.offset, book_digest(barrier.book.accepted))


def _counts(packed: int, names: tuple[str, ...]) -> dict[str, list[int]]:
    if not packed:
        return {}
    lanes = tally.unpack(packed) if names is tally.MEASURES else flow_tally.unpack(packed)
    width = len(names)
    rows = {name: [lanes[sex * width + index] for sex in range(3)] for index, name in enumerate(names)}
    return {name: row for name, row in rows.items() if any(row)}


def _tally(counts: dict[str, list[int]], names: tuple[str, ...]) -> int:
    nobody = [0, 0, 0]
    return tally.pack([counts.get(name, nobody)[sex] for sex in range(3) for name in names])
