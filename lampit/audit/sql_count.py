"""Runs count.sql, the second count of the contract, over ledger records.

In: accepted ledger records (`sql_input.Events`), the day, the settings that change figures and the region reference.
Out: coverage records and anomalies, as plain values. What is counted, and why, is said in count.sql; nothing is counted
here. Called by the audit commands and by the tests that compare the two counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final, Literal

import duckdb

from lampit.audit.sql_input import Events, opened
from lampit.audit.sql_regions import Machine

SQL: Final = Path(__file__).parent


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
    hierarchy_of: date | None = None,
    regions: Path,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    machine: Machine | None = None,
    plain_apart: bool = True,
) -> SqlCount:
    """The figures of every region at the end of `as_of`, under its codes or those of `hierarchy_of`, and the anomalies.

    `regions` is a folder with provinces.csv, regencies.csv, districts.csv and villages.csv; without `region_changes` the
    codes of the reference are those of every day.
    """
    (counted,) = sql_counts(
        events,
        days=[(as_of, hierarchy_of or as_of)],
        regions=regions,
        region_changes=region_changes,
        settings=settings,
        machine=machine,
        plain_apart=plain_apart,
    )
    return counted


def sql_counts(
    events: Events,
    *,
    days: Sequence[tuple[date, date]],
    regions: Path,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    machine: Machine | None = None,
    plain_apart: bool = True,
) -> list[SqlCount]:
    """The same for several days, each with the day whose region codes are used.

    `plain_apart`: whether people whose life is plain are counted by the short way of count.sql's first section, or like all
    others; it changes the time that takes, and nothing else.
    """
    counts = []
    with opened(events, regions, region_changes, machine or Machine()) as connection:
        for as_of, hierarchy_of in days:
            count_day(
                connection, as_of, settings or CountSettings(), hierarchy_of=hierarchy_of, plain_apart=plain_apart
            )
            run(connection, "anomalies.sql")
            counts.append(SqlCount(regions=_coverage(connection), anomalies=_anomalies(connection)))
    return counts


def count_day(
    connection: duckdb.DuckDBPyConnection,
    as_of: date,
    settings: CountSettings,
    *,
    hierarchy_of: date | None = None,
    reported_by: date | None = None,
    flows_from: date | None = None,
    plain_apart: bool = False,
) -> None:
    """Run count.sql: under the region codes of `hierarchy_of` (`as_of`), of what had been reported by the end of
    `reported_by` (everything), and ready for flows from a day on. Neither of these can be asked with `plain_apart`.
    """
    variables = {
        "as_of": ("DATE", as_of),
        "hierarchy_of": ("DATE", hierarchy_of or as_of),
        "reported_by": ("DATE", reported_by),
        "flows_from": ("DATE", flows_from),
        "transit_expiry_days": ("INTEGER", settings.transit_expiry_days),
        "leap_birthday": ("VARCHAR", settings.leap_birthday),
        "stale_after_days": ("INTEGER", settings.stale_after_days),
        "plain_apart": ("BOOLEAN", plain_apart),
    }
    for name, (kind, value) in variables.items():
        connection.execute(f"SET VARIABLE {name} = $1::{kind}", [value])
    run(connection, "count.sql")


def run(connection: duckdb.DuckDBPyConnection, file: str) -> None:
    """Run one of the SQL files beside this module."""
    connection.execute((SQL / file).read_text(encoding="utf-8"))


def rows(connection: duckdb.DuckDBPyConnection, query: str) -> list[dict[str, Any]]:
    """The rows of a query as plain records."""
    result = connection.execute(query)
    names = [column[0] for column in result.description]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


def _coverage(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    return rows(connection, "SELECT * REPLACE (CAST(as_of AS VARCHAR) AS as_of) FROM coverage ORDER BY region")


def _anomalies(connection: duckdb.DuckDBPyConnection) -> list[dict[str, Any]]:
    found = connection.execute(
        "SELECT subject, source, id, kind FROM anomaly ORDER BY subject NULLS FIRST, source, id, kind"
    ).fetchall()
    return [
        {"subject": subject, "event": {"source": source, "id": id_}, "kind": kind}
        for subject, source, id_, kind in found
    ]
