"""Stories by the live agents, as the scenario table counts them: those apart from the many; and that it can say "differs"."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from agents.barrier import today
from tests.brokers import Broker, delete_topics
from tests.scenario_files import Scenario, load_scenarios
from tests.scenario_ledgers import Shared, ledgers
from tests.scenario_live import count_live


def with_settings(scenario: Scenario) -> bool:
    """Transit that expires, the other leap birthday, another closing day."""
    return bool(scenario.settings)


def with_a_change_of_nik(scenario: Scenario) -> bool:
    """People whose NIKs lie in several partitions."""
    return any(event["type"] == "lampit.nik_change.v1" for event in scenario.events)


@pytest.mark.parametrize("chosen", [with_settings, with_a_change_of_nik])
def test_stories(kafka: Broker, tmp_path: Path, chosen: Callable[[Scenario], bool]) -> None:
    """Figures and anomalies are the stories'."""
    shared = ledgers(scenario for scenario in load_scenarios() if chosen(scenario))
    assert len(shared) > 1
    for number, ledger in enumerate(shared):
        delete_topics(kafka.bootstrap_servers)
        (folder := tmp_path / str(number)).mkdir()
        found = count_live(ledger, kafka, folder, today(), lambda text: None)
        assert found == {scenario.name: [] for scenario in ledger.scenarios}


def test_a_story_that_tells_other_anomalies_differs(kafka: Broker, tmp_path: Path) -> None:
    """The story's list without one of its anomalies is not the live one."""
    told = next(scenario for scenario in load_scenarios() if scenario.name == "left-twice-before-return")
    delete_topics(kafka.bootstrap_servers)
    found = count_live(Shared([replace(told, anomalies=[])]), kafka, tmp_path, today(), lambda text: None)
    (line,) = found[told.name]
    assert line.startswith("anomalies: expected [], live [")
    assert "already_out" in line
