"""DuckDB as the audit uses it: nothing over the network, nothing on standard output, a folder of its own to spill to.

In: nothing. Out: a database in memory for one block; the configuration, for those that keep one open. Called by what counts or
compares records of archives.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import duckdb

from lampit.audit.conditions import text

Config = dict[str, str | bool | int | float | list[str]]

OFFLINE: Final[Config] = {"autoinstall_known_extensions": False}
"""An audit never reaches out to a network: what the readers need is built into DuckDB."""


def settle(connection: duckdb.DuckDBPyConnection, folder: Path) -> None:
    """Spill below a folder; leave the order of rows alone, which carries no meaning and costs memory; draw no bar."""
    connection.execute(f"SET temp_directory = {text(folder / 'spill')}")
    connection.execute("SET preserve_insertion_order = false")
    # It would go to standard output, between the figures.
    connection.execute("SET enable_progress_bar = false")


@contextmanager
def in_memory() -> Iterator[duckdb.DuckDBPyConnection]:
    """A database that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="lampit-spill-") as folder, duckdb.connect(config=OFFLINE) as connection:
        settle(connection, Path(folder))
        yield connection
