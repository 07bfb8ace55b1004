"""Every story by the way of the live agents, without Kafka: event by event through a store, its figures given out each time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agents.store import Store
from stream.rules import Rules
from tests.counters import Count, accept, by_core, disagreements
from tests.property.test_partition import Partition
from tests.scenario_check import Order, backwards, days_of, rules_of, told
from tests.scenario_files import Scenario, load_scenarios

SCENARIOS = [
    scenario
    for scenario in load_scenarios()
    if not any(event["type"] == "lampit.nik_change.v1" for event in scenario.events)  # these take several partitions
]


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
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_event_by_event(scenario: Scenario, order: Order, tmp_path: Path) -> None:
    """What was given out last of each region is what all events at once make of it."""
    rules, day = rules_of(scenario), days_of(scenario)[-1]
    (expected,) = by_core(scenario.events, rules, [day])
    newest = given_out(order(scenario.events), rules, day, tmp_path)
    assert not disagreements(expected, Count(newest, expected.anomalies, expected.rejected))
