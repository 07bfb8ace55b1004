"""The archive of a province: a register, and a year of births, deaths, moves, recordings and marriages on it.

In: how many people and events, a folder. Out: an archive as the archive worker lays it out, the epoch first in each partition,
made by DuckDB column by column, because made one by one, twenty million events take an hour. Its heads are empty: it is for
reading, not for verifying. The same numbers give the same rows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Final

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from agents.archive_books import manifest_path
from agents.segments import SCHEMA
from agents.topics import LEDGER
from lampit.reference import load
from stream.archive import Entry, Header, file_name, write_manifest
from stream.ledger import Epoch, EpochSettings, encode_control
from stream.rules import RULES_VERSION

PROVINCE: Final = "16"
PARTITIONS: Final = 4
SEGMENT_RECORDS: Final = 50_000

_SHARES: Final = {"recording": 0.40, "move": 0.24, "birth": 0.06, "death": 0.03, "marriage": 0.03}
"""Of the year's events; a move is two."""

_SQL: Final = """
CREATE TEMP MACRO chance(n, salt, below) AS CAST(hash(n * 31 + salt) % below AS BIGINT);
CREATE TEMP MACRO home(n) AS getvariable('village_codes')[1 + chance(n, 1, getvariable('villages'))];
CREATE TEMP MACRO other(n) AS getvariable('village_codes')[1 + chance(n, 2, getvariable('villages'))];
CREATE TEMP MACRO born(n) AS DATE '1938-01-01' + CAST(chance(n, 3, 29500) AS INTEGER);
CREATE TEMP MACRO sex(n) AS CASE WHEN chance(n, 4, 2) = 0 THEN 'F' ELSE 'M' END;
CREATE TEMP MACRO day_of_year(i, salt) AS DATE '2019-01-01' + CAST(chance(i, salt, 365) AS INTEGER);
CREATE TEMP VIEW register AS
    SELECT range AS n, 'register' AS kind, range AS id, greatest(born(range), DATE '2010-01-01') AS on_day,
           home(range) AS region,
           ',"person":{"birth_date":"' || born(range) || '","sex":"' || sex(range) || '"'
           || CASE WHEN chance(range, 5, 100) < 60 AND born(range) < DATE '2001-06-01'
                   THEN ',"recorded_on":"' || (DATE '2012-01-01' + CAST(chance(range, 6, 2400) AS INTEGER)) || '"' ELSE '' END
           || '}}}' AS rest, 0 AS late
    FROM range(0, getvariable('people'));
CREATE TEMP MACRO about(i, salt) AS chance(i, salt, getvariable('people'));
CREATE TEMP MACRO lateness(i) AS CASE WHEN chance(i, 8, 50) = 0 THEN chance(i, 9, 90) ELSE chance(i, 10, 5) END;
CREATE TEMP VIEW year AS
    SELECT about(range, 11) AS n, 'recording' AS kind, range AS id, day_of_year(range, 12) AS on_day,
           home(about(range, 11)) AS region, '}}' AS rest, lateness(range) AS late
    FROM range(0, getvariable('recording'))
    UNION ALL
    SELECT about(range, 13), 'move_out', range, day_of_year(range, 14), home(about(range, 13)),
           ',"destination":"' || other(range) || '"}}', lateness(range) FROM range(0, getvariable('move'))
    UNION ALL
    SELECT about(range, 13), 'move_in', range, day_of_year(range, 14) + 3, other(range),
           ',"origin":"' || home(about(range, 13)) || '"}}', lateness(range + 1) FROM range(0, getvariable('move'))
    UNION ALL
    SELECT getvariable('people') + range, 'birth', range, day_of_year(range, 15), home(range),
           ',"sex":"' || sex(range) || '"}}', lateness(range) FROM range(0, getvariable('birth'))
    UNION ALL
    SELECT about(range, 16), 'death', range, day_of_year(range, 17), home(about(range, 16)), '}}', lateness(range)
    FROM range(0, getvariable('death'))
    UNION ALL
    SELECT about(range, 18), 'marriage', range, day_of_year(range, 19), NULL, '}}', lateness(range)
    FROM range(0, getvariable('marriage'));
CREATE TEMP VIEW log AS
    SELECT md5(CAST(n AS VARCHAR)) AS subject, chance(n, 20, 4) AS partition, kind, id, on_day, region, rest,
           CASE kind WHEN 'register' THEN TIMESTAMP '2018-12-01' + to_seconds(CAST(id AS BIGINT) // 50)
                ELSE CAST(on_day AS TIMESTAMP) + to_hours(CAST(3 + 24 * late + chance(id, 21, 7) AS INTEGER)) END AS moment
    FROM (FROM register UNION ALL FROM year);
"""
_PARTITION_SQL: Final = """
SELECT row_number() OVER () - 1 AS "offset", * FROM (
    SELECT 0 AS timestamp_ms, NULL AS subject, 'lampit.epoch.v1' AS type, NULL AS source, NULL AS id, NULL AS time,
           NULL AS occurred_on, NULL AS region, NULL AS receivedat, NULL AS rest,
           encode('control|epoch') AS raw_key, encode(getvariable('epoch')) AS raw_value
    UNION ALL
    (SELECT epoch_ms(moment), subject, 'lampit.' || kind || '.v1', '/siak/' || left(coalesce(region, '16'), 5),
            kind || '-' || id, moment, on_day, region, moment + INTERVAL 2 SECOND, rest, NULL, NULL
     FROM log WHERE partition = {partition} ORDER BY moment, id, kind))
"""


def make(folder: Path, people: int, events: int) -> int:
    """Write the archive; the number of its records."""
    villages = sorted(code for code in load().names if code.startswith(f"{PROVINCE}.") and len(code) == 13)
    made = 0
    with tempfile.TemporaryDirectory() as spill, duckdb.connect() as connection:
        connection.execute(f"SET temp_directory = '{spill}'")
        connection.execute("SET enable_progress_bar = false")
        connection.execute("SET VARIABLE village_codes = $1", [villages])
        for name, value in {"people": people, "villages": len(villages)}.items():
            connection.execute(f"SET VARIABLE {name} = {value}")
        for kind, share in _SHARES.items():
            connection.execute(f"SET VARIABLE {kind} = {int(events * share)}")
        epoch = Epoch(1, RULES_VERSION, EpochSettings(), load().digest)
        connection.execute("SET VARIABLE epoch = $1", [encode_control(epoch, 0).decode()])
        connection.execute(_SQL)
        for number in range(PARTITIONS):
            made += _partition(connection, folder, number)
    return made


def _partition(connection: duckdb.DuckDBPyConnection, folder: Path, number: int) -> int:
    header = Header("00000000-0000-4000-8000-000000000000", LEDGER, number)
    manifest = folder / manifest_path(LEDGER, number)
    manifest.parent.mkdir(parents=True)
    entries: list[Entry] = []
    reader = connection.sql(_PARTITION_SQL.format(partition=number)).to_arrow_reader(SEGMENT_RECORDS)
    waiting: list[pa.RecordBatch] = []
    for batch in reader:
        waiting.append(batch)
        if sum(len(one) for one in waiting) >= SEGMENT_RECORDS:
            entries.append(_segment(manifest.parent, entries, waiting))
            waiting = []
    if waiting:
        entries.append(_segment(manifest.parent, entries, waiting))
    manifest.write_bytes(write_manifest(header, entries))
    return entries[-1].last + 1


def _segment(folder: Path, entries: list[Entry], batches: list[pa.RecordBatch]) -> Entry:
    """One segment, in the form of the archive's own."""
    table = pa.Table.from_batches(batches).cast(SCHEMA)
    first = entries[-1].last + 1 if entries else 0
    last = first + len(table) - 1
    name = file_name(first, last)
    pq.write_table(
        table,
        folder / name,
        compression="zstd",
        compression_level=3,
        use_dictionary=["type", "source", "occurred_on", "region", "receivedat", "rest", "raw_key"],
        row_group_size=len(table),
        store_schema=False,
    )
    size = (folder / name).stat().st_size
    return Entry(len(entries), first, last, len(table), None, "", "", name, size, "")
