"""Region codes through time in SQL (lampit/audit/regions.sql) beside the core's, over the whole reference that ships."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import duckdb
import pytest

from lampit import reference
from lampit.audit.sql_input import opened
from lampit.audit.sql_regions import Machine

DECREES = [date.fromisoformat(day) for day in ("2019-10-08", "2020-12-21", "2022-02-14", "2022-11-09", "2025-04-25")]
DAYS = [DECREES[0] - timedelta(days=1), *DECREES]


@pytest.fixture(scope="module")
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    data: Path = reference.DATA
    with opened([], data / "regions", data / "region_changes.csv", Machine()) as opened_connection:
        yield opened_connection


def test_every_code_of_every_era_is_the_same_place_for_both(connection: duckdb.DuckDBPyConnection) -> None:
    """Resolved on each day, and the code that each place has on each day."""
    codes = {code for (code,) in connection.execute("SELECT code FROM in_force").fetchall()}
    assert len(codes) > 14_000
    resolved = {
        (code, era): place
        for code, era, place in connection.execute("SELECT code, era, place FROM place_of").fetchall()
    }
    code_then = {
        (place, era): code
        for place, era, code in connection.execute("SELECT place, era, code FROM code_then").fetchall()
    }
    now = {(place, era): then for place, era, then in connection.execute("FROM place_then").fetchall()}
    places = reference.load().places
    found = set()
    for era, day in enumerate(DAYS):
        for code in codes:
            place = resolved.get((code, era), code)
            assert places.at(code, day.toordinal()) == place, (code, day)
            found.add(place)
    for era, day in enumerate(DAYS):
        for place in found:
            assert places.code(place, day.toordinal()) == code_then.get((place, era), place), (place, day)
            assert places.same(place, now.get((place, era), place), day.toordinal()), (place, day)


def test_names_of_codes_that_were_renamed(connection: duckdb.DuckDBPyConnection) -> None:
    """Mamuju Utara is Pasangkayu since 2019; Nabire has its code of 2022 from Papua Tengah, and under it no older name."""
    names = dict(
        ((code, era), name)
        for code, era, name in connection.execute("SELECT code, era, name FROM name_then").fetchall()
    )
    assert names["76.01", 0] == "Kabupaten Mamuju Utara"
    assert names["76.01", 1] == "Kabupaten Pasangkayu"
    known = reference.load()
    for (code, era), name in names.items():
        assert known.name(code, DAYS[era].toordinal()) == name, (code, era)
