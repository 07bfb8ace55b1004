"""`lampit audit index`: an archive turned round, by region instead of by time, so that questions are answered at once.

In: an archive. Out: one DuckDB file, a source for `lampit audit explain`, `coverage` and `reconcile`. An archive is in the
order in which events came; whom a question about a regency concerns is found only by reading all of it. The index holds,
regency by regency, all events of everybody whom an event places there, so a question reads one regency. It is a copy:
nothing is proved by it that the archive does not prove, and `lampit audit verify` asks the archive alone.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
import msgspec

from agents.errors import ConfigurationError
from lampit import tables
from lampit.audit import conditions
from lampit.audit.archive_source import ArchiveSource
from lampit.audit.duck_source import BALANCE
from lampit.audit.index_source import FORMAT, REGENCY, number_of

_MEMORY: Final = "6GiB"
"""For sorting; what is beyond goes to disk."""

_BUILD_SQL: Final = """
SET memory_limit = '{memory}';
ATTACH {path} AS made;
CREATE TABLE made.about AS SELECT {format} AS format, {events} AS events;
CREATE TABLE made.other AS
    SELECT DISTINCT type, record FROM ({records} WHERE type IN ('lampit.epoch.v1', '{balance}'));
CREATE TEMP VIEW dated AS
    SELECT {number} AS person, * EXCLUDE (person, survivor, data),
           CASE WHEN type = 'lampit.move_in.v1' THEN regexp_extract(data, '"origin":"[0-9.]+"') END AS origin,
           -- every day that the event names but the one on which it happened, which is a column or comes first
           array_to_string(regexp_extract_all(data, '"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')[
               CASE WHEN raw_value IS NULL THEN 1 ELSE 2 END:], '') AS days
    FROM (SELECT {columns}, coalesce(subject, json_extract_string(decode(raw_value), '$.subject')) AS person,
                 coalesce(rest, substr(decode(raw_value), strpos(decode(raw_value), '"data":'))) AS data
          FROM read_parquet([{files}]) WHERE receivedat IS NOT NULL AND type <> '{balance}'
              AND (raw_value IS NULL OR NOT contains(decode(raw_value), '"forwardedfrom":"')))
    LEFT JOIN one_person USING (person);
CREATE TEMP TABLE placed AS
    SELECT DISTINCT person, left(place, {regency}) AS place
    FROM (SELECT person, unnest([region, origin[11:-2]]) AS place FROM dated) WHERE place IS NOT NULL;
CREATE TABLE made.event AS
    SELECT place, person, {columns}, coalesce(origin, '') || days AS extra
    FROM dated JOIN placed USING (person) ORDER BY place, person;
DETACH made;
"""
_COLUMNS: Final = "subject, type, source, id, time, occurred_on, region, receivedat, rest, raw_value"


def build(source: ArchiveSource, path: Path) -> int:
    """Write the index of an archive; the number of offsets that it goes up to."""
    unfinished = _begun(path)
    events = sum(source.archive.next_offsets().values())
    sql = _BUILD_SQL.format(
        path=conditions.text(unfinished),
        format=FORMAT,
        events=events,
        records=source.sql,
        files=", ".join(conditions.text(file) for file in source.archive.parquet_files()),
        columns=_COLUMNS,
        number=number_of("coalesce(survivor, person)"),
        balance=BALANCE,
        regency=REGENCY,
        memory=_MEMORY,
    )
    try:
        source.run(sql)
        unfinished.rename(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return events


def _begun(path: Path) -> Path:
    """Where the index is written until it is whole; ConfigurationError where it cannot be. What was left there is removed."""
    if os.path.exists(path):  # where it may not be seen, writing it says why
        raise ConfigurationError(f"{path} is there already: remove it, or name another file.")
    unfinished = path.with_name(f".{path.name}.tmp")
    try:
        # DuckDB's own error would not tell the file from the archive; it makes the file itself.
        unfinished.write_bytes(b"")
        unfinished.unlink()
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None
    return unfinished


@click.command()
@click.argument("archive", metavar="ARCHIVE")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
@click.option("--json", "as_json", is_flag=True, help="The file and how far it goes as one JSON object.")
def command(archive: str, file: Path, as_json: bool) -> None:
    """Turn an archive round, by region instead of by time, so that `explain` and `coverage` answer at once.

    ARCHIVE is a directory or s3:// URL; FILE is then a SOURCE of `lampit audit explain`, `coverage` and `reconcile`. It
    holds what the archive held when it was made: pseudonymous personal data, to be kept like the archive.

    \b
    Examples:
      lampit audit index /srv/lampit/archive province.duckdb
      lampit audit explain 16.05 --from 2019-02-28 --to 2019-03-28 province.duckdb
    """
    _begun(file)  # before an archive is read, or fetched, which takes long
    with ArchiveSource(archive) as source:
        events = build(source, file)
    if as_json:
        click.echo(msgspec.json.encode({"file": str(file), "offsets": events}))
    else:
        tables.notice(f"{file}: the archive up to {events:,} offsets.")
