"""Which scenarios are counted together: a ledger counts everybody in it at once, so many stories share one.

In: scenarios. Out: the ledgers that they share. Stories that cannot share a ledger get another: those with other settings, the
same story before and after an event, and those of whom the balances of a neighbour would say other anomalies. Called by the
tests that count them by SQL, by the live agents (`tests/scenario_live.py`), and by the table.
"""

from __future__ import annotations

import json
import random
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final

from stream.admission import Admitted, admit
from stream.events import NikChange
from stream.pseudonym import Pseudonymiser
from tests.live import KEY, engine_of
from tests.scenario_check import days_of, rules_of
from tests.scenario_files import Scenario

LAST_DAY: Final = date(2020, 6, 30)
"""Counted in every ledger, after the days of its stories. Later days are counted where the clock has reached them."""

REPEATED_OF: Final = 5
"""One event of so many comes twice."""

Names = frozenset[tuple[str, str, str]]


@dataclass
class Shared:
    """Stories that share a ledger."""

    scenarios: list[Scenario] = field(default_factory=list)

    @property
    def events(self) -> list[dict[str, Any]]:
        """All their events."""
        return [event for scenario in self.scenarios for event in scenario.events]

    def events_as_they_come(self) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        """All their events, shuffled; and those of them that come once more."""
        events = self.events
        random.Random(20190328).shuffle(events)
        return events, random.Random(1).sample(events, len(events) // REPEATED_OF)

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
    return [
        one for one in scenarios if one.anomalies is not None and own_anomalies(found, one) != expected_anomalies(one)
    ]


def _anomalies_by_the_engine(shared: Shared) -> dict[str, Names]:
    counted = engine_of(shared.events, rules_of(shared.scenarios[0])).count(LAST_DAY)
    found: defaultdict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for anomaly in counted.anomalies:
        if anomaly.subject is not None:
            found[anomaly.subject].add((anomaly.source, anomaly.id, anomaly.kind))
    return {subject: frozenset(names) for subject, names in found.items()}


def own_anomalies(found: dict[str, Names], scenario: Scenario) -> Names:
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


def expected_anomalies(scenario: Scenario) -> Names:
    """The story's anomalies but those of balances, which are of no person and in no person's list."""
    balances = {
        (event["source"], event["id"]) for event in scenario.events if event["type"] == "lampit.opening_balance.v1"
    }
    return frozenset(
        (one["event"]["source"], one["event"]["id"], one["kind"])
        for one in scenario.anomalies or ()
        if (one["event"]["source"], one["event"]["id"]) not in balances
    )
