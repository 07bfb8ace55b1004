"""Record batches that cannot be read: stand-in records instead of a consumer that dies or hangs.

aiokafka raises in the middle of a fetch when a batch fails its checksum or has a codec it does not know: what was read before
it is lost, the position stays, and the worker meets the same batch for ever. `install()` gives aiokafka's fetcher a
PartitionRecords whose batches turn such an error into an UndecodableRecord for every offset left, and go on behind them. So
does a batch that unpacks to more than BATCH_BYTES_MAX: a topic bounds what is packed, and 8 MiB of zstd can be hundreds of GiB.

Which offsets a batch has, its header says. Kafka stores none whose header and records disagree; the embedded broker believes
it, and a damaged disk can say anything. So stand-ins are made as they are asked for, a poll's worth at a time, and no more than
STAND_INS_MAX of them; the last one is for all the rest.
Not in here: what to do about it (intake rejects it; the others end). Caller: agents/driver.py.
"""

from __future__ import annotations

import gzip
import mmap
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from importlib import import_module
from io import BytesIO
from typing import Any, Final, Protocol

import cramjam
from aiokafka.consumer import fetcher as aiokafka_fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.structs import ConsumerRecord

BATCH_BYTES_MAX: Final = 128 * 1024 * 1024
"""Of a batch, unpacked: sixteen times what a topic takes packed, more than events shrink to."""

STAND_INS_MAX: Final = 100_000
"""Of a batch, one offset each: more events than a topic takes in a batch, unless they are packed tighter than events are."""


class StoredRecord(Protocol):
    """What the agents use of a record: aiokafka's own, as read from the batch, has these and so has a ConsumerRecord."""

    @property
    def offset(self) -> int: ...

    @property
    def timestamp(self) -> int: ...

    @property
    def key(self) -> bytes | None: ...

    @property
    def value(self) -> bytes | None: ...


def as_read(value: bytes | None) -> bytes | None:
    """As `value_deserializer` of a consumer: it gets StoredRecords. To make a ConsumerRecord takes longer than to read one."""
    return value


@dataclass
class UndecodableRecord(ConsumerRecord):  # type: ignore[misc]
    """Stands for the record at `offset`, stored and not to be read; the last of very many for those up to `next_offset`."""

    next_offset: int = -1
    error: str = ""


def is_any_undecodable(records: Iterable[object]) -> bool:
    """Whether an `UndecodableRecord` is among them."""
    return any(type(record) is UndecodableRecord for record in records)


@dataclass(frozen=True, slots=True)
class _Unreadable:
    """What the batch yields in place of a record; becomes an UndecodableRecord in `_consumer_record`.

    `offset` is the last one it stands for: the fetcher drops what lies before the offset it asked for, which can be in the
    middle of a batch, and goes on behind the offset it got.
    """

    offset: int
    first_offset: int
    timestamp: int
    error: str


class _Batch:
    """A record batch that yields _Unreadable records from where decoding fails. Everything else is the batch's own."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch
        # Faults of the header itself still raise: without it there is no telling where the next batch begins.
        self.base_offset: int = batch.base_offset
        self.next_offset: int = batch.next_offset
        self.producer_id: int | None = batch.producer_id
        self.is_control_batch: bool = batch.is_control_batch
        self.is_transactional: bool = batch.is_transactional
        self._valid = True
        self.open_bytes = 0

    def validate_crc(self) -> bool:
        self._valid = bool(self._batch.validate_crc())
        return True

    def __next__(self) -> Any:
        return next(self._batch)

    def __iter__(self) -> Iterator[Any]:
        position = self.base_offset
        if not self._valid:
            yield from self._unreadable(position, "the checksum does not match")
            return
        _last_unpacked.bytes = 0
        try:
            for record in self._batch:
                if position == self.base_offset:  # with the first record all of them are unpacked
                    self.open_bytes = _last_unpacked.bytes
                yield record
                position = record.offset + 1
        except Exception as error:  # whatever a decompressor or parser raises on foreign bytes
            yield from self._unreadable(position, type(error).__name__)
        self.open_bytes = 0

    def _unreadable(self, position: int, error: str) -> Iterator[_Unreadable]:
        found = getattr(self._batch, "max_timestamp", None)
        timestamp = -1 if found is None else found
        rest = position + STAND_INS_MAX - 1
        for offset in range(position, min(rest, self.next_offset)):
            yield _Unreadable(offset, offset, timestamp, error)
        if rest < self.next_offset:
            yield _Unreadable(self.next_offset - 1, rest, timestamp, error)


class _Records:
    """aiokafka's MemoryRecords, its batches wrapped."""

    def __init__(self, records: Any) -> None:
        self._records = records
        self.has_next = records.has_next
        self.batch: _Batch | None = None

    def next_batch(self) -> _Batch:
        self.batch = _Batch(self._records.next_batch())
        return self.batch


class _LastUnpacked(threading.local):
    """How large the batch was that this thread unpacked last."""

    bytes = 0


_last_unpacked: Final = _LastUnpacked()


def open_bytes(result: Any) -> int:
    """What the fetch result of a partition holds unpacked: its batch, from the first record that is taken until the last."""
    records = result._partition_records
    batch = None if records is None else records._records.batch
    return 0 if batch is None else batch.open_bytes


class TolerantPartitionRecords(aiokafka_fetcher.PartitionRecords):  # type: ignore[misc]
    """aiokafka's own unpacking (aborted transactions, control batches, compaction gaps) over wrapped batches."""

    def __init__(self, tp: Any, records: Any, *args: Any, **options: Any) -> None:
        super().__init__(tp, _Records(records), *args, **options)

    def _consumer_record(self, tp: Any, record: Any) -> Any:
        if self._value_deserializer is as_read and type(record) is not _Unreadable:
            return record
        if type(record) is not _Unreadable:
            return super()._consumer_record(tp, record)
        return UndecodableRecord(
            tp.topic,
            tp.partition,
            record.first_offset,
            record.timestamp,
            0,
            None,
            None,
            None,
            -1,
            -1,
            (),
            record.offset + 1,
            record.error,
        )


def _unpacked(codec: Any) -> Callable[[bytes], bytes]:
    """The bounded decoder of a codec of cramjam."""

    def decode(packed: bytes) -> bytes:
        # Room that is asked for takes no memory before it is written to.
        with closing(mmap.mmap(-1, BATCH_BYTES_MAX)) as room:
            found: bytes = room[: codec.decompress_into(packed, room)]
        _last_unpacked.bytes = len(found)
        return found

    return decode


def _unzipped(packed: bytes) -> bytes:
    with gzip.GzipFile(fileobj=BytesIO(packed)) as file:
        found = file.read(BATCH_BYTES_MAX + 1)
    if len(found) > BATCH_BYTES_MAX:
        raise ValueError("the batch is too large")
    _last_unpacked.bytes = len(found)
    return found


def install() -> None:
    """Let every consumer of this process read through TolerantPartitionRecords, and unpack no more than it can bear."""
    aiokafka_fetcher.PartitionRecords = TolerantPartitionRecords
    batches: Any = import_module(DefaultRecordBatch.__module__)
    batches.zstd_decode = _unpacked(cramjam.zstd)
    batches.lz4_decode = _unpacked(cramjam.lz4)
    batches.gzip_decode = _unzipped
    # Snappy packs to a twentieth at best: what a topic takes of it can be borne.
