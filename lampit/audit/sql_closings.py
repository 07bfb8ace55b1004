"""Runs flows.sql, closings.sql and delays.sql: flows, monthly closings and reporting delays by the second count.

In: accepted ledger records (`sql_input.Events`), days or a period, settings, the region reference. Out: plain records; those of
`sql_closings` are the records of schemas/closing.py without what only the live system knows (known_day, epoch, position). What
is counted, and why, is said in the SQL files and in docs/decisions/0006. Called by the audit, `lampit report` and tests.
"""

from __future__ import annotations

from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

import duckdb

from lampit.audit.sql_count import CountSettings, count_day, rows, run
from lampit.audit.sql_input import Events, opened
from lampit.audit.sql_regions import Machine

_DAY: Final = timedelta(days=1)


def sql_flows(
    events: Events,
    *,
    first_day: date,
    last_day: date,
    regions: Path,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    machine: Machine | None = None,
) -> list[dict[str, Any]]:
    """What flowed in every region on each day of `first_day` to `last_day`, by both datings.

    Records {region, level, day, dating, kind, M, F, unknown}, sorted, without rows of zeros. Corrections are not among them:
    they are what a change of the stock leaves over, in `sql_closings`.
    """
    with opened(events, regions, region_changes, machine or Machine()) as connection:
        _flow(connection, first_day, last_day, settings or CountSettings())
        return rows(
            connection,
            "SELECT * REPLACE (CAST(day AS VARCHAR) AS day) FROM flow_of_days ORDER BY region, dating, day, kind",
        )


def sql_closings(
    events: Events,
    *,
    period: str,
    regions: Path,
    closing_day: int = 28,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    machine: Machine | None = None,
) -> list[dict[str, Any]]:
    """The closings of every region for one period ("2019-03" is (28 Feb, 28 Mar] by default), with everything known.

    Records of the shape of schemas/closing.py, sorted by region; revision 0, no difference.
    """
    opened_on, closed_on = period_days(period, closing_day)
    chosen = settings or CountSettings()
    with opened(events, regions, region_changes, machine or Machine()) as connection:
        connection.execute("SET VARIABLE opened_on = $1::DATE", [opened_on])
        connection.execute("SET VARIABLE closed_on = $1::DATE", [closed_on])
        _flow(connection, opened_on + _DAY, closed_on, chosen)
        connection.execute(
            "CREATE TEMP TABLE flow_of_period AS SELECT region, dating, kind, sum(M) AS M, sum(F) AS F,"
            " sum(unknown) AS unknown FROM flow_of_days GROUP BY ALL"
        )
        _stocks(connection, opened_on, closed_on, chosen)
        run(connection, "closings.sql")
        found = rows(connection, "FROM closing ORDER BY region")
    return [record | {"revision": 0, "difference": None} for record in found]


def sql_delays(
    events: Events,
    *,
    first_day: date,
    last_day: date,
    regions: Path,
    region_changes: Path | None = None,
    settings: CountSettings | None = None,
    machine: Machine | None = None,
) -> list[dict[str, Any]]:
    """How many days passed between what flowed on `first_day` to `last_day`, by either dating, and its registration.

    Records {region, level, dating, kind, flows, median_days, ninetieth_days}, sorted, by the codes of `last_day`. The law gives
    60 days for a birth, 30 for a death and 14 for an arrival from abroad.
    """
    with opened(events, regions, region_changes, machine or Machine()) as connection:
        count_day(connection, last_day, settings or CountSettings(), flows_from=first_day)
        run(connection, "flows.sql")
        run(connection, "delays.sql")
        return rows(connection, "FROM delay ORDER BY region, dating, kind")


def period_days(period: str, closing_day: int = 28) -> tuple[date, date]:
    """The cut-offs of a period named by the month in which it ends: the period begins after the first one."""
    year, month = (int(part) for part in period.split("-"))
    before = (year - 1, 12) if month == 1 else (year, month - 1)
    return date(*before, closing_day), date(year, month, closing_day)


def _flow(connection: duckdb.DuckDBPyConnection, first_day: date, last_day: date, settings: CountSettings) -> None:
    """The table flow_of_days; afterwards count.sql reads the same records as before."""
    count_day(connection, last_day, settings, flows_from=first_day)
    run(connection, "flows.sql")
    connection.execute("CREATE TEMP TABLE flow_of_days AS FROM flow")
    # 17th birthdays by report date: the same once more, of what was known on each.
    connection.execute("CREATE TEMP TABLE known_by_record AS FROM known_by")
    connection.execute("ALTER VIEW ledger_record RENAME TO whole_ledger_record")
    connection.execute("CREATE TEMP VIEW ledger_record AS FROM known_by_record")
    count_day(connection, last_day, settings, flows_from=first_day)
    run(connection, "flows.sql")
    connection.execute(
        "INSERT INTO flow_of_days SELECT * REPLACE ('report' AS dating) FROM flow"
        " WHERE kind = 'turned_17' AND dating = 'event'"
    )
    connection.execute("DROP VIEW ledger_record")
    connection.execute("ALTER VIEW whole_ledger_record RENAME TO ledger_record")


def _stocks(connection: duckdb.DuckDBPyConnection, opened_on: date, closed_on: date, settings: CountSettings) -> None:
    """The table stock, of four counts; the last is that of the closing by event date, whose tables remain."""
    create = "CREATE TEMP TABLE stock AS"
    for dating, moment, day in (
        ("report", "opening", opened_on),
        ("report", "closing", closed_on),
        ("event", "opening", opened_on),
        ("event", "closing", closed_on),
    ):
        count_day(connection, day, settings, hierarchy_of=closed_on, reported_by=day if dating == "report" else None)
        connection.execute(f"{create} SELECT '{dating}' AS dating, '{moment}' AS moment, * FROM coverage")
        create = "INSERT INTO stock"
