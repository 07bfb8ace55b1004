"""What has to hold of everything on `lampit.closings`.

In: all records published, in order, and the counting engine with the events of a barrier. Called by the property tests and
those on brokers.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from stream.closing import DATINGS, check, content
from stream.engine import Engine
from stream.rules import Rules

Json = dict[str, Any]


def assert_revisions(published: list[Json]) -> None:
    """Numbered by rank, each of a later day than the one before; nothing twice."""
    newest: dict[tuple[str, str], Json] = {}
    for record in published:
        check(record)
        before = newest.get((record["region"], record["period"]))
        assert record["revision"] == (0 if before is None else before["revision"] + 1)
        assert (record["difference"] is None) == (before is None)
        assert before is None or before["known_day"] < record["known_day"]
        newest[record["region"], record["period"]] = record


def assert_known(published: list[Json], known_day: date, engine: Engine, rules: Rules) -> None:
    """The newest closings up to a known day are those of the engine, which has the events before its barrier."""
    periods = rules.periods
    assert periods is not None
    newest = {
        (record["region"], record["period"]): record
        for record in published
        if record["known_day"] <= known_day.isoformat()
    }
    names = [periods.period(index).name for index in range(periods.last_ended(known_day.toordinal()) + 1)]
    for name, records in engine.closings(periods, names).items():
        for record in records:
            live = newest.pop((record["region"], name), None)
            if live is None:
                assert is_empty(record), record["region"]
            else:
                assert content(live) == content(record), (
                    known_day.isoformat(),
                    record["region"],
                    name,
                    _other(live, record),
                )
    assert all(is_empty(record) for record in newest.values())


def _other(live: Json, record: Json) -> list[str]:
    """What one says otherwise than the other."""
    return [
        f"{dating} {part} {name}: {live[dating][part][name]} / {counts}"
        for dating in DATINGS
        for part in ("opening", "flows", "closing")
        for name, counts in record[dating][part].items()
        if live[dating][part][name] != counts
    ]


def is_empty(record: Json) -> bool:
    """A region of which nobody was counted: nothing but zeros, or nothing known."""
    return not any(
        count
        for dating in DATINGS
        for part in ("opening", "flows", "closing")
        for counts in record[dating][part].values()
        for count in counts.values()
    )
