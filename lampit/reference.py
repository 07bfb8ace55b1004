"""Read the region reference that ships with lampit.

In: the CSV tables in `lampit/data`. Out: `stream.reference.Reference`. Called wherever events are counted or regions named.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator
from datetime import date
from functools import cache
from pathlib import Path

from stream.reference import Reference
from stream.regions import Change

DATA = Path(__file__).parent / "data"

_TABLES = ("provinces", "regencies", "districts", "villages")


@cache
def load(data: Path = DATA) -> Reference:
    """The reference of one data folder: 38 provinces, 514 regencies, 7,285 districts, 83,762 villages, 9,369 changes."""
    files = [data / "regions" / f"{table}.csv" for table in _TABLES]
    changes = data / "region_changes.csv"
    digest = hashlib.sha256()
    for file in (*files, changes):
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    names = {code: name for file in files for code, name in _names(file)}
    return Reference(names, _changes(changes), digest.hexdigest()[:32])


def _changes(file: Path) -> Iterator[Change]:
    for row in _rows(file):
        effective_on = date.fromisoformat(row["effective_on"]).toordinal()
        yield Change(
            effective_on, row["kind"], row["old_code"] or None, row["new_code"] or None, row["old_name"] or None
        )


def _names(file: Path) -> Iterator[tuple[str, str]]:
    """(code, name) of each row; without making a dict of each, because every command begins with this."""
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        code, name = header.index("code"), header.index("name")
        for row in rows:
            yield row[code], row[name]


def _rows(file: Path) -> Iterator[dict[str, str]]:
    with file.open(encoding="utf-8", newline="") as lines:
        rows = csv.reader(lines)
        header = next(rows)
        for row in rows:
            yield dict(zip(header, row, strict=True))
