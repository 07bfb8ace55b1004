"""Every scenario through every counter: the core in the order told, reversed, shuffled with repeats; the SQL recount."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import date
from typing import Any

import pytest

from stream.rules import Rules
from tests.counters import Count, Counter, Day, by_core, by_sql, disagreements
from tests.scenario_files import Expectation, Scenario, load_scenarios

SCENARIOS = load_scenarios()
NOT_YET_IN_SQL = "sql:not-yet"


def rules_of(scenario: Scenario) -> Rules:
    """The settings of a scenario."""
    return Rules(**scenario.settings)  # type: ignore[arg-type]


def told(events: Sequence[Any]) -> list[Any]:
    """As the story tells them."""
    return list(events)


def backwards(events: Sequence[Any]) -> list[Any]:
    """The last first."""
    return list(reversed(events))


def shuffled_with_repeats(events: Sequence[Any]) -> list[Any]:
    """Every event twice, in an order made from a seed."""
    again = [*events, *events]
    random.Random(len(events)).shuffle(again)
    return again


@pytest.mark.parametrize("order", [told, backwards, shuffled_with_repeats])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_core(scenario: Scenario, order: Any) -> None:
    """The core counts what the story says, whatever the order."""
    rejected = scenario.rejected * (2 if order is shuffled_with_repeats else 1)
    check(scenario, order(scenario.events), by_core, rejected)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_sql(scenario: Scenario) -> None:
    """The SQL recount counts what the story says, and in all else what the core counts."""
    if NOT_YET_IN_SQL in scenario.tags:
        pytest.skip("the SQL recount does not read region codes through time yet")
    check(scenario, scenario.events, by_sql, scenario.rejected)
    day = [date.fromisoformat(scenario.expect[-1]["as_of"]) if scenario.expect else date(2019, 3, 28)]
    (core,), (sql,) = (count(scenario.events, rules_of(scenario), day) for count in (by_core, by_sql))
    assert not disagreements(core, sql)


def check(scenario: Scenario, events: Sequence[Any], count: Counter, rejected: int) -> None:
    """Compare a count with the story's figures and anomalies."""
    days: list[Day] = sorted({day_of(expected) for expected in scenario.expect}, key=str) or [date(2019, 3, 28)]
    counts = dict(zip(days, count(events, rules_of(scenario), days), strict=True))
    found = []
    for expected in scenario.expect:
        of_day = counts[day_of(expected)]
        for name, value in expected["values"].items():
            got = figure(of_day, expected["region"], name, value)
            if got != value:
                found.append(f"{expected['as_of']} {expected['region']} {name}: expected {value}, counted {got}")
    assert not found
    last = counts[days[-1]]
    assert last.rejected == rejected
    if scenario.anomalies is not None:
        told_of = [(one["event"]["source"], one["event"]["id"], one["kind"]) for one in scenario.anomalies]
        assert last.anomalies == sorted(told_of)


def day_of(expected: Expectation) -> Day:
    """The day, with that of the codes where it is another."""
    as_of, hierarchy_of = (date.fromisoformat(expected[key]) for key in ("as_of", "hierarchy_of"))
    return as_of if as_of == hierarchy_of else (as_of, hierarchy_of)


def figure(counted: Count, region: str, name: str, like: object) -> Any:
    """A value of a region in the form of the expectation: a total, or the sexes that it names."""
    record = counted.regions.get(region)
    nothing = None if name == "name" else {"M": 0, "F": 0, "unknown": 0, "total": 0}
    value: Any = record[name] if record else nothing
    if not isinstance(value, dict):
        return value
    return {sex: value[sex] for sex in like} if isinstance(like, dict) else value["total"]
