"""Runs count.sql, the second count of the contract, over ledger records.

In: accepted ledger records (an iterable of (person id, record as JSON), or a file of them: NDJSON as it is, Parquet with
a column `value` that holds the record), the day, the settings that change figures and the region reference.
Out: coverage records and anomalies, as plain values. What is counted, and why, is said in count.sql; nothing is counted
here. Called by the audit commands and by the tests that compare the two counts.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

import duckdb

Events: TypeAlias = Path | Iterable[tuple[str | None, bytes]]
_Kind: TypeAlias = "str | Mapping[str, Any]"

COUNT_SQL: Final = Path(__file__).with_name("count.sql")
REGION_FILES: Final = ("provinces.csv", "regencies.csv", "districts.csv", "villages.csv")

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
    "subject": "VARCHAR", "source": "VARCHAR", "id": "VARCHAR", "type": "VARCHAR", "time": "VARCHAR",
    "forwardedfrom": "VARCHAR", "data": _DATA,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class CountSettings:
    """The settings that change figures (contract section 2)."""

    transit_expiry_days: int | None = None
    leap_birthday: Literal["mar1", "feb28"] = "mar1"
    stale_after_days: int = 90


@dataclass(frozen=True, slots=True)
class SqlCount:
    """Coverage records sorted by region, and anomalies sorted by person, source, id and kind."""

    regions: list[dict[str, Any]]
    anomalies: list[dict[str, Any]]


def sql_count(
    events: Events,
    *,
    as_of: date,
    regions: Path,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    threads: int | None = None,
    memory_limit: str | None = None,
) -> SqlCount:
    """The figures of every region at the end of `as_of`, and the anomalies.

    `regions` is a folder with provinces.csv, regencies.csv, districts.csv and villages.csv; with `region_changes` a
    code that a decree begins or ends is known only while it is valid, without it every code of the reference is.
    """
    # What the reader needs is built in; an audit never reaches out to a network.
    config: dict[str, str | bool | int | float | list[str]] = {"autoinstall_known_extensions": False}
    if threads is not None:
        config["threads"] = threads
    if memory_limit is not None:
        config["memory_limit"] = memory_limit
    with tempfile.TemporaryDirectory() as folder, duckdb.connect(config=config) as connection:
        connection.execute(f"SET temp_directory = {_quoted(Path(folder) / 'spill')}")
        _load_events(connection, events, Path(folder))
        _load_reference(connection, regions, region_changes)
        _set_variables(connection, as_of, settings or CountSettings())
        connection.execute(COUNT_SQL.read_text(encoding="utf-8"))
        return SqlCount(regions=_coverage(connection), anomalies=_anomalies(connection))


def _load_events(connection: duckdb.DuckDBPyConnection, events: Events, folder: Path) -> None:
    """The view ledger_record."""
    if isinstance(events, Path) and events.suffix == ".parquet":
        value_type = connection.execute(f"SELECT typeof(value) FROM read_parquet({_quoted(events)}) LIMIT 1").fetchone()
        text = "decode(value)" if value_type == ("BLOB",) else "value"
        source = (
            f"SELECT record.* FROM (SELECT from_json({text}, '{json.dumps(_RECORD)}') AS record"
            f" FROM read_parquet({_quoted(events)}))"
        )
    else:
        if not isinstance(events, Path):
            events = _written(events, folder / "records.ndjson")
        columns = ", ".join(f"{name}: '{_type_name(kind)}'" for name, kind in _RECORD.items())
        source = f"FROM read_json({_quoted(events)}, format = 'newline_delimited', columns = {{{columns}}})"
    connection.execute(f"CREATE TEMP VIEW ledger_record AS {source}")


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


def _load_reference(connection: duckdb.DuckDBPyConnection, regions: Path, region_changes: Path | None) -> None:
    """The tables region_reference (code, name) and region_change."""
    files = " UNION ALL ".join(
        f"SELECT code, name FROM read_csv({_quoted(regions / name)}, header = true, all_varchar = true)"
        for name in REGION_FILES
    )
    connection.execute(f"CREATE TEMP TABLE region_reference AS {files}")
    connection.execute(
        "CREATE TEMP TABLE region_change (effective_on DATE, kind VARCHAR, old_code VARCHAR, new_code VARCHAR)"
    )
    if region_changes is not None:
        connection.execute(
            "INSERT INTO region_change SELECT CAST(effective_on AS DATE), kind, old_code, new_code"
            f" FROM read_csv({_quoted(region_changes)}, header = true, all_varchar = true, quote = '\"')"
        )


def _set_variables(connection: duckdb.DuckDBPyConnection, as_of: date, settings: CountSettings) -> None:
    connection.execute("SET VARIABLE as_of = $1::DATE", [as_of])
    connection.execute("SET VARIABLE transit_expiry_days = $1::INTEGER", [settings.transit_expiry_days])
    connection.execute("SET VARIABLE leap_birthday = $1::VARCHAR", [settings.leap_birthday])
    connection.execute("SET VARIABLE stale_after_days = $1::INTEGER", [settings.stale_after_days])


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


def _coverage(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    result = connection.execute("SELECT * REPLACE (CAST(as_of AS VARCHAR) AS as_of) FROM coverage ORDER BY region")
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _anomalies(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    rows = connection.execute(
        "SELECT subject, source, id, kind FROM anomaly ORDER BY subject NULLS FIRST, source, id, kind"
    ).fetchall()
    return [
        {"subject": subject, "event": {"source": source, "id": id_}, "kind": kind}
        for subject, source, id_, kind in rows
    ]
