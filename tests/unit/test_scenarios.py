"""Every scenario by the core, in the order told, reversed, shuffled with repeats; and by the SQL recount, many in one ledger.

`make scenarios` counts each by itself by SQL too.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import pytest

from tests.counters import Day, by_core, by_sql, disagreements
from tests.scenario_check import (
    backwards,
    by_the_core,
    days_of,
    rules_of,
    shuffled_with_repeats,
    told,
)
from tests.scenario_files import Scenario, load_scenarios
from tests.scenario_ledgers import Shared, ledgers

SCENARIOS = load_scenarios()


@pytest.mark.parametrize("order", [told, backwards, shuffled_with_repeats])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_core(scenario: Scenario, order: Any) -> None:
    """The core counts what the story says, whatever the order."""
    assert not by_the_core(scenario, order)


@pytest.mark.parametrize("day", sorted({day for scenario in SCENARIOS for day in days_of(scenario)}, key=str), ids=str)
def test_sql(day: Day) -> None:
    """The SQL recount counts what the core counts on every day a story tells of, its events shuffled and some of them twice."""
    for shared in its_ledgers():
        if any(day in days_of(scenario) for scenario in shared.scenarios):
            events, again = shared.events_as_they_come()
            rules = rules_of(shared.scenarios[0])
            (core,), (sql,) = (count(events + more, rules, [day]) for count, more in ((by_core, []), (by_sql, again)))
            assert not disagreements(core, sql)


@lru_cache
def its_ledgers() -> list[Shared]:
    """Of all scenarios."""
    return ledgers(SCENARIOS)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_another_key_splits_nobody(scenario: Scenario) -> None:
    """Pseudonyms made with another key are other words for the same people: no figure and no anomaly changes."""
    days = days_of(scenario)
    ours = by_core(scenario.events, rules_of(scenario), days)
    theirs = by_core(scenario.events, rules_of(scenario), days, key=b"another key that only this test uses, 32 bytes")
    for one, other in zip(ours, theirs, strict=True):
        assert not disagreements(one, other)
