"""`lampit audit index`: an archive turned round, by region instead of by time, so that questions are answered at once.

In: an archive. Out: one DuckDB file, a source for `lampit audit explain` and `coverage`. An archive is in the order in which
events came; whom a question about a regency concerns is found only by reading all of it. The index holds, regency by regency,
all events of everybody whom an event places there, so a question reads one regency. It is a copy: nothing is proved by it
that the archive does not prove, and `lampit audit verify` asks the archive alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import click
import duckdb

from agents.errors import ConfigurationError
from lampit import tables
from lampit.audit import conditions
from lampit.audit.archive_source import BALANCE, ArchiveSource, DuckSource
from stream.regions import COUNTRY, TRANSIT

FORMAT: Final = 1
_REGENCY: Final = len("PP.KK")

_BUILD_SQL: Final = """
ATTACH {path} AS made;
CREATE TABLE made.about AS SELECT {format} AS format, {events} AS events;
CREATE TABLE made.other AS
    SELECT DISTINCT type, record FROM ({records} WHERE type IN ('lampit.epoch.v1', '{balance}'));
CREATE TEMP TABLE dated AS
    SELECT coalesce(survivor, person) AS person, type, occurred_on, region, receivedat, record,
           CASE WHEN type = 'lampit.move_in.v1' THEN regexp_extract(data, '"origin":"[0-9.]+"') END AS origin,
           -- every day that the event names but the one on which it happened, which comes first
           array_to_string(regexp_extract_all(data, '"[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}')[2:], '') AS days
    FROM (SELECT *, coalesce(subject, json_extract_string(record, '$.subject')) AS person,
                 substr(record, strpos(record, '"data":')) AS data
          FROM ({records} WHERE receivedat IS NOT NULL AND type <> '{balance}')
          WHERE NOT contains(record, '"forwardedfrom":"'))
    LEFT JOIN one_person USING (person);
CREATE TABLE made.event AS
    WITH placed AS (
        SELECT DISTINCT person, left(place, {regency}) AS place
        FROM (SELECT person, unnest([region, origin[11:-2]]) AS place FROM dated) WHERE place IS NOT NULL)
    SELECT place, person, type, occurred_on, region, receivedat, coalesce(origin, '') || days AS extra, record
    FROM dated JOIN placed USING (person) ORDER BY place, person;
DETACH made;
"""


def build(source: ArchiveSource, path: Path) -> int:
    """Write the index of an archive; the number of offsets that it goes up to."""
    if path.exists():
        raise ConfigurationError(f"{path} is there already: remove it, or name another file.")
    unfinished = path.with_name(f".{path.name}.tmp")
    unfinished.unlink(missing_ok=True)
    events = sum(source.archive.next_offsets().values())
    sql = _BUILD_SQL.format(
        path=conditions.text(unfinished),
        format=FORMAT,
        events=events,
        records=source.sql,
        balance=BALANCE,
        regency=_REGENCY,
    )
    try:
        source.run(sql)
        unfinished.rename(path)
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written ({error.strerror}): name another file.") from None
    finally:
        unfinished.unlink(missing_ok=True)
    return events


class IndexSource(DuckSource):
    """An index as a source."""

    def __init__(self, path: str) -> None:
        """Open it; ConfigurationError for a database that is none of ours."""
        try:
            super().__init__(path)
            (found,) = self._duckdb.execute("SELECT format FROM about").fetchone() or (None,)
        except duckdb.Error:
            found = None
        if found != FORMAT:
            raise ConfigurationError(f"{path} is no index of this version: make one with `lampit audit index`.")

    def texts(self, kind: str) -> list[str]:
        """The records of a type that are of no person."""
        return [text for (text,) in self.rows(f"SELECT record FROM other WHERE type = {conditions.text(kind)}")]

    def texts_of(self, region: str | None, here: str, turns: str) -> list[str]:
        """The records of all persons of whom one event is here, and one turns."""
        place = _place(region)
        return [
            text
            for (text,) in self.rows(
                f"SELECT DISTINCT record FROM event WHERE {place} AND person IN (SELECT person FROM event WHERE {place}"
                f" GROUP BY person HAVING bool_or({here}) AND bool_or({turns}))"
            )
        ]

    def records(self, known_at: int | None, region: str | None) -> Path:
        """Ledger records accepted by an instant: of everybody whom an event places in the regency, and all balances."""
        known = "true" if known_at is None else f"receivedat <= make_timestamp({known_at})"
        others = [text for text in self.texts(BALANCE) if known_at is None or self.received(text) <= known_at]
        path = Path(self._folder.name) / f"records-{known_at}-{region}.parquet"
        self._duckdb.execute("CREATE OR REPLACE TEMP TABLE balance AS SELECT unnest($1::VARCHAR[]) AS value", [others])
        self.run(
            f"COPY (SELECT DISTINCT record AS value FROM event WHERE {_place(region)} AND {known}"
            f" UNION ALL FROM balance) TO {conditions.text(path)} (FORMAT parquet, COMPRESSION zstd)"
        )
        return path


def _place(region: str | None) -> str:
    """SQL: the rows of a region, and of others whose codes name places that are its own on some day."""
    if region is None or region in (COUNTRY, TRANSIT):
        return "true"
    regencies = sorted({code[:_REGENCY] for code in conditions.codes_of(region)})
    whole = [code for code in regencies if len(code) < _REGENCY]
    found = [f"starts_with(place, {conditions.text(code + '.')})" for code in whole]
    return "(" + " OR ".join([*found, f"place IN ({', '.join(map(conditions.text, regencies))})"]) + ")"


@click.command()
@click.argument("archive", metavar="ARCHIVE")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE")
def command(archive: str, file: Path) -> None:
    """Turn an archive round, by region instead of by time, so that `explain` and `coverage` answer at once.

    ARCHIVE is a directory or s3:// URL; FILE is then a SOURCE of `lampit audit explain` and `coverage`. It holds what the
    archive held when it was made: pseudonymous personal data, to be kept like the archive.

    \b
    Examples:
      lampit audit index /srv/lampit/archive province.duckdb
      lampit audit explain 16.05 --from 2019-02-28 --to 2019-03-28 province.duckdb
    """
    with ArchiveSource(archive) as source:
        events = build(source, file)
    tables.notice(f"{file}: the archive up to {events:,} offsets.")
