"""An index (`lampit audit index`) as a source: it reads one regency where an archive is read whole.

In: the file of an index, and a question. Out: events, or ledger records for the SQL count. Called by `lampit.audit.sources`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import duckdb

from agents.errors import ConfigurationError
from lampit.audit import conditions
from lampit.audit.duck_source import BALANCE, DuckSource
from lampit.audit.record_sql import RECORD
from lampit.audit.sources import EVERYBODY, Share
from stream.regions import COUNTRY, TRANSIT

FORMAT: Final = 2
REGENCY: Final = len("PP.KK")
_RECORD: Final = RECORD.format()


class IndexSource(DuckSource):
    """An index as a source."""

    def __init__(self, path: str, share: Share = EVERYBODY) -> None:
        """Open it; ConfigurationError for a database that is none of ours. share: whom `heard` tells of."""
        self._share = share
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

    def is_person(self, person: str) -> str:
        """SQL: an event of somebody with that id."""
        return f"person = {number_of(conditions.text(person))}"

    def texts_of(self, region: str | None, here: str, turns: str) -> list[str]:
        """The records of all persons of whom one event is here, and one turns.

        What turns is seldom and looked for first; the records themselves are put together of the chosen persons alone.
        """
        place = _place(region)
        self.run(
            "CREATE OR REPLACE TEMP TABLE turned AS"
            f" SELECT DISTINCT person FROM event WHERE {place} AND ({turns}) AND {_of_share(self._share)}"
        )
        self.run(
            "CREATE OR REPLACE TEMP TABLE chosen AS"
            f" SELECT DISTINCT person FROM event SEMI JOIN turned USING (person) WHERE {place} AND ({here})"
        )
        return [
            text
            for (text,) in self.rows(
                f"SELECT {_RECORD} AS record FROM event SEMI JOIN chosen USING (person) WHERE {place}"
            )
        ]

    def records(self, known_at: int | None, region: str | None) -> Path:
        """Ledger records accepted by an instant: of everybody whom an event places in the regency, and all balances."""
        known = "true" if known_at is None else f"receivedat <= make_timestamp({known_at})"
        others = [text for text in self.texts(BALANCE) if known_at is None or self.received(text) <= known_at]
        path = Path(self._folder.name) / f"records-{known_at}-{region}.parquet"
        self._duckdb.execute("CREATE OR REPLACE TEMP TABLE balance AS SELECT unnest($1::VARCHAR[]) AS value", [others])
        self.run(
            f"COPY (SELECT DISTINCT {_RECORD} AS value FROM event WHERE {_place(region)} AND {known}"
            f" UNION ALL FROM balance) TO {conditions.text(path)} (FORMAT parquet, COMPRESSION zstd)"
        )
        return path


def _place(region: str | None) -> str:
    """SQL: the rows of a region, and of others whose codes name places that are its own on some day."""
    if region is None or region in (COUNTRY, TRANSIT):
        return "true"
    regencies = sorted({code[:REGENCY] for code in conditions.codes_of(region)})
    whole = [code for code in regencies if len(code) < REGENCY]
    found = [f"starts_with(place, {conditions.text(code + '.')})" for code in whole]
    return "(" + " OR ".join([*found, f"place IN ({', '.join(map(conditions.text, regencies))})"]) + ")"


def _of_share(share: Share) -> str:
    """SQL: the persons of a share."""
    return "true" if share == EVERYBODY else f"person % {share[1]} = {share[0]}"


def number_of(person: str) -> str:
    """SQL: a number for a person's id. Two of one number are looked at together, which only costs time."""
    return f"CAST(md5_number_lower({person}) >> 1 AS BIGINT)"
