"""The store of one ledger partition: RocksDB, every batch written at once.

In: drafts (`stream.partition.Draft`) and where the log stood after them. Out: what the next draft reads, and where to go
on. Called by the ledger worker. The store is a cache of the log: delete it and it is rebuilt.

Keys, by their first byte:
  p subject                events of a person (msgpack)
  c day column             tally posted on a day, day first, so that midnight reads one range
  t column                 tally up to the business day
  b balance                an opening balance (msgpack)
  d column, x subject      changed since the last publication: partials, anomalies
  f subject                copies held under a subject of several NIKs (msgpack), an empty list too
  o forward                a copy to be sent (msgpack)
  m                        `Meta`
There is no fsync: after a power loss RocksDB comes back at an earlier whole batch and the log fills the rest in.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from rocksdict import DBCompressionType, Options, Rdict, WriteBatch

from stream import tally
from stream.events import Event, OpeningBalance, PersonEvent
from stream.merging import Copy, Forward
from stream.partition import Cell, Draft

FORMAT = 2
"""Raised whenever a key or value changes its form; a store of another format is set aside and rebuilt."""

_PERSON, _CELL, _TOTAL, _BALANCE, _COLUMN_DUE, _SUBJECT_DUE, _META = b"p", b"c", b"t", b"b", b"d", b"x", b"m"
_COPIES, _OUTBOX = b"f", b"o"

_encode = msgspec.msgpack.Encoder().encode
_events = msgspec.msgpack.Decoder(list[PersonEvent])
_balance = msgspec.msgpack.Decoder(OpeningBalance)
_copies = msgspec.msgpack.Decoder(list[Copy])
_forward = msgspec.msgpack.Decoder(Forward)


class Meta(msgspec.Struct, frozen=True):
    """Where the store stands.

    next_offset: of the log. last_offset, last_digest: the last record applied, to prove that the log is still the one
    it was read from. published_through: next offset of the last batch whose partials are known to be written.
    settings_digest: of the rules and the region reference the figures were made with. day: ordinal, None before the first.
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


_meta = msgspec.msgpack.Decoder(Meta)


class Store:
    """One partition's store. Implements `stream.partition.Reader`."""

    def __init__(self, path: Path) -> None:
        """Open or make the store in a folder of its own; another process with the folder open is refused by RocksDB."""
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._db: Any = Rdict(str(path), _options())
        raw = self._db.get(_META)
        self.meta: Meta | None = _meta.decode(raw) if raw is not None else None

    def close(self) -> None:
        """Give the folder back."""
        self._db.close()

    # What a draft reads.

    def persons(self, subjects: Sequence[str]) -> list[list[Event] | None]:
        """The events held of each subject."""
        if not subjects:
            return []
        values = self._db.get([_PERSON + bytes.fromhex(subject) for subject in subjects])
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
        """The cells of the days in (after, through]."""
        start, end = _CELL + (after + 1).to_bytes(4), _CELL + (through + 1).to_bytes(4)
        for key, value in self._range(_CELL, start, end):
            yield (int.from_bytes(key[1:5]), key[5:].decode()), tally.from_bytes(value)

    def balances(self) -> list[OpeningBalance]:
        """All opening balances taken in."""
        return [_balance.decode(key[1:]) for key, _ in self._range(_BALANCE)]

    def every_total(self) -> dict[str, int]:
        """Each column's sum up to the business day."""
        return {key[1:].decode(): tally.from_bytes(value) for key, value in self._range(_TOTAL)}

    # What is due to be published.

    def due(self) -> tuple[set[str], set[str]]:
        """(columns, subjects) that changed since their last publication."""
        columns = {key[1:].decode() for key, _ in self._range(_COLUMN_DUE)}
        subjects = {key[1:].hex() for key, _ in self._range(_SUBJECT_DUE)}
        return columns, subjects

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

    def published(self, columns: Iterable[str], subjects: Iterable[str], through: int) -> None:
        """Note what has been published, as of a batch."""
        batch = WriteBatch(raw_mode=True)
        for column in columns:
            batch.delete(_COLUMN_DUE + column.encode())
        for subject in subjects:
            batch.delete(_SUBJECT_DUE + bytes.fromhex(subject))
        assert self.meta is not None
        self.meta = msgspec.structs.replace(self.meta, published_through=through)
        batch.put(_META, _encode(self.meta))
        self._db.write(batch)

    def write(self, draft: Draft, meta: Meta, due_columns: Iterable[str]) -> None:
        """Write a draft and where the log stood after it, in one atomic batch.

        due_columns: those of the draft's columns that are not yet marked as due.
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
        for column, value in draft.totals.items():
            batch.put(_TOTAL + column.encode(), tally.to_bytes(value))
        for balance in draft.balances:
            batch.put(_BALANCE + _encode(balance), b"")
        for column in due_columns:
            batch.put(_COLUMN_DUE + column.encode(), b"")
        for subject in draft.anomalies:
            batch.put(_SUBJECT_DUE + bytes.fromhex(subject), b"")
        batch.put(_META, _encode(meta))
        self._db.write(batch)
        self.meta = meta

    def _tallies(self, keys: list[bytes]) -> list[int]:
        if not keys:
            return []
        return [0 if value is None else tally.from_bytes(value) for value in self._db.get(keys)]

    def _range(
        self, prefix: bytes, start: bytes | None = None, end: bytes | None = None
    ) -> Iterator[tuple[bytes, bytes]]:
        end = end or bytes([prefix[0] + 1])
        iterator = self._db.iter()
        iterator.seek(start or prefix)
        while iterator.valid():
            key = iterator.key()
            if key >= end:
                return
            yield key, iterator.value()
            iterator.next()


def set_aside(path: Path) -> Path:
    """Move a store that does not fit the log out of the way, keeping one such copy for inspection."""
    aside = path.with_name(f"{path.name}.set-aside")
    if aside.exists():
        shutil.rmtree(aside)
    path.rename(aside)
    return aside


def _cell_key(cell: Cell) -> bytes:
    day, column = cell
    return _CELL + day.to_bytes(4) + column.encode()


def _options() -> Options:
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_compression_type(DBCompressionType.zstd())
    options.set_write_buffer_size(32 * 1024 * 1024)
    options.set_max_write_buffer_number(3)
    options.increase_parallelism(2)
    return options
