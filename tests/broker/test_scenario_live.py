"""Stories with settings of their own by the live agents, as the scenario table counts them; and that it can say "differs"."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from agents.barrier import today
from tests.brokers import Broker, delete_topics
from tests.scenario_files import load_scenarios
from tests.scenario_live import Shared, count_live, ledgers


@pytest.mark.timeout(400)
def test_stories_with_settings(kafka: Broker, tmp_path: Path) -> None:
    """Transit that expires, and the other leap birthday: figures and anomalies are the stories'."""
    shared = ledgers(scenario for scenario in load_scenarios() if scenario.settings)
    assert {key for ledger in shared for key in ledger.scenarios[0].settings} == {
        "transit_expiry_days",
        "leap_birthday",
    }
    for number, ledger in enumerate(shared):
        delete_topics(kafka.bootstrap_servers)
        (folder := tmp_path / str(number)).mkdir()
        found = count_live(ledger, kafka, folder, today(), lambda text: None)
        assert found == {scenario.name: [] for scenario in ledger.scenarios}


@pytest.mark.timeout(200)
def test_a_story_that_tells_other_anomalies_differs(kafka: Broker, tmp_path: Path) -> None:
    """The story's list without one of its anomalies is not the live one."""
    told = next(scenario for scenario in load_scenarios() if scenario.name == "left-twice-before-return")
    delete_topics(kafka.bootstrap_servers)
    found = count_live(Shared([replace(told, anomalies=[])]), kafka, tmp_path, today(), lambda text: None)
    (line,) = found[told.name]
    assert line.startswith("anomalies: expected [], live [")
    assert "already_out" in line
