"""One ledger partition in one worker: its store, its fence, and the work of a batch.

In: fetches of `lampit.ledger`, in order. Out: a store written in one batch, then partials, anomalies and a head published
in one transaction. Called by `agents.ledger`, which owns one desk per assigned partition.

Order matters: store, then publication. The group's offset is for lag tools; the store says where to begin. What a kill leaves
unpublished is marked as due in the store; partials are absolute, so that publishing one twice is harmless.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Generator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import date
from itertools import islice
from pathlib import Path
from typing import Final

import msgspec
from aiokafka.structs import ConsumerRecord

from agents import anomaly_lists
from agents.barrier import LedgerIdentity, is_ahead
from agents.driver import Fetch
from agents.epochs import not_the_epochs
from agents.errors import ConfigurationError
from agents.producer import FencedProducer, Record
from agents.store import FORMAT, BarrierRecord, Meta, Store
from agents.topics import LEDGER, PARTIALS
from agents.turns import at_once
from stream import closing_parts, partials
from stream.calendar import iso_day
from stream.events import Event, NikChange, OpeningBalance
from stream.ledger import Control, ControlRecord, Epoch, Genesis, decode_record, encode_record
from stream.merging import Forward, holders, partition_of
from stream.opening import Book
from stream.partition import Draft, on_day
from stream.reference import Reference
from stream.rules import Rules
from stream.standing import Anomaly

logger = logging.getLogger("lampit.ledger")

FORWARDS_MAX: Final = 5_000
"""Copies in one transaction: a rebuild of a store finds all that were ever due."""

LISTS_MAX: Final = 5_000
"""Lists of anomalies in one transaction: a rebuild finds those of everybody, and an opening balance may change as many."""

BARRIER_RECORDS_MAX: Final = 5_000
"""Of closings in one transaction: a rebuild of a store finds those of all days."""


@dataclass
class Desk:
    """A partition's store and what this process knows beside it.

    caught_up_at: end of the log when the partition was taken over; before that nothing is published.
    book: the balances taken in. linked: the subjects of several NIKs. due_columns, due_subjects: changed and not yet
    published; of a subject, its present list. subjects_wait: the store may hold more subjects that are due: what changes before
    the partition has caught up is left there, because of a rebuild that is everybody with an anomaly. outbox: copies for other
    partitions that are not yet sent. given_out: whom a list of anomalies was ever given out for; needed of a store behind its
    log only, until it has caught up.
    """

    partition: int
    store: Store
    producer: FencedProducer
    identity: LedgerIdentity
    rules: Rules
    reference: Reference
    worker: str
    caught_up_at: int
    given_out: AbstractSet[str] = frozenset()
    meta: Meta = field(init=False)
    book: Book = field(init=False)
    linked: set[str] = field(init=False)
    outbox: dict[Forward, None] = field(init=False)
    due_columns: set[str] = field(init=False)
    due_subjects: dict[str, Sequence[Anomaly] | None] = field(default_factory=dict)
    subjects_wait: bool = True
    barriers_due: bool = True
    head_due: bool = True
    last_timestamp_ms: int = 0
    received_at: int | None = None
    epoch_differs: bool = False

    def __post_init__(self) -> None:
        """Take up where the store stands."""
        self.meta = self.store.meta or self.new_meta()
        self.epoch_differs = self.meta.epoch_differs
        self.book = Book(self.store.balances(), self.reference.places)
        self.linked = self.store.linked()
        self.outbox = dict.fromkeys(self.store.outbox())
        self.due_columns = self.store.due_columns()

    def new_meta(self) -> Meta:
        """A store that has applied nothing."""
        return Meta(FORMAT, self.identity.ledger_id, self.partition, self.identity.settings_digest)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the log at the takeover is applied."""
        return self.meta.next_offset >= self.caught_up_at

    def pass_through(self, offset: int) -> None:
        """Every record before `offset` is applied; between the last one and there are markers, which bring no fetch.

        The store goes on behind them: a head that was given out before it lost its last writes may have said so already.
        """
        if self.caught_up or offset < self.caught_up_at:
            return
        if self.store.meta is None:  # nothing but markers
            self.caught_up_at = self.meta.next_offset
        else:
            self.store.go_on_at(self.caught_up_at)
            self.meta = self.store.meta
            self.head_due = True
        self.given_out = frozenset()

    @property
    def due(self) -> bool:
        """Whether something is to be published."""
        lists = self.subjects_wait or bool(self.due_subjects)
        figures = self.head_due or self.barriers_due or bool(self.due_columns)
        return bool(self.outbox) or (self.meta.day is not None and (figures or lists))

    @property
    def lists_wait(self) -> bool:
        """Whether more lists wait than one transaction takes."""
        return self.subjects_wait or len(self.due_subjects) > LISTS_MAX

    def apply(self, fetch: Fetch) -> int:
        """Apply a fetch and write the store; the number of events in it."""
        return at_once(self.steps(fetch))

    def steps(self, fetch: Fetch) -> Generator[None, None, int]:
        """The same, in as many steps as persons are folded again for opening balances; nothing changes before the last."""
        draft = self._draft()
        epoch, events = yield from self._fill(draft, fetch)
        if not self.caught_up:
            draft.doubt(self.given_out)
        last = fetch.records[-1] if fetch.records else None
        meta = msgspec.structs.replace(
            self.meta,
            epoch=epoch,
            next_offset=fetch.next_offset,
            last_offset=last.offset if last else self.meta.last_offset,
            last_digest=record_digest(last.value) if last else self.meta.last_digest,
            day=draft.day,
            epoch_differs=self.epoch_differs,
            topics=self.identity.topics_digest or self.meta.topics,
        )
        barriers = self._barrier_records(draft, epoch)
        self.barriers_due |= bool(barriers)
        self.store.write(draft, meta, draft.columns - self.due_columns, barriers)
        # Also for a batch without effect: subscribers wait for the position.
        self.head_due = True
        self.meta, self.book = meta, draft.book
        self.last_timestamp_ms = last.timestamp if last else self.last_timestamp_ms
        self.due_columns |= draft.columns
        self.linked |= draft.copies.keys()
        self.outbox |= dict.fromkeys(draft.outbox)
        if self.caught_up:
            self.due_subjects |= draft.anomalies
            self.given_out = frozenset()
            self.require_epoch()
        return events

    def require_epoch(self) -> None:
        """Raise where the figures were made under other settings than those of the ledger's epoch, also after a restart."""
        if self.epoch_differs:
            raise not_the_epochs()

    def _draft(self) -> Draft:
        return Draft(self.store, self.rules, self.reference, self.book, self.meta.day, self.linked)

    def _fill(self, draft: Draft, fetch: Fetch) -> Generator[None, None, tuple[int, int]]:
        """The epoch after the batch, and the number of events in it; copies of events do not count."""
        run: list[tuple[str, Event]] = []
        balances: list[OpeningBalance] = []
        epoch, events = self.meta.epoch, 0
        for record in fetch.records:
            decoded = decode_record(record.value or b"")
            if isinstance(decoded, ControlRecord):
                # Between two of them the order does not matter. Balances first: there are fewer people then to fold again.
                yield from draft.add_balances(balances)
                draft.add_events(run)
                run, balances = [], []
                epoch = self._control(draft, decoded.control, epoch, record)
            elif isinstance(decoded.event, OpeningBalance):
                balances.append(decoded.event)
            elif decoded.forwarded_from is not None:
                draft.add_linked([(decoded.subject or "", decoded.forwarded_from, decoded.event)])
            else:
                events += 1
                self.received_at = decoded.received_at
                if isinstance(decoded.event, NikChange):
                    draft.add_linked(self._kept_here(decoded.subject or "", decoded.event))
                else:
                    run.append((decoded.subject or "", decoded.event))
        yield from draft.add_balances(balances)
        draft.add_events(run)
        return epoch, events

    def _kept_here(self, subject: str, event: NikChange) -> list[tuple[str, str, Event]]:
        """A change of NIK, under those of its two ids that lie in this partition."""
        mine = [one for one in holders(subject, event) if self._partition_of(one) == self.partition]
        return [(holder, subject, event) for holder in mine]

    def _partition_of(self, subject: str) -> int:
        return partition_of(subject, self.identity.partitions)

    def _control(self, draft: Draft, record: Control, epoch: int, origin: ConsumerRecord) -> int:
        """Act on a control record; the epoch in force after it."""
        if isinstance(record, Genesis):
            if record.ledger_id != self.identity.ledger_id:
                raise ConfigurationError(
                    f"Partition {self.partition} of lampit.ledger belongs to another ledger: delete all lampit topics, or none."
                )
        elif isinstance(record, Epoch):
            self.epoch_differs = record != self.identity.epoch(record.epoch)
            if record.epoch != epoch:
                # The roll-up forgets what an older epoch said: say all of it again.
                draft.columns.update((column for column, _ in self.store.every_total()), self.book.by_region)
            return record.epoch
        elif is_ahead(record.day, origin.timestamp):
            refused = iso_day(record.day)
            logger.warning("partition %d: day %s refused: it is ahead of the broker's clock", self.partition, refused)
        else:
            draft.advance(record.day, origin.offset + 1)
        return epoch

    def _barrier_records(self, draft: Draft, epoch: int) -> list[BarrierRecord]:
        """What is to be published of the days that turned, in this order."""
        periods = self.rules.periods
        found: list[BarrierRecord] = []
        for barrier in draft.closings.barriers:
            assert periods is not None
            parts = closing_parts.records(barrier, periods, self.partition, epoch, self.identity.settings_name)
            for number, part in enumerate(parts):
                order = barrier.known_day.to_bytes(4) + number.to_bytes(4)
                found.append((order, part.key, closing_parts.encode(part)))
        return found

    async def publish(self) -> int:
        """Publish everything due, closed by a head, in one transaction; the number of partials.

        Copies for other partitions go with the figures without those people, so that nobody sees the one and not the other.
        """
        # From here to the first await everything is as of one offset; batches applied during the transaction come after it.
        forwards = list(self.outbox)[:FORWARDS_MAX]
        for forward in forwards:
            del self.outbox[forward]
        records = [self._forward(forward) for forward in forwards]
        if self.meta.day is None:
            await self.producer.publish(records)
            self.store.sent(forwards)
            return 0
        barriers = self.store.barrier_records(BARRIER_RECORDS_MAX) if self.barriers_due else []
        self.barriers_due = len(barriers) == BARRIER_RECORDS_MAX
        records += [Record(PARTIALS, 0, record_key, value) for _, record_key, value in barriers]
        if self.subjects_wait:
            waiting = self.store.due_subjects(LISTS_MAX)
            self.subjects_wait = len(waiting) == LISTS_MAX
            self.due_subjects = dict.fromkeys(waiting) | self.due_subjects
        # The store keeps a column that a batch makes due from now on with that batch, and one of before with its own.
        columns, subjects = self.due_columns, dict(islice(self.due_subjects.items(), LISTS_MAX))
        self.due_columns, self.head_due = set(), False
        for subject in subjects:
            del self.due_subjects[subject]
        offset, day = self.meta.next_offset, self.meta.day
        draft = self._draft()
        stamp = (self.partition, self.meta.epoch, self.meta.next_offset, date.fromordinal(day))
        parts = draft.partials(columns)
        records += [
            Record(PARTIALS, 0, partials.key(region, self.partition), partials.encode(region, part, *stamp))
            for region, part in parts.items()
        ]
        for subject, found in sorted(subjects.items()):
            # What waited in the store, and all of several NIKs, is folded again.
            lists = draft.lists(subject) if found is None else {subject: found}
            records += [
                anomaly_lists.record(name, of_name, self._partition_of(name)) for name, of_name in sorted(lists.items())
            ]
        head = partials.encode_head(partials.HeadRecord(*stamp, self.worker, self.identity.settings_name))
        records.append(Record(PARTIALS, 0, partials.head_key(self.partition), head))
        await self.producer.publish(records)
        self.store.sent(forwards)
        self.store.barriers_published(barriers)
        self.store.published(subjects.keys() - self.due_subjects.keys(), offset)
        self.meta = self.store.meta or self.meta
        return len(parts)

    def _forward(self, forward: Forward) -> Record:
        """A copy as a record of the ledger, made now."""
        subject, copy = forward.to, forward.copy
        value = encode_record(subject, copy.event, int(time.time() * 1_000_000), copy.sent_under)
        return Record(LEDGER, self._partition_of(subject), subject.encode(), value)

    def on_day(self, day: date) -> Generator[None, None, list[bytes]]:
        """Its parts of every region on any day, and the head: lines of `agents.other_days`; none before the first day.

        In steps, and as of the offset of the first one: batches applied between two of them are not seen.
        """
        reached, asked = self.meta.day, day.toordinal()
        if reached is None:
            return []
        stamp = (self.partition, self.meta.epoch, self.meta.next_offset, day)
        totals, between = self.store.every_total(), self.store.days(min(asked, reached), max(asked, reached))
        parts = yield from on_day(asked, reached, totals, between, self.book)
        lines = []
        for region, part in parts.items():
            lines.append(partials.key(region, self.partition) + b"\t" + partials.encode(region, part, *stamp))
            yield
        head = partials.encode_head(partials.HeadRecord(*stamp, self.worker, self.identity.settings_name))
        return [*lines, partials.head_key(self.partition) + b"\t" + head]

    async def close(self) -> None:
        """Give up the partition, whatever becomes of the wait for the producer."""
        try:
            await self.producer.stop()
        finally:
            self.store.close()


def record_digest(value: bytes | None) -> bytes:
    """What the store keeps of the last record applied, to know its log again."""
    return hashlib.sha256(value or b"").digest()[:16]


def store_path(data_dir: Path, partition: int) -> Path:
    """The folder of a partition's store."""
    return data_dir / "ledger" / f"partition-{partition}"
