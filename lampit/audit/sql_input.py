"""What the second count reads, given to DuckDB: accepted events, beside the region tables of `sql_regions`.

In: ledger records (an iterable of (person id, record as JSON), or files of them: NDJSON as it is, Parquet with a column
`value` that holds the record as text or bytes, segments of an archive, a folder of either). Out, for count.sql:

| view | |
| --- | --- |
| ledger_record | every record |
| records_of(people) | those of the persons whom a table names in its column `subject`, and those of nobody |
| brief_record | of every record but copies the little that most of them say, and whether one says more: `_BRIEF` |

The segments of an archive are not kept anywhere: little of them says most, and reading that again takes less than keeping it.
Nothing is judged here: control records and copies are left out by count.sql. Called by `sql_count` and `sql_closings`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import duckdb

from lampit.audit import sql_segments
from lampit.audit.sql_regions import Machine, connected, quoted

Events: TypeAlias = Path | Sequence[Path] | Iterable[tuple[str | None, bytes]]
_Kind: TypeAlias = "str | Mapping[str, Any]"

# The fields of the schema, with DuckDB's types; what else a record holds plays no part in any figure.
_PERMIT: Final = {"from": "DATE", "until": "DATE"}
_PERSON: Final = {
    "birth_date": "DATE", "sex": "VARCHAR", "ever_married_on": "DATE", "recorded_on": "DATE", "citizen": "BOOLEAN",
    "permanent_permit": _PERMIT,
}  # fmt: skip
_DATA: Final = {
    "occurred_on": "DATE", "region": "VARCHAR", "sex": "VARCHAR", "stillborn": "BOOLEAN",
    "already_registered": "BOOLEAN", "in_opening": "BOOLEAN", "destination": "VARCHAR", "origin": "VARCHAR",
    "letter": "VARCHAR", "service_point": "VARCHAR", "status": "VARCHAR", "citizen": "BOOLEAN",
    "permanent_permit": _PERMIT, "birth_date": "DATE", "new_subject": "VARCHAR",
    "cancels": {"source": "VARCHAR", "id": "VARCHAR"}, "counts": "JSON", "turning_17": "JSON", "person": _PERSON,
}  # fmt: skip
_RECORD: Final[Mapping[str, _Kind]] = {
    "subject": "VARCHAR", "forwardedfrom": "VARCHAR", "source": "VARCHAR", "id": "VARCHAR", "type": "VARCHAR",
    "time": "VARCHAR", "data": _DATA,
}  # fmt: skip

# birth_date, ever_married_on and recorded_on are those of a register entry's person, sex is that of its person or a birth's.
# says_more: there is something else by which a figure may change. By letter, origin and service_point none does, of a person
# with whom no balance has to do.
_BRIEF: Final = """
SELECT subject, source, id, type, data.occurred_on AS occurred_on, data.region AS region,
       coalesce(data.destination = 'abroad', false) AS goes_abroad, coalesce(data.status, 'captured') AS status,
       data.person.birth_date AS birth_date,
       CASE type WHEN 'lampit.birth.v1' THEN data.sex ELSE data.person.sex END AS sex,
       data.person.ever_married_on AS ever_married_on, data.person.recorded_on AS recorded_on,
       data.person.citizen IS NOT NULL OR data.person.permanent_permit IS NOT NULL
           OR (data.person IS NOT NULL AND type <> 'lampit.register.v1')
           OR coalesce(data.in_opening, false) OR coalesce(data.stillborn, false)
           OR coalesce(data.already_registered, false) AS says_more
FROM ({records}) WHERE forwardedfrom IS NULL
"""
_THOSE: Final = "subject IN (SELECT subject FROM query_table(people))"


@contextmanager
def opened(
    events: Events, regions: Path, region_changes: Path | None, machine: Machine
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the views above and the region tables.

    All but segments is parsed once, into a table.
    """
    with (
        tempfile.TemporaryDirectory(dir=machine.spill) as folder,
        connected(regions, region_changes, machine) as connection,
    ):
        segments, others = _sources(connection, events, Path(folder))
        connection.execute(f"CREATE TEMP TABLE read_record AS {others}")
        _define(connection, "FROM read_record", segments)
        yield connection


def _define(connection: duckdb.DuckDBPyConnection, records: str, segments: str | None) -> None:
    """The views, of parsed records and of the segments in a list of SQL."""
    every, those = [records], [f"{records} WHERE subject IS NULL OR {_THOSE}"]
    brief = [_BRIEF.format(records=records)]
    if segments is not None:
        whole = _whole("raw_value", "BLOB", segments)
        every += [sql_segments.records(segments, json.dumps(_DATA)), whole]
        those += [
            sql_segments.records(segments, json.dumps(_DATA), f" AND {_THOSE}"),
            f"FROM ({whole}) WHERE subject IS NULL OR {_THOSE}",
        ]
        brief += [sql_segments.brief(segments), _BRIEF.format(records=whole)]
    connection.execute(f"CREATE TEMP VIEW ledger_record AS {' UNION ALL '.join(every)}")
    connection.execute(f"CREATE TEMP MACRO records_of(people) AS TABLE {' UNION ALL '.join(those)}")
    connection.execute(f"CREATE TEMP VIEW brief_record AS {' UNION ALL '.join(brief)}")


def _sources(connection: duckdb.DuckDBPyConnection, events: Events, folder: Path) -> tuple[str | None, str]:
    """The segments of an archive among the files, as a list of SQL, and a query for all other records."""
    if isinstance(events, Path):
        events = _files(events)
    elif not isinstance(events, Sequence) or not all(isinstance(one, Path) for one in events) or not events:
        events = [_written(events, folder / "records.ndjson")]  # type: ignore[arg-type]
    files = [file for file in events if isinstance(file, Path)]
    parquet = [file for file in files if file.suffix == ".parquet"]
    lines = [file for file in files if file.suffix != ".parquet"]
    sources, segments = [], None
    if parquet:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(parquet[0])})").fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        if "raw_value" in kinds:
            segments = _list(parquet)
        else:
            sources.append(_whole("value", kinds["value"], _list(parquet)))
    columns = ", ".join(f"{name}: '{_type_name(kind)}'" for name, kind in _RECORD.items())
    if not lines:
        lines = [_written([], folder / "nothing.ndjson")]
    sources.append(
        "SELECT * REPLACE (CAST(time AS TIMESTAMP) AS time)"
        f" FROM read_json({_list(lines)}, format = 'newline_delimited', columns = {{{columns}}})"
    )
    return segments, " UNION ALL ".join(sources)


def _whole(column: str, kind: str, files: str) -> str:
    """Records kept as the text of their JSON, or its bytes."""
    text = f"decode({column})" if kind == "BLOB" else column
    return (
        "SELECT record.* REPLACE (CAST(record.time AS TIMESTAMP) AS time)"
        f" FROM (SELECT from_json({text}, '{json.dumps(_RECORD)}') AS record"
        f" FROM read_parquet({files}) WHERE {column} IS NOT NULL)"
    )


def _files(path: Path) -> list[Path]:
    """The file itself; of a folder its Parquet files, of an archive those of its ledger alone."""
    if not path.is_dir():
        return [path]
    ledger = path / "ledger"
    found = sorted((ledger if ledger.is_dir() else path).rglob("*.parquet"))
    if not found:
        raise FileNotFoundError(f"there is no Parquet file in {path}: name a folder of ledger segments")
    return found


def _type_name(kind: _Kind) -> str:
    """The name of a type; a mapping is a STRUCT."""
    if isinstance(kind, str):
        return kind
    return "STRUCT(" + ", ".join(f'"{name}" {_type_name(inner)}' for name, inner in kind.items()) + ")"


def _written(events: Iterable[tuple[str | None, bytes]], path: Path) -> Path:
    """The records one a line, for DuckDB's own reader; a line feed outside a text is white space in JSON."""
    with path.open("wb") as file:
        file.writelines(record.replace(b"\n", b" ") + b"\n" for _, record in events)
    return path


def _list(paths: Iterable[Path]) -> str:
    return "[" + ", ".join(quoted(path) for path in paths) + "]"
