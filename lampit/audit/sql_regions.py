"""The region tables of the second count: made once in a process, read by every count in it.

In: the reference files, and what DuckDB may use. Out: a connection of its own for each count, that finds the tables
`region_reference` and `region_change` and what regions.sql makes of them; all that a count makes is temporary, and seen by
that connection alone. Making the tables takes longer than counting a few thousand events. Called by `sql_input`.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import duckdb

from lampit.audit.database import OFFLINE

REGIONS_SQL: Final = Path(__file__).with_name("regions.sql")
WORDS_SQL: Final = Path(__file__).with_name("region_words.sql")
REGION_FILES: Final = ("provinces.csv", "regencies.csv", "districts.csv", "villages.csv")


@dataclass(frozen=True, slots=True)
class Machine:
    """What DuckDB may use: threads, memory ("4GiB"; beyond it spills to disk), and where it spills (a temporary folder)."""

    threads: int | None = None
    memory_limit: str | None = None
    spill: Path | None = None


@contextmanager
def connected(regions: Path, region_changes: Path | None, machine: Machine) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection with the region tables and the words of region_words.sql."""
    files = tuple(regions / name for name in REGION_FILES)
    database = _database(files, region_changes, machine, _written(*files, region_changes))
    with database.connection.cursor() as connection:
        # It would go to standard output, between the figures.
        connection.execute("SET enable_progress_bar = false")
        connection.execute(WORDS_SQL.read_text(encoding="utf-8"))
        yield connection


class _Database:
    """A database in memory with the region tables, and the folder to which it spills."""

    def __init__(self, files: tuple[Path, ...], region_changes: Path | None, machine: Machine) -> None:
        config = dict(OFFLINE)
        if machine.threads is not None:
            config["threads"] = machine.threads
        if machine.memory_limit is not None:
            config["memory_limit"] = machine.memory_limit
        self._folder = tempfile.TemporaryDirectory(prefix="lampit-spill-", dir=machine.spill)
        self.connection = duckdb.connect(config=config)
        self.connection.execute(f"SET GLOBAL temp_directory = {quoted(Path(self._folder.name) / 'spill')}")
        # The order of rows carries no meaning here, and keeping it costs memory.
        self.connection.execute("SET GLOBAL preserve_insertion_order = false")
        _load_reference(self.connection, files, region_changes)
        self.connection.execute(REGIONS_SQL.read_text(encoding="utf-8"))


@lru_cache(maxsize=4)
def _database(
    files: tuple[Path, ...], region_changes: Path | None, machine: Machine, written: tuple[tuple[int, int], ...]
) -> _Database:
    """The database of these files; `written` tells files apart that were written anew under their names."""
    return _Database(files, region_changes, machine)


def _written(*files: Path | None) -> tuple[tuple[int, int], ...]:
    """When each file was written, and its size."""
    found = (file.stat() for file in files if file is not None)
    return tuple((one.st_mtime_ns, one.st_size) for one in found)


def _load_reference(
    connection: duckdb.DuckDBPyConnection, files: tuple[Path, ...], region_changes: Path | None
) -> None:
    """The tables region_reference (code, name) and region_change."""
    named = " UNION ALL ".join(
        f"SELECT code, name FROM read_csv({quoted(file)}, header = true, all_varchar = true)" for file in files
    )
    connection.execute(f"CREATE TABLE region_reference AS {named}")
    connection.execute(
        "CREATE TABLE region_change (effective_on DATE, kind VARCHAR, old_code VARCHAR, old_name VARCHAR,"
        " new_code VARCHAR)"
    )
    if region_changes is not None:
        connection.execute(
            "INSERT INTO region_change SELECT CAST(effective_on AS DATE), kind, old_code, old_name, new_code"
            f" FROM read_csv({quoted(region_changes)}, header = true, all_varchar = true, quote = '\"')"
        )


def quoted(path: Path) -> str:
    """A path as a text of SQL."""
    return "'" + str(path).replace("'", "''") + "'"
