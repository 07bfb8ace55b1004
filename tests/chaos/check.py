"""What has to hold after every fault, against the counting engine of `lampit count` over what was sent.

In: a field that has come to rest, the coverage it gives out. Out: `Findings`, one line a difference; none is right.

| of | is held against |
| --- | --- |
| acknowledged | every record that a producer was told is stored is in the intake topics, as it was sent |
| codecs | on the brokers' disks the intake topics have batches of every codec |
| taken in | every record in the intake topics is in the ledger (by person, source and id) or among the rejects (by origin) |
| coverage | the engine's figures of every region, on the last day |
| anomalies | the engine's list of every person |
| closings | the engine's of every period and day that turned, revisions numbered by rank |
| positions | of each region on `lampit.coverage`, and of each partition's heads: they only grow |
| page | what the active roll-up shows is what it published |
| ready | every worker says so again |

Where there is nothing to compare, that is a difference too: of all of these there are some in every run.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any, Final

from agents.topics import ANOMALIES, CLOSINGS, COVERAGE, INTAKE_TOPICS, LEDGER, PARTIALS, REJECTED
from stream.admission import Admitted, admit
from stream.closing import check as check_closing
from stream.ledger import ControlRecord, Day, decode_record
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY
from tests.broker.test_closings import _closed, _counted_before
from tests.chaos.field import DAYS, Field
from tests.chaos.flow import CODECS
from tests.closings import assert_known, assert_revisions
from tests.live import KEY, compare, engine_of, rules_of

LAST_KNOWN: Final = DAYS[-1] - timedelta(days=1)


@dataclass
class Findings:
    """Lines by what they are of; regions: how many were compared, wrong_regions: those with a difference."""

    lines: dict[str, list[str]] = field(default_factory=dict)
    regions: int = 0
    wrong_regions: int = 0
    closings: int = 0
    events: int = 0
    rejected: int = 0
    anomalies: int = 0

    def add(self, name: str, lines: list[str]) -> None:
        """Note what was found of one thing."""
        if lines:
            self.lines.setdefault(name, []).extend(lines)

    @property
    def all(self) -> list[str]:
        """Every line, with what it is of."""
        return [f"{name}: {line}" for name, lines in self.lines.items() for line in lines]


def check(live: Field, coverage: dict[str, Any]) -> Findings:
    """Everything above."""
    found = Findings()
    engine = engine_of(live.sent, rules_of(live.settings))
    counted = engine.count(DAYS[-1])
    expected = {record["region"]: record for record in counted.regions}
    wrong = compare(expected, coverage)
    found.regions = len(expected.keys() | coverage.keys())
    found.wrong_regions = len({line.split()[0] for line in wrong})
    found.add("coverage", wrong)
    found.add("anomalies", _anomalies(live, counted.anomalies))
    _taken_in(live, found)
    found.add("positions", _positions(live))
    live.wait_until(lambda: _closed(live) == LAST_KNOWN.isoformat(), f"the closings of {LAST_KNOWN}")
    _closings(live, found, days_turned(live, DAYS[-1]))
    missing = set(CODECS) - live.cluster.codecs(INTAKE_TOPICS)
    found.add("codecs", [f"no batch in the intake topics is of {sorted(map(str, missing))}"] if missing else [])
    _pages(live, found)
    found.anomalies = sum(anomaly.subject is not None for anomaly in counted.anomalies)
    nothing = [name for name in ("regions", "closings", "events", "rejected", "anomalies") if not getattr(found, name)]
    found.add("nothing", [f"there are no {name} to compare" for name in nothing])
    return found


def days_turned(live: Any, last: date) -> set[date]:
    """The days that turned, by the ledger; not those behind the last one, which were refused."""
    found = set()
    for record in live.read(LEDGER, live.partitions):
        decoded = decode_record(record.value)
        if isinstance(decoded, ControlRecord) and isinstance(decoded.control, Day):
            found.add(date.fromordinal(decoded.control.day))
    return {day for day in found if day <= last}


def _anomalies(live: Field, expected: Any) -> list[str]:
    lists: dict[str, set[tuple[str, str, str]]] = {}
    for anomaly in expected:
        if anomaly.subject is not None:
            lists.setdefault(anomaly.subject, set()).add((anomaly.source, anomaly.id, anomaly.kind))
    given_out = {}
    for record in live.read(ANOMALIES, live.partitions, whole=True):
        value = json.loads(record.value)
        given_out[record.key.decode()] = {
            (one["event"]["source"], one["event"]["id"], one["kind"]) for one in value["anomalies"]
        }
    return [
        f"{subject}: expected {sorted(lists.get(subject, ()))}, live {sorted(given_out.get(subject, ()))}"
        for subject in sorted(lists.keys() | given_out.keys())
        if lists.get(subject, set()) != given_out.get(subject, set())
    ]


def _taken_in(live: Field, found: Findings) -> None:
    """Acknowledged, and from intake to ledger or rejects."""
    pseudonymise = Pseudonymiser(KEY.encode())
    stored = {(record.topic, record.partition, record.offset): record.value for record in live.intake_records()}
    acknowledged = {place: payload for flow in live.flows for place, payload in flow.acknowledged.items()}
    lost = [f"{place} is not as it was sent" for place, payload in acknowledged.items() if stored.get(place) != payload]
    found.add("acknowledged", lost)
    sent = sum(len(flow.sent) for flow in live.flows)
    found.add("acknowledged", [f"of {sent} records only {len(acknowledged)}"] if len(acknowledged) < sent else [])
    accepted, refused = set(), {}
    for (topic, partition, offset), payload in stored.items():
        admitted = admit(payload, pseudonymise)
        if isinstance(admitted, Admitted):
            accepted.add((admitted.subject, admitted.event.source, admitted.event.id))
        else:
            refused[f"{topic}|{partition}|{offset}"] = (admitted.reason.value, admitted.pointer)
    in_ledger = set()
    for record in live.read(LEDGER, live.partitions):
        decoded = decode_record(record.value)
        if not isinstance(decoded, ControlRecord) and decoded.forwarded_from is None:
            in_ledger.add((decoded.subject, decoded.event.source, decoded.event.id))
    found.events, found.rejected = len(accepted), len(refused)
    found.add("ledger", [f"{event[1:]} is missing" for event in accepted - in_ledger])
    found.add("ledger", [f"{event[1:]} was never sent" for event in in_ledger - accepted])
    told = {}
    for record in live.read(REJECTED):
        value = json.loads(record.value)
        told[record.key.decode()] = (value["reason"], value["pointer"])
    differing = sorted(origin for origin in refused.keys() | told.keys() if refused.get(origin) != told.get(origin))
    found.add("rejected", [f"{one}: expected {refused.get(one)}, live {told.get(one)}" for one in differing])


def _positions(live: Field) -> list[str]:
    lines = []
    reached: dict[tuple[str, str, bool], tuple[int, int]] = {}

    def follow(record: Any, name: str, partition: str, stamp: tuple[int, int]) -> None:
        is_renumbered = record.topic in live.renumbered and record.offset >= live.renumbered[record.topic]
        before = reached.get((name, partition, is_renumbered), stamp)
        if stamp < before:
            lines.append(f"{name} went back from {before} to {stamp} in partition {partition}")
        reached[name, partition, is_renumbered] = stamp

    for record in live.read(COVERAGE):
        value = json.loads(record.value)
        for partition, offset in value["position"].items():
            follow(record, value["region"], partition, (value["epoch"], offset))
    for record in live.read(PARTIALS):
        if record.key.startswith(b"head|") and record.value is not None:
            value = json.loads(record.value)
            follow(record, "the head", record.key.decode(), (value["epoch"], value["offset"]))
    return lines


def _closings(live: Any, found: Findings, turned: set[date]) -> None:
    """Every closing is the engine's over the ledger before its barrier, and none that the engine has is missing."""
    records = [json.loads(record.value) for record in live.read(CLOSINGS)]
    found.closings = len(records)
    keys = {(record["region"], record["period"], record["known_day"]) for record in records}
    if len(keys) != len(records):
        found.add("closings", [f"{len(records) - len(keys)} are there twice"])
    try:
        for record in records:
            check_closing(record)
        assert_revisions(records)
        rules = rules_of(live.settings)
        known_days = {date.fromisoformat(record["known_day"]) for record in records}
        for on in sorted(known_days | {day - timedelta(days=1) for day in turned}):
            engine, _ = _counted_before(live, on + timedelta(days=1), rules)
            assert_known(records, on, engine, rules)
    except AssertionError as error:
        found.add("closings", [f"{type(error).__name__} {str(error)[:300]}"])


def _pages(live: Field, found: Findings) -> None:
    """Ready again, and showing what is published."""
    running = [name for name in live.current if name not in live.down]
    workers = [name for name in running if not name.startswith("rollup")]
    live.wait_until(lambda: all(live.is_ready(name) for name in workers), f"{workers} to be ready")
    active = live.active_rollup()

    def is_shown() -> bool:
        # Read again each time: a record that is on its way while all are ready moves what is published once more.
        published = live.coverage()[COUNTRY]
        page = live.answered(active, f"/api/coverage/{COUNTRY}")
        return page is not None and {name: page.get(name) for name in published} == published

    wait_for_page: Callable[[], bool] = is_shown
    live.wait_until(wait_for_page, "the page to show what is published")
