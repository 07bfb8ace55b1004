"""One ledger partition in one worker: its store, its fence, and the work of a batch.

In: fetches of `lampit.ledger`, in order. Out: a store written in one batch, then partials, anomalies and a head published
in one transaction. Called by `agents.ledger`, which owns one desk per assigned partition.

Order matters: store, then publication. The group's offset is for lag tools; the store says where to begin.
What a kill leaves unpublished is marked as due in the store; partials
are absolute, so that publishing one twice is harmless.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import msgspec

from agents.barrier import DAY_AHEAD_MAX, LedgerIdentity, wib_day
from agents.driver import Fetch
from agents.errors import ConfigurationError
from agents.producer import FencedProducer, Record
from agents.store import FORMAT, Meta, Store
from agents.topics import ANOMALIES, PARTIALS
from stream import partials
from stream.calendar import iso_day
from stream.count import Context, count
from stream.events import Event, OpeningBalance
from stream.ledger import Control, ControlRecord, Epoch, Genesis, decode_record
from stream.opening import Book
from stream.partition import Draft
from stream.regions import Reference
from stream.rules import Rules
from stream.standing import Anomaly

logger = logging.getLogger("lampit.ledger")


@dataclass
class Desk:
    """A partition's store and what this process knows beside it.

    caught_up_at: end of the log when the partition was taken over; before that nothing is published.
    book: the balances taken in. due_columns, due_subjects: changed and not yet published; of a subject, its present list.
    """

    partition: int
    store: Store
    producer: FencedProducer
    identity: LedgerIdentity
    rules: Rules
    reference: Reference
    worker: str
    caught_up_at: int
    meta: Meta = field(init=False)
    book: Book = field(init=False)
    due_columns: set[str] = field(init=False)
    due_subjects: dict[str, Sequence[Anomaly] | None] = field(init=False)
    head_due: bool = True
    last_timestamp_ms: int = 0
    received_at: int | None = None
    epoch_differs: bool = False

    def __post_init__(self) -> None:
        """Take up where the store stands."""
        self.meta = self.store.meta or self.new_meta()
        self.book = Book(self.store.balances())
        self.due_columns, subjects = self.store.due()
        self.due_subjects = dict.fromkeys(subjects)

    def new_meta(self) -> Meta:
        """A store that has applied nothing."""
        return Meta(FORMAT, self.identity.ledger_id, self.partition, self.identity.settings_digest)

    @property
    def caught_up(self) -> bool:
        """Whether everything that was in the log at the takeover is applied."""
        return self.meta.next_offset >= self.caught_up_at

    @property
    def due(self) -> bool:
        """Whether something is to be published."""
        return self.meta.day is not None and (self.head_due or bool(self.due_columns) or bool(self.due_subjects))

    def apply(self, fetch: Fetch) -> int:
        """Apply a fetch and write the store; the number of events in it."""
        draft = Draft(self.store, self.rules, self.reference, self.book, self.meta.day)
        epoch, events = self._fill(draft, fetch)
        last = fetch.records[-1] if fetch.records else None
        meta = msgspec.structs.replace(
            self.meta,
            epoch=epoch,
            next_offset=fetch.next_offset,
            last_offset=last.offset if last else self.meta.last_offset,
            last_digest=record_digest(last.value) if last else self.meta.last_digest,
            day=draft.day,
        )
        self.store.write(draft, meta, draft.columns - self.due_columns)
        # Also for a batch without effect: subscribers wait for the position.
        self.head_due = True
        self.meta, self.book = meta, draft.book
        self.last_timestamp_ms = last.timestamp if last else self.last_timestamp_ms
        self.due_columns |= draft.columns
        self.due_subjects |= draft.anomalies
        if self.caught_up and self.epoch_differs:
            raise ConfigurationError(
                "The settings that change figures (LAMPIT_TRANSIT_EXPIRY_DAYS, LAMPIT_LEAP_BIRTHDAY) or the region reference "
                "are not those of the ledger's epoch: set them as they were, or begin a new epoch with `lampit epoch`."
            )
        return events

    def _fill(self, draft: Draft, fetch: Fetch) -> tuple[int, int]:
        run: list[tuple[str, Event]] = []
        epoch, events = self.meta.epoch, 0
        for record in fetch.records:
            decoded = decode_record(record.value or b"")
            if isinstance(decoded, ControlRecord):
                draft.add_events(run)
                run = []
                epoch = self._control(draft, decoded.control, epoch, record.timestamp)
            elif isinstance(decoded.event, OpeningBalance):
                draft.add_events(run)
                run = []
                draft.add_balance(decoded.event)
            else:
                events += 1
                self.received_at = decoded.received_at
                run.append((decoded.subject or "", decoded.event))
        draft.add_events(run)
        return epoch, events

    def _control(self, draft: Draft, record: Control, epoch: int, appended_ms: int) -> int:
        """Act on a control record; the epoch in force after it."""
        if isinstance(record, Genesis):
            if record.ledger_id != self.identity.ledger_id:
                raise ConfigurationError(
                    f"Partition {self.partition} of lampit.ledger belongs to another ledger: delete all lampit topics, or none."
                )
        elif isinstance(record, Epoch):
            self.epoch_differs = record != self.identity.epoch(record.epoch)
            return record.epoch
        elif record.day > wib_day(appended_ms / 1000) + DAY_AHEAD_MAX:
            refused = iso_day(record.day)
            logger.warning("partition %d: day %s refused: it is ahead of the broker's clock", self.partition, refused)
        else:
            draft.advance(record.day)
        return epoch

    async def publish(self) -> int:
        """Publish everything due, closed by a head, in one transaction; the number of partials."""
        day = self.meta.day
        if day is None:
            return 0
        # From here to the first await everything is as of one offset; batches applied during the transaction come after it.
        columns, subjects = self.due_columns, self.due_subjects
        self.due_columns, self.due_subjects, self.head_due = set(), {}, False
        offset = self.meta.next_offset
        draft = Draft(self.store, self.rules, self.reference, self.book, day)
        stamp = (self.partition, self.meta.epoch, self.meta.next_offset, date.fromordinal(day))
        records = [
            Record(PARTIALS, 0, partials.key(region, self.partition), partials.encode(region, part, *stamp))
            for region, part in draft.partials(columns).items()
        ]
        regions = len(records)
        records += [self._anomalies(subject, found) for subject, found in sorted(subjects.items())]
        head = partials.encode_head(partials.HeadRecord(*stamp, self.worker))
        records.append(Record(PARTIALS, 0, partials.head_key(self.partition), head))
        await self.producer.publish(records)
        self.store.published(columns - self.due_columns, subjects.keys() - self.due_subjects.keys(), offset)
        self.meta = self.store.meta or self.meta
        return regions

    def _anomalies(self, subject: str, found: Sequence[Anomaly] | None) -> Record:
        """The person's present list; what was due when the store was opened is folded again."""
        if found is None:
            (events,) = self.store.persons([subject])
            found = count({subject: events or []}, Context(self.rules, self.reference, self.book)).anomalies
        value = {
            "subject": subject,
            "anomalies": [
                {"event": {"source": source, "id": name}, "kind": kind}
                for source, name, kind in sorted({(event.source, event.id, kind) for event, kind in found})
            ],
        }
        partition = int(subject[:8], 16) % self.identity.partitions
        return Record(ANOMALIES, partition, subject.encode(), msgspec.json.encode(value))

    async def close(self) -> None:
        """Give up the partition."""
        await self.producer.stop()
        self.store.close()


def record_digest(value: bytes | None) -> bytes:
    """What the store keeps of the last record applied, to know its log again."""
    return hashlib.sha256(value or b"").digest()[:16]


def store_path(data_dir: Path, partition: int) -> Path:
    """The folder of a partition's store."""
    return data_dir / "ledger" / f"partition-{partition}"
