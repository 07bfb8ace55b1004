"""Every scenario through every counter: the core in the order told, reversed, shuffled with repeats; the SQL recount."""

from __future__ import annotations

from typing import Any

import pytest

from tests.counters import by_core, disagreements
from tests.scenario_check import (
    backwards,
    by_the_core,
    by_the_sql,
    days_of,
    rules_of,
    shuffled_with_repeats,
    told,
)
from tests.scenario_files import Scenario, load_scenarios

SCENARIOS = load_scenarios()


@pytest.mark.parametrize("order", [told, backwards, shuffled_with_repeats])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_core(scenario: Scenario, order: Any) -> None:
    """The core counts what the story says, whatever the order."""
    assert not by_the_core(scenario, order)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_sql(scenario: Scenario) -> None:
    """The SQL recount counts what the story says, and in all else what the core counts."""
    assert not by_the_sql(scenario)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_another_key_splits_nobody(scenario: Scenario) -> None:
    """Pseudonyms made with another key are other words for the same people: no figure and no anomaly changes."""
    days = days_of(scenario)
    ours = by_core(scenario.events, rules_of(scenario), days)
    theirs = by_core(scenario.events, rules_of(scenario), days, key=b"another key that only this test uses, 32 bytes")
    for one, other in zip(ours, theirs, strict=True):
        assert not disagreements(one, other)
