"""An archive as a source: DuckDB reads its Parquet segments and finds the few people whom a question concerns.

In: the directory or URL of an archive, and a question. Out: their events, or ledger records for the SQL count. Called by
`lampit.audit.sources`. Whom a question concerns is found generously: who is left out is nowhere near the region, or nothing
of theirs, no event, birthday or permit, turns between the two states. `explain --recount` holds the answer against figures
that are counted without that choice.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final, Self

import duckdb
import msgspec

from agents.errors import LampitError
from agents.settings import load_settings
from lampit.audit.archive import Archive, ArchiveDamaged
from stream.events import OpeningBalance
from stream.explanation import Heard, Question
from stream.ledger import ControlRecord, Epoch, EpochSettings, LedgerRecord, decode_record
from stream.regions import COUNTRY, TRANSIT, within
from stream.rules import Rules

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


class ArchiveSource:
    """One archive; a context manager, because it holds a database and may hold copies of remote segments."""

    rejected = 0

    def __init__(self, url: str) -> None:
        """Open it: read its manifests, no segment yet."""
        self._archive = Archive.open(url)
        self._folder = tempfile.TemporaryDirectory()
        self._sql: str = self._local().records_sql()
        self._duckdb = duckdb.connect(config={"autoinstall_known_extensions": False})
        self._duckdb.execute(f"SET temp_directory = {_text(Path(self._folder.name) / 'spill')}")
        self._duckdb.execute("SET preserve_insertion_order = false")
        files = ", ".join(_text(path) for path in self._archive.parquet_files())
        self._duckdb.execute(_EVENT_SQL.format(files=files))
        self._link()

    def __enter__(self) -> Self:
        """The source."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the database, remove the copies."""
        self._duckdb.close()
        self._folder.cleanup()

    def _local(self) -> Archive:
        """The archive where DuckDB can read it: a copy of a remote one."""
        files = self._archive.files
        if files.is_local:
            return self._archive
        for number in self._archive.partitions():
            names = [self._archive.path(number, entry) for entry in self._archive.segments(number)]
            first = names[0].rpartition("/")[0] if names else ""
            for name in [*names, *([f"{first}/manifest.jsonl"] if names else [])]:
                content = files.get(name)
                if content is None:
                    raise ArchiveDamaged(f"{name}: the segment is missing.")
                path = Path(self._folder.name) / "copy" / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        self._archive = Archive.open(str(Path(self._folder.name) / "copy"))
        return self._archive

    def _link(self) -> None:
        """The table one_person: who is known under several ids, with the smallest of them."""
        joined: dict[str, set[str]] = {}
        for one, other in self._rows(_LINKS_SQL):
            together = joined.get(one, {one}) | joined.get(other, {other})
            joined.update(dict.fromkeys(together, together))
        self._duckdb.execute("CREATE TEMP TABLE one_person (person VARCHAR, survivor VARCHAR)")
        pairs = [(one, min(together)) for one, together in joined.items()]
        if pairs:
            self._duckdb.executemany("INSERT INTO one_person VALUES (?, ?)", pairs)

    def _rows(self, sql: str) -> list[tuple[Any, ...]]:
        try:
            return self._duckdb.execute(sql).fetchall()
        except duckdb.Error as error:
            # The message can quote a record.
            raise LampitError(
                f"A segment of the archive cannot be read ({type(error).__name__}): `lampit audit verify` says which."
            ) from None

    def _records(self, where: str) -> list[str]:
        """The records of some rows, as JSON; copies kept under the other id of a merged person are left out."""
        rows = self._rows(f"SELECT record FROM ({self._sql} WHERE {where})")
        return [text for (text,) in rows if '"forwardedfrom":"' not in text]

    def rules(self, transit_expiry_days: int | None, leap_birthday: Any) -> Rules:
        """What is given, else the settings of the archive's last epoch, else those in force."""
        controls = [decode_record(text.encode()) for text in self._records("type = 'lampit.epoch.v1'")]
        epochs = [one.control for one in controls if isinstance(one, ControlRecord) and isinstance(one.control, Epoch)]
        if epochs:
            said = max(epochs, key=lambda one: one.epoch).settings
        else:
            settings = load_settings()
            said = EpochSettings(settings.transit_expiry_days, settings.leap_birthday)
        return Rules(transit_expiry_days or said.transit_expiry_days, leap_birthday or said.leap_birthday)

    def heard(self, question: Question | None = None, person: str | None = None) -> list[Heard]:
        """Every event that can play a part in the answer; everything where nothing is asked."""
        balances = self._records(_BALANCES)
        if question is None:
            texts = self._records("receivedat IS NOT NULL AND type <> 'lampit.opening_balance.v1'")
        else:
            turns = "true" if person is not None or _is_balanced(balances, question.region) else _turns(question)
            here = f"person = {_text(person)}" if person is not None else _here(question.region)
            texts = self._of_concerned(here, turns)
        known_to = None if question is None else question.known_to
        found = (_heard(text) for text in dict.fromkeys([*balances, *texts]))
        return [one for one in found if known_to is None or one.received_at <= known_to]

    def _of_concerned(self, here: str, turns: str) -> list[str]:
        self._choose(here, turns)
        texts = self._records("subject IN (SELECT person FROM member)")
        others = self._records(f"subject IS NULL AND receivedat IS NOT NULL AND NOT ({_BALANCES})")
        if others:
            members = {person for (person,) in self._rows("SELECT person FROM member")}
            texts += [text for text in others if _subject(text) in members]
        return texts

    def _choose(self, here: str, turns: str) -> None:
        """The table member: all ids of the persons of whom one event is here, and one turns."""
        self._rows(_CONCERNED_SQL.format(here=here, turns=turns))
        self._rows(_MEMBERS_SQL)

    def records(self, known_at: int | None, region: str | None) -> Path:
        """Ledger records accepted by an instant: of everybody whom an event places in the region, and all balances."""
        wanted = "receivedat IS NOT NULL"
        if known_at is not None:
            wanted += f" AND receivedat <= make_timestamp({known_at})"
        if region not in (None, COUNTRY):
            self._choose(_here(str(region)), "true")
            wanted += " AND (subject IS NULL OR subject IN (SELECT person FROM member))"
        path = Path(self._folder.name) / f"records-{known_at}-{region}.parquet"
        self._rows(
            f"COPY (SELECT record AS value FROM ({self._sql} WHERE {wanted})"
            f' WHERE NOT contains(record, \'"forwardedfrom":"\')) TO {_text(path)} (FORMAT parquet, COMPRESSION zstd)'
        )
        return path


_BALANCES: Final = "type = 'lampit.opening_balance.v1'"


def _text(value: str | Path) -> str:
    """A text of SQL."""
    return "'" + str(value).replace("'", "''") + "'"


def _is_balanced(balances: Iterable[str], region: str) -> bool:
    """Whether a balance has a say in the region: then what it holds of people can turn on any event of theirs."""
    named = [event.region for event in (_heard(text).event for text in balances) if isinstance(event, OpeningBalance)]
    return any(within(code, region) or within(region, code) for code in named)


def _here(region: str) -> str:
    """SQL: an event that can place somebody in the region."""
    if region == COUNTRY:
        return "true"
    if region == TRANSIT:
        return "type = 'lampit.move_out.v1'"
    inside = f"region = {_text(region)} OR starts_with(region, {_text(region + '.')})"
    origin = _text(f'"origin":"{region}')
    return f"({inside} OR (type = 'lampit.move_in.v1' AND contains(extra, {origin})))"


def _turns(question: Question) -> str:
    """SQL: an event by which somebody may count otherwise in the second state than in the first."""
    first, last = date.fromordinal(question.begin + 1), date.fromordinal(question.end)
    found = ["false"]
    if question.begin < question.end:
        found.append(f"occurred_on BETWEEN DATE '{first}' AND DATE '{last}'")
        born = (_years_before(first, 17) - timedelta(days=2), _years_before(last, 17) + timedelta(days=1))
        found.append(f"(type = 'lampit.birth.v1' AND occurred_on BETWEEN DATE '{born[0]}' AND DATE '{born[1]}')")
        months = {*_months(first - timedelta(days=1), last), *_months(*born)}
        found += [f"contains(extra, {_text(chr(34) + month)})" for month in sorted(months)]
        found.append("type = 'lampit.move_out.v1'")
    if question.known_from is not None:
        found.append(f"receivedat > make_timestamp({question.known_from})")
    return " OR ".join(found)


def _years_before(day: date, years: int) -> date:
    """The same day of an earlier year; of 29 February the 28th."""
    return day.replace(year=max(day.year - years, 1), day=min(day.day, 28) if day.month == 2 else day.day)


def _months(first: date, last: date) -> Iterator[str]:
    """Every month from one day to another as 2019-03."""
    year, month = first.year, first.month
    while (year, month) <= (last.year, last.month):
        yield f"{year:04}-{month:02}"
        year, month = (year + 1, 1) if month == 12 else (year, month + 1)


def _heard(text: str) -> Heard:
    try:
        record = decode_record(text.encode())
    except (msgspec.MsgspecError, ValueError):
        record = None
    if not isinstance(record, LedgerRecord):
        raise ArchiveDamaged("A record of the archive is no ledger record: `lampit audit verify` says which.")
    return Heard(record.received_at, record.subject, record.event)


def _subject(text: str) -> str | None:
    return _heard(text).subject
