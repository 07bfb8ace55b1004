"""What has to hold in the end, against the engine of `lampit count` over what was sent; and when the end is.

In: a world. Out: `at_rest`, and `findings`, one line a difference; none is right. Judged like the chaos suite's real clusters
(tests/chaos/check.py), with what compaction took away read too: taken in, coverage of every region, anomalies, closings and
their revisions, positions that only grow. More than there: a closing stands once, with the same content.
"""

from __future__ import annotations

import json
from datetime import date, timedelta
from typing import Any

from agents.topics import CLOSINGS, COVERAGE, LEDGER, PARTIALS
from lampit import reference
from stream.admission import Admitted, admit
from stream.closing import check as check_closing
from stream.engine import Engine
from stream.events import NikChange
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY
from stream.rules import Rules
from tests.broker.test_closings import _counted_before
from tests.chaos import check
from tests.closings import assert_known, assert_revisions
from tests.live import KEY, compare
from tests.simulation.world import FIRST_PERIOD, World


class Reader:
    """The topics of a world, for checks that were written for a cluster."""

    def __init__(self, world: World) -> None:
        """All committed records, also those compacted away."""
        self._world = world
        self.partitions = world.partitions
        self.settings = {"LAMPIT_FIRST_PERIOD": FIRST_PERIOD}
        self.flows: tuple[Any, ...] = ()
        self.renumbered: dict[str, int] = {}

    def read(self, topic: str, partitions: int = 1, *, whole: bool = False) -> list[Any]:
        """By partition and offset; whole, as on a cluster: nothing is open in a world at rest."""
        logs = [self._world.broker.log(topic, number) for number in range(partitions)]
        return [record for log in logs for record in log.committed(0, everything=True)]

    def intake_records(self) -> list[Any]:
        """Everything that was sent."""
        return [
            record for log in self._world.broker.logs.values() if "intake" in log.topic for record in log.committed(0)
        ]


def at_rest(world: World, day: int) -> str | None:
    """What is still missing on one of the world's days, or None; with the last day (-1) also its closings."""
    reader = Reader(world)
    missing = _not_taken_in(world) or _not_counted(world, reader, world.days[day])
    if missing is None and day == -1:
        missing = _not_closed(reader, world.days[-1] - timedelta(days=1))
    return missing or _not_ready(world)


def _not_taken_in(world: World) -> str | None:
    committed = world.broker.committed.get("lampit.intake", {})
    waiting = [
        f"{tp.topic}-{tp.partition}"
        for tp, log in world.broker.logs.items()
        if "intake" in tp.topic and committed.get(tp, 0) < log.end_offset
    ]
    return f"intake has not committed {waiting[:3]}" if waiting else None


def _not_counted(world: World, reader: Reader, day: date) -> str | None:
    ends = dict.fromkeys(range(world.partitions), 0)
    for record in reader.read(LEDGER, world.partitions):
        ends[record.partition] = record.offset + 1
    coverage = {record.key: record.value for record in reader.read(COVERAGE)}.get(COUNTRY.encode())
    if coverage is None:
        return "no coverage of the country"
    country = json.loads(coverage)
    if country["as_of"] != day.isoformat():
        return f"coverage is of {country['as_of']}"
    if any(country["position"].get(str(number), 0) < end for number, end in ends.items()):
        return f"coverage stands at {country['position']}, the ledger at {ends}"
    return None


def _not_closed(reader: Reader, day: date) -> str | None:
    closed = [record.value for record in reader.read(PARTIALS) if record.key == b"closed" and record.value]
    is_closed = bool(closed) and json.loads(closed[-1])["known_day"] == day.isoformat()
    return None if is_closed else f"the closings of {day} are missing"


def _not_ready(world: World) -> str | None:
    """Every process says it is ready; of the roll-ups one, which is the active one."""
    unready = [owner.name for owner in world.running.values() if owner not in world.apps or not _ready(world, owner)]
    rollups = [name for name in unready if name.startswith("rollup")]
    return f"{unready} are not ready" if len(rollups) > 1 or len(unready) > len(rollups) else None


def _ready(world: World, owner: Any) -> bool:
    conditions = world.apps[owner].health.conditions
    return all(holds for holds, _ in conditions.values())


def figures(world: World, day: int) -> list[str]:
    """Differences in coverage and anomalies on one of the world's days."""
    found = check.Findings()
    counted = _engine(world).count(world.days[day])
    live: Any = Reader(world)
    coverage = {record.key.decode(): json.loads(record.value) for record in live.read(COVERAGE)}
    found.add("coverage", compare({record["region"]: record for record in counted.regions}, coverage))
    found.add("anomalies", check._anomalies(live, counted.anomalies))
    return found.all


def findings(world: World) -> list[str]:
    """Every difference in the end, besides those of `figures`."""
    reader = Reader(world)
    found = check.Findings()
    found.add("process", world.defects)
    live: Any = reader
    check._taken_in(live, found)
    found.add("positions", check._positions(live))
    # An epoch shows in the closings of the next day, also of one that it cut short (docs/decisions/0009).
    last_only = world.epoch.is_any or any(isinstance(one.event, NikChange) for one in _admitted(world))
    found.add("closings", _closings(reader, world.rules, last_only=last_only))
    return found.all


def _admitted(world: World) -> list[Admitted]:
    pseudonymise = Pseudonymiser(KEY.encode())
    outcomes = [admit(payload, pseudonymise) for payload in world.sent.values()]
    return [outcome for outcome in outcomes if isinstance(outcome, Admitted)]


def _engine(world: World) -> Engine:
    engine = Engine(world.rules, reference.load())
    for admitted in _admitted(world):
        engine.add(admitted.subject, admitted.event)
    return engine


def _closings(reader: Reader, rules: Rules, *, last_only: bool) -> list[str]:
    """Every closing once, and the engine's over the ledger before its barrier.

    last_only: there are people of several NIKs, whose events may be on their way to another partition as a day turns, or an
    epoch began. The next day's revision puts such a closing right (docs/decisions/0009), so only the last day's are compared.
    """
    newest = {record.key: record.value for record in reader.read(CLOSINGS)}
    live: Any = reader
    lines = [
        f"{record.key.decode()} was given out with other content before"
        for record in reader.read(CLOSINGS)
        if _content(record.value) != _content(newest[record.key])
    ]
    records = [json.loads(value) for value in newest.values()]
    try:
        for record in records:
            check_closing(record)
        assert_revisions(records)
        days = sorted({record["known_day"] for record in records})
        for known in days[-1:] if last_only else days:
            on = date.fromisoformat(known)
            engine, _ = _counted_before(live, on + timedelta(days=1), rules)
            assert_known(records, on, engine, rules)
    except AssertionError as error:
        lines.append(f"{type(error).__name__} {str(error)[:300]}")
    return lines


def _content(value: bytes) -> Any:
    return json.loads(value)
