"""What the second count reads, given to DuckDB: accepted events, beside the region tables of `sql_regions`.

In: ledger records (an iterable of (person id, record as JSON), or files of them: NDJSON as it is, Parquet with a column
`value` that holds the record as text or bytes, segments of an archive, a folder of either). Out: the table
`ledger_record`. Nothing is judged here: control records and copies are left out by count.sql. Called by `sql_count` and
`sql_closings`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, TypeAlias

import duckdb

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


@contextmanager
def opened(
    events: Events, regions: Path, region_changes: Path | None, machine: Machine
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with `ledger_record`, `region_reference` and `region_change`.

    The events are parsed once, into a table.
    """
    with (
        tempfile.TemporaryDirectory(dir=machine.spill) as folder,
        connected(regions, region_changes, machine) as connection,
    ):
        connection.execute(f"CREATE TEMP TABLE ledger_record AS {_source(connection, events, Path(folder))}")
        yield connection


def _source(connection: duckdb.DuckDBPyConnection, events: Events, folder: Path) -> str:
    """A query for the records."""
    if isinstance(events, Path):
        events = _files(events)
    elif not isinstance(events, Sequence) or not all(isinstance(one, Path) for one in events) or not events:
        events = [_written(events, folder / "records.ndjson")]  # type: ignore[arg-type]
    files = [file for file in events if isinstance(file, Path)]
    parquet = [file for file in files if file.suffix == ".parquet"]
    lines = [file for file in files if file.suffix != ".parquet"]
    sources = []
    if parquet:
        described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({quoted(parquet[0])})").fetchall()
        kinds = {name: kind for name, kind, *_ in described}
        sources += _segments(parquet) if "raw_value" in kinds else [_whole("value", kinds["value"], parquet)]
    if lines:
        columns = ", ".join(f"{name}: '{_type_name(kind)}'" for name, kind in _RECORD.items())
        sources.append(
            "SELECT * REPLACE (CAST(time AS TIMESTAMP) AS time)"
            f" FROM read_json({_list(lines)}, format = 'newline_delimited', columns = {{{columns}}})"
        )
    return " UNION ALL ".join(sources)


def _whole(column: str, kind: str, files: list[Path]) -> str:
    """Records kept as the text of their JSON, or its bytes."""
    text = f"decode({column})" if kind == "BLOB" else column
    return (
        "SELECT record.* REPLACE (CAST(record.time AS TIMESTAMP) AS time)"
        f" FROM (SELECT from_json({text}, '{json.dumps(_RECORD)}') AS record"
        f" FROM read_parquet({_list(files)}) WHERE {column} IS NOT NULL)"
    )


def _segments(files: list[Path]) -> list[str]:
    """Records of an archive (docs/decisions/0010): most are taken apart, and only what is left of `data` is JSON to parse.

    A text that stood in the record is still as JSON writes it. A copy under another person id is never taken apart.
    """
    plain = "CASE WHEN contains({0}, '\\') THEN json_extract_string('\"' || {0} || '\"', '$') ELSE {0} END"
    data = f"""from_json(CASE WHEN rest = '}}}}' THEN '{{}}' ELSE '{{' || rest[2:-2] END, '{json.dumps(_DATA)}')"""
    apart = (
        f"SELECT subject, CAST(NULL AS VARCHAR) AS forwardedfrom, {plain.format('source')} AS source,"
        f" {plain.format('id')} AS id, type, time,"
        f" struct_update({data}, occurred_on := occurred_on, region := coalesce(region, {data}.region)) AS data"
        f" FROM read_parquet({_list(files)}) WHERE raw_value IS NULL"
    )
    return [apart, _whole("raw_value", "BLOB", files)]


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
