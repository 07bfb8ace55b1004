"""The store of one ledger partition: RocksDB, every batch written at once.

In: drafts (`stream.partition.Draft`) and where the log stood after them. Out: what the next draft reads, and where to go
on. Called by the ledger worker. The store is a cache of the log: delete it and it is rebuilt.

Keys, by their first byte:
  p subject                events of a person (msgpack)
  c day column             tally posted on a day, day first, so that midnight reads one range
  t column                 tally up to the business day
  b balance                an opening balance (msgpack)
  d next offset            columns that a batch changed and that were not due before it (msgpack), until they are published
  x subject                whose list of anomalies changed since it was last published
  f subject                copies held under a subject of several NIKs (msgpack), an empty list too
  o forward                a copy to be sent (msgpack)
  k period column          what a cell of the closings holds (msgpack)
  y period column          that cell changed since it was given out; z balance: that balance came since
  q day rank key           records of a barrier that are to be published, in order
  m                        `Meta`
There is no fsync: after a power loss RocksDB comes back at an earlier whole batch and the log fills the rest in.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import msgspec
from rocksdict import AccessType, Checkpoint, RdictIter, WriteBatch

from agents.store_options import open_database, store_options
from stream import tally
from stream.contribution import Change, PeriodCell
from stream.events import Event, OpeningBalance, PersonEvent
from stream.merging import Copy, Forward
from stream.partition import Cell, Draft

FORMAT = 3
"""Raised whenever a key or value changes its form; a store of another format is set aside and rebuilt."""

_PERSON, _CELL, _TOTAL, _BALANCE, _COLUMN_DUE, _SUBJECT_DUE, _META = b"p", b"c", b"t", b"b", b"d", b"x", b"m"
_COPIES, _OUTBOX = b"f", b"o"
_CHANGE, _UNBARRED, _UNBARRED_BALANCE, _BARRIER = b"k", b"y", b"z", b"q"

_encode = msgspec.msgpack.Encoder().encode
_events = msgspec.msgpack.Decoder(list[PersonEvent])
_balance = msgspec.msgpack.Decoder(OpeningBalance)
_copies = msgspec.msgpack.Decoder(list[Copy])
_forward = msgspec.msgpack.Decoder(Forward)
_columns = msgspec.msgpack.Decoder(list[str])
_pair = msgspec.msgpack.Decoder(tuple[bytes, bytes])
_tallies = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes, bytes])

BarrierRecord = tuple[bytes, bytes, bytes]
"""(what it is sorted by, key, value) of a record to be published."""


class Meta(msgspec.Struct, frozen=True):
    """Where the store stands.

    next_offset: of the log. last_offset, last_digest: the last record applied, to prove that the log is still the one
    it was read from. published_through: next offset of the last batch whose partials are known to be written.
    settings_digest: of the rules and the region reference the figures were made with. day: ordinal, None before the first.
    epoch_differs: those are not the ones of the ledger's epoch; such figures are not to be published. topics: of the ids of the
    topics it was made from and has been published to; empty where that is not known.
    """

    format: int
    ledger_id: str
    partition: int
    settings_digest: str
    epoch: int = 0
    next_offset: int = 0
    last_offset: int = -1
    last_digest: bytes = b""
    published_through: int = 0
    day: int | None = None
    epoch_differs: bool = False
    topics: str = ""

    @property
    def is_doubtful(self) -> bool:
        """Whether another worker may have given out what this store passed over within one batch.

        What it applied and did not give out it may have applied while another one counted: as a warm copy, or because it did
        not know yet that the partition was taken from it.
        """
        return self.published_through < self.next_offset


_meta = msgspec.msgpack.Decoder(Meta)


def read_meta(path: Path, notes: Path) -> Meta | None:
    """Where a store stands, read beside a worker that may have it open; RocksDB's own log of it goes to the folder `notes`."""
    options = store_options()
    options.create_if_missing(False)
    options.set_db_log_dir(str(notes))
    database = open_database(path, options, access_type=AccessType.read_only())
    try:
        raw = database.get(_META)
    finally:
        database.close()
    return _meta.decode(raw) if raw is not None else None


class Store:
    """One partition's store. Implements `stream.partition.Reader`."""

    def __init__(self, path: Path) -> None:
        """Open or make the store in a folder of its own; another process with the folder open is refused by RocksDB."""
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db = open_database(path, store_options())
        raw = self._db.get(_META)
        self.meta: Meta | None = _meta.decode(raw) if raw is not None else None

    def close(self) -> None:
        """Give the folder back."""
        self._db.close()

    def checkpoint(self, path: Path) -> None:
        """A copy as of one moment, in a folder that is not there yet on the same disk; tables are linked, not copied.

        May run in a thread beside the one that writes. The flush does not hold up that one, a checkpoint with much in
        memory would.
        """
        self._db.flush(True)
        Checkpoint(self._db).create_checkpoint(str(path))

    # What a draft reads.

    def persons(self, subjects: Sequence[str]) -> list[list[Event] | None]:
        """The events held of each subject."""
        values = self._db.get([_PERSON + bytes.fromhex(subject) for subject in subjects]) if subjects else ()
        return [None if value is None else _events.decode(value) for value in values]  # type: ignore[misc]

    def every_person(self) -> Iterator[tuple[str, list[Event]]]:
        """All persons, in the order of their subjects."""
        for key, value in self._range(_PERSON):
            yield key[1:].hex(), _events.decode(value)  # type: ignore[misc]

    def copies(self, subject: str) -> list[Copy]:
        """The copies held under a subject."""
        value = self._db.get(_COPIES + bytes.fromhex(subject))
        return [] if value is None else _copies.decode(value)

    def linked(self) -> set[str]:
        """All subjects of several NIKs."""
        return {key[1:].hex() for key, _ in self._range(_COPIES)}

    def cells(self, cells: Sequence[Cell]) -> list[int]:
        """The tally of each cell."""
        return self._tallies([_cell_key(cell) for cell in cells])

    def totals(self, columns: Sequence[str]) -> list[int]:
        """Each column's sum up to the business day."""
        return self._tallies([_TOTAL + column.encode() for column in columns])

    def days(self, after: int, through: int) -> Iterator[tuple[Cell, int]]:
        """The cells of the days in (after, through], as they are now, whatever is written while they are read."""
        start, end = _CELL + (after + 1).to_bytes(4), _CELL + (through + 1).to_bytes(4)
        return (
            ((int.from_bytes(key[1:5]), key[5:].decode()), tally.from_bytes(value))
            for key, value in self._range(_CELL, start, end)
        )

    def changes(self, cells: Sequence[PeriodCell]) -> list[Change]:
        """What each cell of the closings holds."""
        values = self._db.get([_CHANGE + _period_key(cell) for cell in cells]) if cells else ()
        return [
            Change() if value is None else Change(*map(tally.from_bytes, _tallies.decode(value))) for value in values
        ]

    def unbarred(self, through: int) -> Iterator[PeriodCell]:
        """The cells of periods up to an index that changed since they were last given out."""
        for key, _ in self._range(_UNBARRED, end=_UNBARRED + (through + 2).to_bytes(4)):
            yield int.from_bytes(key[1:5]) - 1, key[5:].decode()

    def unbarred_balances(self) -> list[OpeningBalance]:
        """The balances that came since the last barrier."""
        return [_balance.decode(key[1:]) for key, _ in self._range(_UNBARRED_BALANCE)]

    def balances(self) -> list[OpeningBalance]:
        """All opening balances taken in."""
        return [_balance.decode(key[1:]) for key, _ in self._range(_BALANCE)]

    def every_total(self) -> Iterator[tuple[str, int]]:
        """Each column's sum up to the business day, as it is now, whatever is written while they are read."""
        return ((key[1:].decode(), tally.from_bytes(value)) for key, value in self._range(_TOTAL))

    # What is due to be published.

    def due_columns(self) -> set[str]:
        """The columns that changed since their last publication."""
        return {column for _, value in self._range(_COLUMN_DUE) for column in _columns.decode(value)}

    def due_subjects(self, count_max: int) -> list[str]:
        """The first subjects whose lists changed since their last publication, or are doubted."""
        return [key[1:].hex() for key, _ in islice(self._range(_SUBJECT_DUE), count_max)]

    def barrier_records(self, count_max: int) -> list[BarrierRecord]:
        """The first records of barriers that are not known to be published."""
        return [(key[1:], *_pair.decode(value)) for key, value in islice(self._range(_BARRIER), count_max)]

    def barriers_published(self, records: Iterable[BarrierRecord]) -> None:
        """Note that they are."""
        batch = WriteBatch(raw_mode=True)
        for order, _, _ in records:
            batch.delete(_BARRIER + order)
        self._db.write(batch)

    @property
    def speaks_for_others(self) -> bool:
        """Whether `speak_for` was called, or something is published since."""
        return bool(self.meta and self.meta.published_through) or self._db.get(_due_key(0)) is not None

    def speak_for(self, columns: Collection[str]) -> None:
        """Let these be published, whether the store has anybody in them or not; before anything of it is."""
        self._db.put(_due_key(0), _encode(columns))

    def mark_due(self, subjects: Iterable[str]) -> None:
        """Let the lists of subjects be published, changed or not."""
        batch = WriteBatch(raw_mode=True)
        for subject in subjects:
            batch.put(_SUBJECT_DUE + bytes.fromhex(subject), b"")
        self._db.write(batch)

    def outbox(self) -> list[Forward]:
        """The copies that are not known to have been sent."""
        return [_forward.decode(key[1:]) for key, _ in self._range(_OUTBOX)]

    def sent(self, forwards: Iterable[Forward]) -> None:
        """Note that copies are in the log."""
        batch = WriteBatch(raw_mode=True)
        for forward in forwards:
            batch.delete(_OUTBOX + _encode(forward))
        self._db.write(batch)

    def go_on_at(self, next_offset: int) -> None:
        """Note that the log holds no record between where the store stands and an offset."""
        assert self.meta is not None
        self.meta = msgspec.structs.replace(self.meta, next_offset=next_offset)
        batch = WriteBatch(raw_mode=True)
        batch.put(_META, _encode(self.meta))
        self._db.write(batch)

    def published(self, subjects: Iterable[str], through: int) -> None:
        """Note what has been published: the columns of all batches that end by `through`, and the lists of some subjects."""
        assert self.meta is not None
        batch = WriteBatch(raw_mode=True)
        # Before the last publication are only those that were deleted then, and RocksDB steps over each of them.
        start, end = _due_key(self.meta.published_through), _due_key(through + 1)
        for key, _ in self._range(_COLUMN_DUE, start, end):
            batch.delete(key)
        for subject in subjects:
            batch.delete(_SUBJECT_DUE + bytes.fromhex(subject))
        self.meta = msgspec.structs.replace(self.meta, published_through=through)
        batch.put(_META, _encode(self.meta))
        self._db.write(batch)

    def write(
        self, draft: Draft, meta: Meta, due_columns: Collection[str], barrier_records: Iterable[BarrierRecord] = ()
    ) -> None:
        """Write a draft and where the log stood after it, in one atomic batch.

        due_columns: those of the draft's columns that are not yet marked as due. barrier_records: those of its barriers.
        """
        batch = WriteBatch(raw_mode=True)
        for subject, events in draft.persons.items():
            batch.put(_PERSON + bytes.fromhex(subject), _encode(events))
        for subject, copies in draft.copies.items():
            batch.put(_COPIES + bytes.fromhex(subject), _encode(copies))
        for forward in draft.outbox:
            batch.put(_OUTBOX + _encode(forward), b"")
        for cell, value in draft.cells.items():
            if value:
                batch.put(_cell_key(cell), tally.to_bytes(value))
            else:
                batch.delete(_cell_key(cell))
        for column, total in draft.totals.items():
            batch.put(_TOTAL + column.encode(), tally.to_bytes(total))
        for balance in draft.balances:
            batch.put(_BALANCE + _encode(balance), b"")
        _put_closings(batch, draft)
        for order, record_key, record in barrier_records:
            batch.put(_BARRIER + order, _encode((record_key, record)))
        if due_columns:
            batch.put(_due_key(meta.next_offset), _encode(due_columns))
        for subject in draft.anomalies:
            batch.put(_SUBJECT_DUE + bytes.fromhex(subject), b"")
        batch.put(_META, _encode(meta))
        self._db.write(batch)
        self.meta = meta

    def _tallies(self, keys: list[bytes]) -> list[int]:
        return [0 if value is None else tally.from_bytes(value) for value in (self._db.get(keys) if keys else ())]

    def _range(
        self, prefix: bytes, start: bytes | None = None, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        """As of the call, not of the first step: what is written from here on is not seen."""
        iterator = self._db.iter()
        iterator.seek(start or prefix)
        return _through(iterator, end or bytes([prefix[0] + 1]))


def _through(iterator: RdictIter, end: bytes) -> Iterator[tuple[bytes, bytes]]:
    while iterator.valid():
        key = iterator.key()
        if key >= end:
            return
        yield key, iterator.value()
        iterator.next()
    # At a block that cannot be read RocksDB ends an iteration like at the end of the store: this raises what it was.
    iterator.status()


def _put_closings(batch: WriteBatch, draft: Draft) -> None:
    """The cells of closings and their marks: those that go before those that come."""
    closings = draft.closings
    for cell, change in closings.changes.items():
        if any(change):
            batch.put(_CHANGE + _period_key(cell), _encode(tuple(map(tally.to_bytes, change))))
        else:
            batch.delete(_CHANGE + _period_key(cell))
    for cell in closings.barred:
        batch.delete(_UNBARRED + _period_key(cell))
    for cell in closings.unbarred:
        batch.put(_UNBARRED + _period_key(cell), b"")
    if closings.are_kept:
        for balance in draft.balances:
            batch.put(_UNBARRED_BALANCE + _encode(balance), b"")
    for barrier in closings.barriers:
        for balance in barrier.balances:
            batch.delete(_UNBARRED_BALANCE + _encode(balance))


def _period_key(cell: PeriodCell) -> bytes:
    period, column = cell
    return (period + 1).to_bytes(4) + column.encode()


def _due_key(next_offset: int) -> bytes:
    return _COLUMN_DUE + next_offset.to_bytes(8)


def _cell_key(cell: Cell) -> bytes:
    day, column = cell
    return _CELL + day.to_bytes(4) + column.encode()
