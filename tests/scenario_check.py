"""A scenario held against a counter: the orders in which its events come, and where the counter disagrees.

In: scenarios, a counter of `tests/counters.py`. Out: one line a difference. Called by the tests of the scenarios and by
the table that prints them (`tests/scenario_table.py`).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from lampit import reference
from stream.engine import Engine
from stream.periods import Periods
from stream.rules import Rules
from tests.counters import (
    Count,
    Counter,
    Day,
    accept,
    by_core,
    by_sql,
    closing_disagreements,
    closings_by_sql,
    disagreements,
)
from tests.scenario_files import Expectation, Scenario

Json = dict[str, Any]
Order = Callable[[Sequence[Json]], list[Json]]

ANY_DAY: Final = date(2019, 3, 28)
"""For a story that expects anomalies only."""


def rules_of(scenario: Scenario) -> Rules:
    """The settings of a scenario."""
    return Rules(**scenario.settings)  # type: ignore[arg-type]


def told(events: Sequence[Json]) -> list[Json]:
    """As the story tells them."""
    return list(events)


def backwards(events: Sequence[Json]) -> list[Json]:
    """The last first."""
    return list(reversed(events))


def shuffled_with_repeats(events: Sequence[Json]) -> list[Json]:
    """Every event twice, in an order made from a seed."""
    again = [*events, *events]
    random.Random(len(events)).shuffle(again)
    return again


def days_of(scenario: Scenario) -> list[Day]:
    """The days on which the story expects figures, ascending."""
    return sorted({day_of(expected) for expected in scenario.expect}, key=str) or [ANY_DAY]


def day_of(expected: Expectation) -> Day:
    """The day, with that of the codes where it is another."""
    as_of, hierarchy_of = (date.fromisoformat(expected[key]) for key in ("as_of", "hierarchy_of"))
    return as_of if as_of == hierarchy_of else (as_of, hierarchy_of)


def by_the_core(scenario: Scenario, order: Order = told) -> list[str]:
    """Where the core disagrees with the story, its events coming in some order; its monthly closings too."""
    events = order(scenario.events)
    rejected = scenario.rejected * (len(events) // len(scenario.events))
    return differences(scenario, events, by_core, rejected) + closing_differences(scenario, events)


def by_the_sql(scenario: Scenario) -> list[str]:
    """Where the SQL recount disagrees with the story, and in all else, on each of its days, with the core."""
    days, rules = days_of(scenario), rules_of(scenario)
    core, sql = (count(scenario.events, rules, days) for count in (by_core, by_sql))
    found = _held_against(scenario, dict(zip(days, sql, strict=True)), scenario.rejected)
    for ours, theirs in zip(core, sql, strict=True):
        found += [f"core / SQL: {line}" for line in disagreements(ours, theirs)]
    return found


def differences(scenario: Scenario, events: Sequence[Json], count: Counter, rejected: int) -> list[str]:
    """Where a count of the events has other figures, anomalies or rejects than the story."""
    days = days_of(scenario)
    return _held_against(scenario, dict(zip(days, count(events, rules_of(scenario), days), strict=True)), rejected)


def _held_against(scenario: Scenario, counts: Mapping[Day, Count], rejected: int) -> list[str]:
    found = []
    for expected in scenario.expect:
        of_day = counts[day_of(expected)]
        for name, value in expected["values"].items():
            got = figure(of_day, expected["region"], name, value)
            if got != value:
                found.append(f"{expected['as_of']} {expected['region']} {name}: expected {value}, counted {got}")
    last = counts[days_of(scenario)[-1]]
    if last.rejected != rejected:
        found.append(f"rejected: expected {rejected}, counted {last.rejected}")
    expected_anomalies = anomalies_of(scenario)
    if expected_anomalies is not None and last.anomalies != expected_anomalies:
        found.append(f"anomalies: expected {expected_anomalies}, counted {last.anomalies}")
    return found


def closing_differences(scenario: Scenario, events: Sequence[Json]) -> list[str]:
    """Where the core closes a month with other figures than the story."""
    names = sorted({line["period"] for line in scenario.closings})
    return closing_lines(scenario, closings(events, rules_of(scenario), names) if names else {})


def closing_differences_of_sql(scenario: Scenario) -> list[str]:
    """Where the SQL recount closes a month with other figures than the story, and in all else than the core."""
    rules, names = rules_of(scenario), sorted({line["period"] for line in scenario.closings})
    core = closings(scenario.events, rules, names)
    records, found = {}, []
    for name in names:
        of_sql = closings_by_sql(scenario.events, rules, name)
        of_core = {region: record for (period, region), record in core.items() if period == name}
        found += [f"{name}, core / SQL: {line}" for line in closing_disagreements(of_core, of_sql)]
        records |= {(name, region): record for region, record in of_sql.items()}
    return found + closing_lines(scenario, records)


def closing_lines(scenario: Scenario, records: Mapping[tuple[str, str], Json]) -> list[str]:
    """Where closing records, by (period, region), have other figures than the story."""
    found = []
    for line in scenario.closings:
        record = records[line["period"], line["region"]]
        for by in line["by"]:
            for name, value in line["values"].items():
                got = closing_figure(record[f"by_{by}_date"], name, value)
                if got != value:
                    found.append(f"{line['period']} {line['region']} by {by}, {name}: expected {value}, closed {got}")
    return found


def closings(events: Sequence[Json], rules: Rules, names: Sequence[str]) -> dict[tuple[str, str], Json]:
    """The closing records of some periods, by (period, region)."""
    engine = Engine(rules, reference.load())
    for admitted in accept(events)[0]:
        engine.add(admitted.subject, admitted.event)
    found = engine.closings(Periods.since(min(names), rules.closing_day), names)
    return {(name, record["region"]): record for name, records in found.items() for record in records}


def closing_figure(month: Json, name: str, like: object) -> Any:
    """A value of a month in the form of the expectation: a total, or the sexes that it names."""
    if name == "coverage":
        return month["coverage"]
    if name in ("opening", "closing"):
        value = month[name]["population"]
    else:
        value = month["closing" if name in ("obliged", "recorded", "unrecorded") else "flows"][name]
    return {sex: value[sex] for sex in like} if isinstance(like, dict) else value["total"]


def anomalies_of(scenario: Scenario) -> list[tuple[str, str, str]] | None:
    """The story's anomalies as (source, id, kind), sorted; None where it does not state them."""
    if scenario.anomalies is None:
        return None
    return sorted((one["event"]["source"], one["event"]["id"], one["kind"]) for one in scenario.anomalies)


def figure(counted: Count, region: str, name: str, like: object) -> Any:
    """A value of a region in the form of the expectation: a total, or the sexes that it names."""
    record = counted.regions.get(region)
    nothing = None if name == "name" else {"M": 0, "F": 0, "unknown": 0, "total": 0}
    value: Any = record[name] if record else nothing
    if not isinstance(value, dict):
        return value
    return {sex: value[sex] for sex in like} if isinstance(like, dict) else value["total"]
