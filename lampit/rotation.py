"""An archive rewritten under a newer pseudonym key, into the archive of a new ledger.

In: an archive whose ledger rests behind a turn of the business day, the new key, the key that signs. Out: the same events
under new ids, in the partitions where those lie, each between the same two business days as before; and the signed statement
that links both. What is written is a function of what is read: a run that was cut short is taken up again. Called by `lampit
rotate`. What can be rotated is in lampit/rotation_plan.py, what becomes of a single record in `stream.rotation`.
"""

from __future__ import annotations

import heapq
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any, Final

from agents import segments
from agents.archive_books import Books, manifest_path
from agents.archive_files import Files
from agents.archive_writer import PartitionWriter
from agents.driver import Fetch
from agents.errors import ConfigurationError
from agents.segments import LogRecord
from agents.signing import Signer, signed
from agents.topics import LEDGER
from lampit.audit.archive import Archive, ArchiveDamaged, Filter
from lampit.rotation_plan import Plan
from stream.archive import SUCCESSION, Header, Statement, Succession, encode_line, read_manifest, statement
from stream.ledger import Control, LedgerRecord, control_key, decode_record, encode_control, encode_record
from stream.merging import holders, partition_of
from stream.pseudonym import Pseudonymise
from stream.rotation import Families, is_change, is_copy, renamed

BLOCK_RECORDS: Final = 5_000
"""Handed to a partition's writer at once."""

_CONTROL: Final = b"control|"
_EPOCH: Final = b"control|epoch"
_BALANCE: Final = b"balance|"


class Target:
    """One partition of the new archive; what an earlier run wrote is gone through again, and not written."""

    def __init__(self, books: Books, segment_records: int) -> None:
        """Goes on where the archive stands."""
        self.books = books
        self._writer = PartitionWriter(books, segment_records)
        self._waiting: list[Any] = []
        self._next = 0

    def add(self, timestamp_ms: int, key: bytes, value: bytes) -> None:
        """The next record of the partition."""
        if self._next >= self._writer.next_offset:
            self._waiting.append(_Row(self._next, timestamp_ms, key, value))
        self._next += 1
        if len(self._waiting) >= BLOCK_RECORDS:
            self.flush()

    def flush(self) -> None:
        """Write the segments that are complete."""
        if self._waiting:
            begin, rows = self._waiting[0].offset, tuple(self._waiting)
            self._writer.add(Fetch(LEDGER, self.books.header.partition, begin, self._next, rows, 0))
            self._waiting = []

    def head(self) -> Statement:
        """The last head, once everything is written: what was added ends with a business day."""
        self.flush()
        if self.books.next_offset != self._next:
            raise ConfigurationError(
                f"{manifest_path(LEDGER, self.books.header.partition)} in the new archive goes on behind the rotation: "
                "name another place in --to."
            )
        return statement(self.books.header, self.books.entries[-1])


class _Row(LogRecord):
    """A record as the archive's writer takes it."""

    @property
    def timestamp(self) -> int:
        """When the log took it, in milliseconds."""
        return self.timestamp_ms


class Rotation:
    """An archive on its way to a new key."""

    def __init__(self, plan: Plan, files: Files, rename: Pseudonymise, signer: Signer, segment_records: int) -> None:
        """Opens the new archive; ConfigurationError where another one lies."""
        self.plan, self._files, self._rename, self._signer = plan, files, rename, signer
        require_room(files, plan)
        self._targets = [
            Target(Books(files, Header(plan.new_ledger_id, LEDGER, number), signer), segment_records)
            for number in range(plan.partitions)
        ]
        self._families = Families()
        self._linked = {rename(one) for subject, change in plan.changes for one in holders(subject, change)}
        self.copies = 0

    def run(self, seen: Callable[[int], None]) -> Succession:
        """Write everything; `seen(records)` is told how many of the old ones are done."""
        plan, done = self.plan, 0
        for number, target in enumerate(self._targets):
            self._control(target, plan.genesis_of(number), plan.genesis[number].timestamp_ms)
        turned = 0
        for stage, partition, table in in_stages(plan):
            while turned < stage:
                self._turn(turned)
                turned += 1
            # Behind the last turn are no events, and an epoch begun there is older than the new one.
            if stage < len(plan.days):
                for record in segments.records(table):
                    self._take(partition, record)
            done += len(table)
            seen(done)
        for day in range(turned, len(plan.days)):
            self._turn(day)
        return self._link()

    def _turn(self, number: int) -> None:
        """The business day turns in every partition; before the last one the new epoch begins."""
        for partition, target in enumerate(self._targets):
            turn = self.plan.turns[partition][number]
            if number == len(self.plan.days) - 1:
                self._control(target, self.plan.epoch, turn.timestamp_ms)
            target.add(turn.timestamp_ms, control_key(turn.control), turn.value)
            target.flush()

    def _control(self, target: Target, control: Control, timestamp_ms: int) -> None:
        target.add(timestamp_ms, control_key(control), encode_control(control, self.plan.time))

    def _take(self, partition: int, record: LogRecord) -> None:
        """One record of the old ledger."""
        key, value = record.key or b"", record.value or b""
        if key.startswith(_CONTROL):
            # Genesis and days are written anew.
            if key == _EPOCH:
                self._targets[partition].add(record.timestamp_ms, key, value)
        elif key.startswith(_BALANCE):
            self._targets[partition].add(record.timestamp_ms, key, value)
        elif not is_copy(value):
            self._person(partition, record.timestamp_ms, key.decode(), value)

    def _person(self, partition: int, timestamp_ms: int, subject: str, value: bytes) -> None:
        """To the person's new partition; a change of NIK, which is in those of both ids, to both new ones, once."""
        count = self.plan.partitions
        change = is_change(value)
        if change and partition != partition_of(subject, count):
            return
        new = self._rename(subject)
        try:
            value = renamed(value, subject, new, self._rename)
            record = decode_record(value) if change or new in self._linked else None
        except ValueError as error:
            raise ArchiveDamaged(f"Partition {partition} holds a record that cannot be rotated: {error}.") from None
        key = new.encode()
        if not isinstance(record, LedgerRecord):
            self._targets[partition_of(new, count)].add(timestamp_ms, key, value)
            return
        event = record.event
        for target in sorted({partition_of(one, count) for one in holders(new, event)}):  # type: ignore[arg-type]
            self._targets[target].add(timestamp_ms, key, value)
        for forward in self._families.arrive(new, event):  # type: ignore[arg-type]
            copy = encode_record(forward.to, forward.copy.event, record.received_at, forward.copy.sent_under)
            self._targets[partition_of(forward.to, count)].add(timestamp_ms, forward.to.encode(), copy)
            self.copies += 1

    def _link(self) -> Succession:
        """Say, signed, what succeeds what."""
        plan = self.plan
        said = Succession(
            ledger_id=plan.new_ledger_id,
            key_fingerprint=plan.fingerprint,
            succeeds=tuple(plan.heads),
            heads=tuple(target.head() for target in self._targets),
            persons=plan.persons,
            events=plan.events,
        )
        said = signed(said, self._signer)
        self._files.put(SUCCESSION, encode_line(said))
        return said


def require_room(files: Files, plan: Plan) -> None:
    """Refuse a place that holds anything but the beginning of this very rotation."""
    if files.get(SUCCESSION) is not None:
        raise ConfigurationError(
            "The place named in --to holds a finished rotation: verify it with `lampit audit verify`, or name another."
        )
    for number in range(plan.partitions):
        raw = files.get(manifest_path(LEDGER, number))
        try:
            ours = raw is None or read_manifest(raw)[0].ledger_id == plan.new_ledger_id
        except ValueError:
            ours = False
        if not ours:
            raise ConfigurationError(
                "The place named in --to holds another archive, or part of a rotation of other events or to another key: "
                "name another place, or remove that one."
            )


def in_stages(plan: Plan) -> Iterator[tuple[int, int, Any]]:
    """(stage, partition, table of records), stage by stage: how many of the common days have turned before them.

    Within a stage by the time of the first record, so that what lies in several partitions stays near in time.
    """
    pieces = {number: _pieces(plan.archive, number, plan) for number in range(plan.partitions)}
    waiting: list[tuple[int, int, int, int]] = []
    tables: dict[int, Any] = {}

    def pull(partition: int, number: int) -> None:
        found = next(pieces[partition], None)
        if found is not None:
            stage, tables[partition] = found
            heapq.heappush(waiting, (stage, tables[partition].column("timestamp_ms")[0].as_py(), number, partition))

    for partition in pieces:
        pull(partition, 0)
    while waiting:
        stage, _, number, partition = heapq.heappop(waiting)
        yield stage, partition, tables.pop(partition)
        pull(partition, number + 1)


def _pieces(archive: Archive, partition: int, plan: Plan) -> Iterator[tuple[int, Any]]:
    """The segments of a partition, cut where a common day turns; the day's record is the first of the next stage."""
    ends = [turn.offset for turn in plan.turns[partition]]
    for _, table in archive.tables(Filter({partition})):
        offsets = table.column("offset").to_pylist()
        cuts = sorted({0, len(offsets), *(bisect_right(offsets, end - 1) for end in ends)})
        for begin, end in pairwise(cuts):
            yield bisect_right(ends, offsets[begin]), table.slice(begin, end - begin)
