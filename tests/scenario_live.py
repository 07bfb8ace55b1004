"""Scenarios by the live agents: intake, two ledger workers and the roll-up on a broker, the days turned one after another.

In: scenarios and a broker with transactions. Out: per scenario, one line a difference. Called by `tests/scenario_table.py`.

The stories of a ledger (`tests/scenario_ledgers.py`) come shuffled, with repeats, and then day after day the coverage of the
country must be, in every region that a story's events name, what the counting engine makes of all events at once, and its
people's anomalies must be the story's own.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from kafka import KafkaConsumer, TopicPartition

from agents.topics import ANOMALIES, COVERAGE, REJECTED
from stream.admission import Admitted, admit
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY, TRANSIT, lineage
from tests.brokers import Broker
from tests.live import KEY, Live, compare, engine_of
from tests.scenario_check import rules_of
from tests.scenario_files import Scenario
from tests.scenario_ledgers import Names, Shared, expected_anomalies, own_anomalies

Progress = Callable[[str], None]


def count_live(shared: Shared, broker: Broker, folder: Path, today: date, told: Progress) -> dict[str, list[str]]:
    """Count the stories on a broker without topics; the differences by the name of the scenario, none for equal ones."""
    settings = {f"LAMPIT_{key.upper()}": str(value) for key, value in shared.scenarios[0].settings.items()}
    events, repeated = shared.events_as_they_come()
    days = shared.days(today)
    engine = engine_of(events, rules_of(shared.scenarios[0]))
    found: dict[str, list[str]] = {scenario.name: [] for scenario in shared.scenarios}
    with Live(broker, folder, settings=settings) as live:
        for role, name in (("intake", "intake"), ("ledger", "ledger-a"), ("ledger", "ledger-b"), ("rollup", "rollup")):
            live.start(role, name)
        live.publish(events[::2])
        live.turn_day(days[0] - timedelta(days=1))
        live.publish(events[1::2] + repeated)
        live.wait_until_counted(days[0] - timedelta(days=1))
        watch = Watch(live)
        for number, day in enumerate(days):
            told(f"day {number + 1} of {len(days)}, {day}")
            expected = {record["region"]: record for record in engine.count(day).regions}
            by_region = _by_region(compare(expected, watch.turn_day(day)))
            for scenario in shared.scenarios:
                lines = [line for region in _regions(scenario) for line in by_region.get(region, ())]
                found[scenario.name] += [f"{day} {line}" for line in lines]
        watch.close()
        lists = _lists(live)
        rejected = len(live.read(REJECTED))
    for scenario in shared.scenarios:
        if scenario.anomalies is not None and (own := own_anomalies(lists, scenario)) != expected_anomalies(scenario):
            found[scenario.name].append(
                f"anomalies: expected {sorted(expected_anomalies(scenario))}, live {sorted(own)}"
            )
    due = _rejects([*events, *repeated])
    if rejected != due:
        for scenario in (one for one in shared.scenarios if one.rejected):
            found[scenario.name].append(f"rejected in the ledger: expected {due}, live {rejected}")
    return found


def _rejects(events: Iterable[dict[str, Any]]) -> int:
    """How many of the records sent cannot be taken in."""
    pseudonymise = Pseudonymiser(KEY.encode())
    return sum(not isinstance(admit(json.dumps(event).encode(), pseudonymise), Admitted) for event in events)


def _by_region(lines: Iterable[str]) -> dict[str, list[str]]:
    found: defaultdict[str, list[str]] = defaultdict(list)
    for line in lines:
        found[line.partition(" ")[0]].append(line)
    return found


def _regions(scenario: Scenario) -> set[str]:
    """Every region that the events or the expectations name, and all above it; transit too."""
    named = {expected["region"] for expected in scenario.expect}
    for event in scenario.events:
        named |= {event["data"].get(name) for name in ("region", "origin", "destination", "service_point")}
    codes = {code for code in named if isinstance(code, str) and (code[:1].isdigit() or code == COUNTRY)}
    return {above for code in codes for above in lineage(code)} | {TRANSIT, COUNTRY}


def _lists(live: Live) -> dict[str, Names]:
    """The newest list of anomalies of each person."""
    return {
        record.key.decode(): frozenset(
            (one["event"]["source"], one["event"]["id"], one["kind"]) for one in json.loads(record.value)["anomalies"]
        )
        for record in live.read(ANOMALIES, live.partitions, whole=True)
    }


class Watch:
    """A subscriber of coverage, from the beginning of the topic on."""

    def __init__(self, live: Live) -> None:
        """Nothing read yet."""
        self._live = live
        self._newest: dict[str, dict[str, Any]] = {}
        self._consumer = KafkaConsumer(
            bootstrap_servers=live.broker.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        self._consumer.assign([TopicPartition(COVERAGE, 0)])
        self._consumer.seek_to_beginning()

    def turn_day(self, day: date) -> dict[str, dict[str, Any]]:
        """Turn the day in every partition; the newest record of every region once the country is as of that day."""
        at = self._live.turn_day(day)

        def reached() -> bool:
            for batch in self._consumer.poll(timeout_ms=50).values():
                for record in batch:
                    self._newest[record.key.decode()] = json.loads(record.value)
            country = self._newest.get(COUNTRY)
            return (
                country is not None
                and country["as_of"] == day.isoformat()
                and all(country["position"].get(str(partition), 0) > offset for partition, offset in at.items())
            )

        self._live.wait_until(reached, f"coverage of {day}")
        return self._newest

    def close(self) -> None:
        """Stop reading."""
        self._consumer.close(autocommit=False)
