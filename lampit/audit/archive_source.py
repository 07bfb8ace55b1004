"""An archive as a source: DuckDB reads its Parquet segments and finds the few people whom a question concerns.

In: the directory or URL of an archive, and a question. Out: their events, or ledger records for the SQL count. Called by
`lampit.audit.sources`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from lampit.audit import conditions
from lampit.audit.archive import Archive, copied
from lampit.audit.duck_source import BALANCE, DuckSource, heard_of
from stream.regions import COUNTRY

# What a question looks at, of every event of a person: extra is the text that holds the dates of the person data.
_EVENT_SQL: Final = """
CREATE TEMP VIEW event AS SELECT * EXCLUDE (raw_value, rest),
    CASE WHEN subject IS NULL AND type <> 'lampit.opening_balance.v1'
         THEN json_extract_string(decode(raw_value), '$.subject') ELSE subject END AS person,
    coalesce(rest, decode(raw_value), '') AS extra
FROM (SELECT subject, type, occurred_on, region, receivedat, rest, raw_value FROM read_parquet([{files}]))
WHERE receivedat IS NOT NULL
"""
_LINKS_SQL: Final = """
SELECT DISTINCT person, regexp_extract(extra, '"new_subject":"([0-9a-f]{32})"', 1)
FROM event WHERE type = 'lampit.nik_change.v1'
"""
_CONCERNED_SQL: Final = """
CREATE OR REPLACE TEMP TABLE concerned AS
SELECT coalesce(one.survivor, person) AS survivor
FROM event LEFT JOIN one_person AS one USING (person)
WHERE person IS NOT NULL AND (({here}) OR ({turns}))
GROUP BY ALL HAVING bool_or({here}) AND bool_or({turns})
"""
_MEMBERS_SQL: Final = """
CREATE OR REPLACE TEMP TABLE member AS
SELECT survivor AS person FROM concerned
UNION SELECT person FROM one_person SEMI JOIN concerned USING (survivor)
"""


class ArchiveSource(DuckSource):
    """One archive; of a remote one, copies of its segments."""

    def __init__(self, url: str) -> None:
        """Open it: read its manifests, no segment yet."""
        super().__init__()
        self.archive = Archive.open(url)
        self.sql: str = self._local().records_sql()
        files = ", ".join(conditions.text(path) for path in self.archive.parquet_files())
        self.run(_EVENT_SQL.format(files=files))
        self._link()

    def _local(self) -> Archive:
        """The archive where DuckDB can read it: a copy of a remote one."""
        if not self.archive.files.is_local:
            self.archive = copied(self.archive, str(Path(self._folder.name) / "copy"))
        return self.archive

    def _link(self) -> None:
        """The table one_person: who is known under several ids, with the smallest of them."""
        joined: dict[str, set[str]] = {}
        for one, other in self.rows(_LINKS_SQL):
            together = joined.get(one, {one}) | joined.get(other, {other})
            joined.update(dict.fromkeys(together, together))
        self._duckdb.execute("CREATE TEMP TABLE one_person (person VARCHAR, survivor VARCHAR)")
        pairs = [(one, min(together)) for one, together in joined.items()]
        if pairs:
            self._duckdb.executemany("INSERT INTO one_person VALUES (?, ?)", pairs)

    def _records(self, where: str) -> list[str]:
        """The records of some rows, as JSON; copies kept under the other id of a merged person are left out."""
        rows = self.rows(f"SELECT record FROM ({self.sql} WHERE {where})")
        return [text for (text,) in rows if '"forwardedfrom":"' not in text]

    def texts(self, kind: str) -> list[str]:
        """The records of a type that are of no person."""
        return self._records(f"type = {conditions.text(kind)}")

    def texts_of(self, region: str | None, here: str, turns: str) -> list[str]:
        """The records of all persons of whom one event is here, and one turns."""
        self._choose(here, turns)
        texts = self._records("subject IN (SELECT person FROM member)")
        others = self._records(f"subject IS NULL AND receivedat IS NOT NULL AND type <> {conditions.text(BALANCE)}")
        if others:
            members = {person for (person,) in self.rows("SELECT person FROM member")}
            texts += [text for text in others if heard_of(text).subject in members]
        return texts

    def _choose(self, here: str, turns: str) -> None:
        """The table member: all ids of the persons of whom one event is here, and one turns."""
        self.rows(_CONCERNED_SQL.format(here=here, turns=turns))
        self.rows(_MEMBERS_SQL)

    def records(self, known_at: int | None, region: str | None) -> Path | list[Path]:
        """Ledger records accepted by an instant: of everybody whom an event places in the region, and all balances.

        The archive's own segments where all of it is asked for, else one that holds those alone.
        """
        if known_at is None and region in (None, COUNTRY):
            return [Path(path) for path in self.archive.parquet_files()]
        wanted = "receivedat IS NOT NULL"
        if known_at is not None:
            wanted += f" AND receivedat <= make_timestamp({known_at})"
        if region not in (None, COUNTRY):
            self._choose(conditions.here(str(region)), "true")
            wanted += " AND (subject IS NULL OR subject IN (SELECT person FROM member))"
        path = Path(self._folder.name) / f"records-{known_at}-{region}.parquet"
        files = ", ".join(conditions.text(path) for path in self.archive.parquet_files())
        self.rows(f"COPY (FROM read_parquet([{files}]) WHERE {wanted}) TO {conditions.text(path)} (COMPRESSION zstd)")
        return path
