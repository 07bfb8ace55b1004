"""Every story by the way of the live agents, without Kafka.

Event by event through the store of one partition, figures given out each time; and over four partitions, by which people of
several NIKs are counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agents.store import Store
from stream.rules import Rules
from tests.counters import Count, accept, by_core, disagreements
from tests.property.partitions import Cluster
from tests.property.test_partition import Partition
from tests.scenario_check import Order, backwards, days_of, rules_of, told
from tests.scenario_files import Scenario, load_scenarios

SCENARIOS = load_scenarios()
OF_ONE_NIK = [
    scenario for scenario in SCENARIOS if not any(event["type"] == "lampit.nik_change.v1" for event in scenario.events)
]
WITHOUT_SETTINGS = [scenario for scenario in SCENARIOS if not scenario.settings]


def given_out(events: Sequence[dict[str, Any]], rules: Rules, day: date, folder: Path) -> dict[str, dict[str, Any]]:
    """The newest record of each region, after each event came by itself on the day."""
    store = Store(folder / "store")
    partition = Partition(store, rules)
    partition.write([], day)
    for admitted in accept(events)[0]:
        partition.write([admitted], None)
    store.close()
    return partition.newest


@pytest.mark.parametrize("order", [told, backwards])
@pytest.mark.parametrize("scenario", OF_ONE_NIK, ids=lambda scenario: str(scenario.name))
def test_event_by_event(scenario: Scenario, order: Order, tmp_path: Path) -> None:
    """What was given out last of each region is what all events at once make of it."""
    rules, day = rules_of(scenario), days_of(scenario)[-1]
    (expected,) = by_core(scenario.events, rules, [day])
    newest = given_out(order(scenario.events), rules, day, tmp_path)
    assert not disagreements(expected, Count(newest, expected.anomalies, expected.rejected))


@pytest.mark.parametrize("scenario", WITHOUT_SETTINGS, ids=lambda scenario: str(scenario.name))
def test_over_four_partitions(scenario: Scenario, tmp_path: Path) -> None:
    """Figures and lists of anomalies, once the partitions have told each other what they hold of one person."""
    (day,) = days_of(scenario)[-1:]
    (expected,) = by_core(scenario.events, Rules(), [day])
    cluster = Cluster(4, tmp_path)
    for admitted in accept(backwards(scenario.events))[0]:
        cluster.accept(admitted)
    cluster.turn(day)
    cluster.settle()
    balances = {
        (event["source"], event["id"]) for event in scenario.events if event["type"] == "lampit.opening_balance.v1"
    }
    of_persons = [one for one in expected.anomalies if one[:2] not in balances]
    found = sorted(one for kinds in cluster.lists.values() for one in kinds)
    assert found == of_persons
    assert not disagreements(expected, Count(cluster.records(day), expected.anomalies, expected.rejected))
