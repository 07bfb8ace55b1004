"""One partition as the simulated broker keeps it, and what readers of it see.

In: batches of producers, markers of transactions. Out: records by offset. Called by `tests.simulation.broker`.

| guarantee (Kafka's words) | here |
| --- | --- |
| a batch is appended whole, its offsets follow on each other | `append` |
| read_committed: nothing from the last stable offset on, nothing of an aborted transaction (KIP-98) | `committed` |
| read_uncommitted: everything up to the end, in its order (KIP-98) | `uncommitted` |
| a marker takes an offset, and nobody sees it | `end` |
| a batch of an idempotent producer is stored once, however often it is sent (KIP-98) | `append`, by sequence |
| compaction keeps the last record of every key, and offsets | `compact` |
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import Any

from aiokafka.structs import ConsumerRecord

Sequence = tuple[int, int]
"""(number of the first record of a batch, of the batch behind it), counted by its producer."""


@dataclass(slots=True)
class Entry:
    """A record with what became of its transaction; one without key and timestamp is a marker."""

    record: ConsumerRecord | None
    offset: int
    producer: int | None
    state: str
    """committed, open or aborted; markers: marker."""


@dataclass
class PartitionLog:
    """history: everything that was ever appended; entries: without what was compacted away."""

    topic: str
    partition: int
    history: list[Entry] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    _open: dict[int, int] = field(default_factory=dict)
    _sequences: dict[int, int] = field(default_factory=dict)

    @property
    def end_offset(self) -> int:
        """Of the next record."""
        return self.history[-1].offset + 1 if self.history else 0

    @property
    def last_stable_offset(self) -> int:
        """The first offset of the oldest open transaction, else the end."""
        return min(self._open.values()) if self._open else self.end_offset

    def append(
        self,
        records: list[Any],
        timestamp_ms: int,
        producer: int | None = None,
        sequence: Sequence | None = None,
        transactional: bool = False,
    ) -> None:
        """Store a batch; one whose sequence was stored before is acknowledged and nothing else."""
        if producer is not None and sequence is not None:
            first, behind = sequence
            stored = self._sequences.get(producer, 0)
            if first < stored:
                return
            assert first == stored, "a producer's batches came in another order than they were sent"
            self._sequences[producer] = behind
        if transactional and producer is not None:
            self._open.setdefault(producer, self.end_offset)
        for key, value in records:
            offset = self.end_offset
            sizes = (len(key or b""), len(value or b""))
            record = ConsumerRecord(self.topic, self.partition, offset, timestamp_ms, 0, key, value, None, *sizes, ())
            self._add(Entry(record, offset, producer, "open" if transactional else "committed"))

    def end(self, producer: int, state: str) -> None:
        """Write the marker of a transaction that is committed or aborted."""
        for entry in self.history:
            if entry.state == "open" and entry.producer == producer:
                entry.state = state
        self._open.pop(producer, None)
        self._add(Entry(None, self.end_offset, producer, "marker"))

    def forget_sequence(self, producer: int) -> None:
        """A new epoch of a producer counts from 0 again."""
        self._sequences.pop(producer, None)

    def _add(self, entry: Entry) -> None:
        self.history.append(entry)
        self.entries.append(entry)

    def committed(self, position: int, *, everything: bool = False) -> Iterator[ConsumerRecord]:
        """The records that a reader of committed ones sees from an offset on; everything: also those compacted away."""
        stable = self.last_stable_offset
        entries = self.history if everything else self.entries
        for number in range(bisect_left(entries, position, key=attrgetter("offset")), len(entries)):
            entry = entries[number]
            if entry.offset >= stable:
                return
            if entry.state == "committed" and entry.record is not None:
                yield entry.record

    def uncommitted(self, position: int) -> Iterator[ConsumerRecord]:
        """What a reader of everything sees from an offset on, also of open transactions and of aborted ones."""
        for number in range(bisect_left(self.entries, position, key=attrgetter("offset")), len(self.entries)):
            record = self.entries[number].record
            if record is not None:
                yield record

    def compact(self, through: int) -> None:
        """Take out every record below an offset, and below the last stable one, whose key comes again there."""
        through = min(through, self.last_stable_offset)
        last: dict[bytes | None, int] = {}
        for entry in self.entries:
            if entry.offset < through and entry.state == "committed" and entry.record is not None:
                last[entry.record.key] = entry.offset
        self.entries = [
            entry
            for entry in self.entries
            if entry.offset >= through
            or (entry.state == "committed" and entry.record is not None and last[entry.record.key] == entry.offset)
        ]
