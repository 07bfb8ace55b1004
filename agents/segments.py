"""Records of a log as a Parquet segment, and back, byte for byte.

In: offsets, timestamps, keys and values of one partition, in order. Out: the bytes of a segment; the digest of its content;
the records again. Called by the archive agent, which writes, and by the audit, which reads.

A ledger record is JSON in which only a few texts change from event to event. Kept whole, its person id and UUID would be
stored three times (key, value, columns for queries) in a form that compresses badly: 100 bytes an event. So a value is taken
apart into columns, and put together again from them; where that does not give the very same bytes (another topic, a control
record, a balance) the bytes themselves are kept in `raw_value`. docs/decisions/0010 has the figures.

| column | |
| --- | --- |
| offset, timestamp_ms | of the record in the log |
| subject | the key, where it is the person id of the value; else null |
| type, source, id, time, occurred_on, region, receivedat | of the event, for queries; instants in UTC |
| rest | of a value taken apart: what follows on region or occurred_on |
| raw_key, raw_value | the bytes of a record that is not taken apart; raw_key also null where the key is the subject, or none |
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from agents import segment_values
from agents.segment_values import DERIVED

COMPRESSION: Final = "zstd"
COMPRESSION_LEVEL: Final = 3

SCHEMA: Final = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("subject", pa.string()),
        *DERIVED,
        pa.field("rest", pa.string()),
        pa.field("raw_key", pa.binary()),
        pa.field("raw_value", pa.binary()),
    ]
)
_RECORDS: Final = pa.schema(
    [
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("timestamp_ms", pa.int64(), nullable=False),
        pa.field("key", pa.binary()),
        pa.field("value", pa.binary()),
    ]
)
# Dictionaries where values repeat; person ids and UUIDs never pay for one.
_DICTIONARIES: Final = ["type", "source", "occurred_on", "region", "receivedat", "rest", "raw_key"]
_ENCODINGS: Final = {
    "offset": "DELTA_BINARY_PACKED",
    "timestamp_ms": "DELTA_BINARY_PACKED",
    "time": "DELTA_BINARY_PACKED",
}


class LogRecord(NamedTuple):
    """A record as the log has it."""

    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None


def records_table(records: Sequence[Any]) -> pa.Table:
    """Records (anything with offset, timestamp, key, value, as aiokafka's) as a table of their bytes."""
    columns = [
        pa.array([record.offset for record in records], pa.int64()),
        pa.array([record.timestamp for record in records], pa.int64()),
        pa.array([record.key for record in records], pa.binary()),
        pa.array([record.value for record in records], pa.binary()),
    ]
    return pa.table(columns, schema=_RECORDS)


def concatenated(tables: Sequence[pa.Table]) -> pa.Table:
    """One table of one chunk: what is written does not depend on the fetches the records came in."""
    return pa.concat_tables([_RECORDS.empty_table(), *tables]).combine_chunks()


def content_digest(table: pa.Table) -> str:
    """SHA-256 of what the records are, in hex, whatever file they are in.

    Over, one after the other, integers as 8 bytes little-endian: the number of records; their offsets; their timestamps; the
    lengths of their keys (−1: no key); the keys; the lengths of their values; the values.
    """
    digest = hashlib.sha256(len(table).to_bytes(8, "little"))
    for name in ("offset", "timestamp_ms"):
        digest.update(segment_values.integers(_whole(table, name)))
    for name in ("key", "value"):
        column = _whole(table, name)
        digest.update(segment_values.lengths(column))
        digest.update(segment_values.joined(column))
    return digest.hexdigest()


def taken_apart(table: pa.Table) -> pa.Table:
    """The columns of a segment of these records: there is one way to take records apart."""
    columns = segment_values.take_apart(_whole(table, "key"), _whole(table, "value"))
    columns["offset"], columns["timestamp_ms"] = _whole(table, "offset"), _whole(table, "timestamp_ms")
    return pa.table([columns[field.name] for field in SCHEMA], schema=SCHEMA)


def encode(table: pa.Table) -> bytes:
    """The segment of a table of records."""
    sink = io.BytesIO()
    pq.write_table(
        taken_apart(table),
        sink,
        compression=COMPRESSION,
        compression_level=COMPRESSION_LEVEL,
        use_dictionary=_DICTIONARIES,
        column_encoding=_ENCODINGS,
        row_group_size=max(1, len(table)),
        write_page_index=True,
        store_schema=False,
    )
    return sink.getvalue()


def decode(segment: bytes) -> pa.Table:
    """The table of records of a segment; raises pa.ArrowException or ValueError for what is none."""
    return rebuilt(columns_of(segment))


def columns_of(segment: bytes) -> pa.Table:
    """The columns of a segment as they are kept; raises like `decode`."""
    table = pq.ParquetFile(pa.BufferReader(segment)).read(use_threads=False)
    if not table.schema.equals(SCHEMA):
        raise ValueError("these are not the columns of a segment")
    return table


def rebuilt(table: pa.Table) -> pa.Table:
    """The records of (some rows of) a segment's columns."""
    table = table.combine_chunks()
    columns = {name: _whole(table, name) for name in table.column_names}
    key, value = segment_values.put_together(columns)
    return pa.table([columns["offset"], columns["timestamp_ms"], key, value], schema=_RECORDS)


def records(table: pa.Table) -> Iterator[LogRecord]:
    """A table of records, one by one."""
    columns = [table.column(name).to_pylist() for name in _RECORDS.names]
    return (LogRecord(*row) for row in zip(*columns, strict=True))


def _whole(table: pa.Table, name: str) -> Any:
    column = table.column(name)
    if column.num_chunks == 1:
        return column.chunk(0)
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
