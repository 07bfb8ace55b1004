"""Scenarios by the live agents: intake, two ledger workers and the roll-up on a broker, the days turned one after another.

In: scenarios and a broker with transactions. Out: per scenario, one line a difference. Called by `tests/scenario_table.py`.

A ledger counts everybody in it together, so many stories share one: their events come shuffled, with repeats, and then
day after day the coverage of the country must be, in every region that a story's events name, what the counting engine
makes of all events at once, and its people's anomalies must be the story's own. Stories that cannot share a ledger get
another: those with other settings, the same story before and after an event, and those of whom the balances of a
neighbour would say other anomalies.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Any, Final

from kafka import KafkaConsumer, TopicPartition

from agents.barrier import day_record
from agents.topics import ANOMALIES, COVERAGE, LEDGER, REJECTED
from stream.admission import Admitted, admit
from stream.events import NikChange
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY, TRANSIT, lineage
from tests.brokers import Broker
from tests.live import KEY, Live, compare, engine_of
from tests.scenario_check import days_of, rules_of
from tests.scenario_files import Scenario

LAST_DAY: Final = date(2020, 6, 30)
"""Counted in every ledger, after the days of its stories. Later days are counted where the clock has reached them."""

REPEATED_OF: Final = 5
"""One event of so many is sent twice."""

Progress = Callable[[str], None]
Names = frozenset[tuple[str, str, str]]


@dataclass
class Shared:
    """Stories that share a ledger."""

    scenarios: list[Scenario] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All their events."""
        return [event for scenario in self.scenarios for event in scenario.events]

    def days(self, today: date) -> list[date]:
        """The days that are counted: every day a story expects figures of, as far as the clock has come."""
        asked = [day for scenario in self.scenarios for day in days_of(scenario)]
        # Live figures are under the codes of their own day.
        days = {day[0] if isinstance(day, tuple) else day for day in asked} | {LAST_DAY}
        return sorted(day for day in days if day <= today)


def ledgers(scenarios: Iterable[Scenario]) -> list[Shared]:
    """The stories, by the ledger they are counted in: the first as full as can be, then the next."""
    shared: list[Shared] = []
    waiting = list(scenarios)
    while waiting:
        alike = [scenario for scenario in waiting if scenario.settings == waiting[0].settings]
        fitting = _that_fit(alike)
        shared.append(Shared(fitting))
        waiting = [scenario for scenario in waiting if scenario not in fitting]
    return shared


def _story(scenario: Scenario) -> str:
    """The name of the story, whichever part of it is told: its people are the same."""
    return scenario.name.partition("-before-")[0]


def _that_fit(scenarios: list[Scenario]) -> list[Scenario]:
    """Those that can be counted together: one part of a story each, and nobody's anomalies are others in this company."""
    parts: dict[str, Scenario] = {}
    for scenario in scenarios:
        parts.setdefault(_story(scenario), scenario)
    fitting = list(parts.values())
    while strangers := _strangers(fitting):
        fitting = [scenario for scenario in fitting if scenario not in strangers]
    for scenario in scenarios:
        told = {_story(one) for one in fitting}
        if _story(scenario) not in told and not (fitting and _strangers([*fitting, scenario])):
            fitting.append(scenario)
    return fitting


def _strangers(scenarios: list[Scenario]) -> list[Scenario]:
    """Those whose anomalies are not the story's."""
    found = _anomalies_by_the_engine(Shared(scenarios)) if scenarios else {}
    return [one for one in scenarios if one.anomalies is not None and _own(found, one) != _expected(one)]


def _anomalies_by_the_engine(shared: Shared) -> dict[str, Names]:
    counted = engine_of(shared.events, rules_of(shared.scenarios[0])).count(LAST_DAY)
    found: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for anomaly in counted.anomalies:
        if anomaly.subject is not None:
            found[anomaly.subject].add((anomaly.source, anomaly.id, anomaly.kind))
    return {subject: frozenset(names) for subject, names in found.items()}


def _own(found: dict[str, Names], scenario: Scenario) -> Names:
    """The anomalies of the scenario's people, under whichever of their NIKs they are told."""
    pseudonymise = Pseudonymiser(KEY.encode())
    subjects = set()
    for event in scenario.events:
        admitted = admit(json.dumps(event).encode(), pseudonymise)
        if isinstance(admitted, Admitted) and admitted.subject is not None:
            subjects.add(admitted.subject)
            if isinstance(admitted.event, NikChange):
                subjects.add(admitted.event.new_subject)
    return frozenset(name for subject in subjects for name in found.get(subject, ()))


def _expected(scenario: Scenario) -> Names:
    """The story's anomalies but those of balances, which are of no person and in no person's list."""
    balances = {
        (event["source"], event["id"]) for event in scenario.events if event["type"] == "lampit.opening_balance.v1"
    }
    return frozenset(
        (one["event"]["source"], one["event"]["id"], one["kind"])
        for one in scenario.anomalies or ()
        if (one["event"]["source"], one["event"]["id"]) not in balances
    )


def count_live(shared: Shared, broker: Broker, folder: Path, today: date, told: Progress) -> dict[str, list[str]]:
    """Count the stories on a broker without topics; the differences by the name of the scenario, none for equal ones."""
    settings = {f"LAMPIT_{key.upper()}": str(value) for key, value in shared.scenarios[0].settings.items()}
    events = shared.events
    random.Random(20190328).shuffle(events)
    repeated = random.Random(1).sample(events, len(events) // REPEATED_OF)
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
        if scenario.anomalies is not None and (own := _own(lists, scenario)) != _expected(scenario):
            found[scenario.name].append(f"anomalies: expected {sorted(_expected(scenario))}, live {sorted(own)}")
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
        with self._live.producer() as producer:
            sent = [
                producer.send(LEDGER, record.value, key=record.key, partition=partition)
                for partition in range(self._live.partitions)
                for record in [day_record(partition, day)]
            ]
            at = {future.get(timeout=30).partition: future.get().offset for future in sent}

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
