"""The scenario table: a counter that differs from a story is seen, and which stories share a live ledger."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests import scenario_table
from tests.scenario_check import by_the_core, by_the_sql, rules_of
from tests.scenario_files import Scenario, load_scenarios
from tests.scenario_ledgers import ledgers
from tests.scenario_table import COLUMNS, main

SCENARIOS = {scenario.name: scenario for scenario in load_scenarios()}
RECORDED = SCENARIOS["recorded-at-16"]


def falsified(scenario: Scenario) -> Scenario:
    """The same story with one recorded more on its last day."""
    *lines, last = scenario.expect
    assert isinstance(last["values"]["recorded"], int)
    values = last["values"] | {"recorded": last["values"]["recorded"] + 1}
    return replace(scenario, expect=[*lines, {**last, "values": values}])


@pytest.mark.parametrize("count", [by_the_core, by_the_sql])
def test_a_wrong_figure_is_one_line(count: object) -> None:
    assert callable(count)
    assert count(falsified(RECORDED)) == ["2019-03-28 16.05.02.2001 recorded: expected 2, counted 1"]


def test_wrong_anomalies_and_rejects_are_seen() -> None:
    event = {"source": RECORDED.events[0]["source"], "id": RECORDED.events[0]["id"]}
    wrong = replace(RECORDED, anomalies=[{"event": event, "kind": "unplaced"}], rejected=1)
    lines = by_the_core(wrong)
    assert [line.partition(":")[0] for line in lines] == ["rejected", "anomalies"]


def test_every_story_is_in_one_ledger_with_its_own_settings() -> None:
    shared = ledgers(SCENARIOS.values())
    counted = [scenario.name for ledger in shared for scenario in ledger.scenarios]
    assert sorted(counted) == sorted(SCENARIOS)
    for ledger in shared:
        assert len({json.dumps(scenario.settings) for scenario in ledger.scenarios}) == 1
        people = [{event["data"].get("nik") for event in scenario.events} - {None} for scenario in ledger.scenarios]
        assert sum(map(len, people)) == len(set().union(*people))
        assert rules_of(ledger.scenarios[0]) == rules_of(ledger.scenarios[-1])


def test_most_stories_share_one_ledger() -> None:
    sizes = sorted(len(ledger.scenarios) for ledger in ledgers(SCENARIOS.values()))
    assert sizes[-1] > len(SCENARIOS) / 2
    assert len(sizes) <= 12


def test_the_command_tells_every_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    found = CliRunner().invoke(main, ["--json", "--without-live", "--only", "recorded-at-16-then-dies"])
    (row,) = json.loads(found.stdout)["scenarios"]
    assert found.exit_code == 0
    assert row["cells"] == dict.fromkeys(COLUMNS, "equal") | {"live": "left_out"}
    monkeypatch.setattr(scenario_table, "load_scenarios", lambda: [falsified(RECORDED)])
    found = CliRunner().invoke(main, ["--without-live"])
    assert found.exit_code == 1
    assert found.stdout.splitlines()[1].split() == ["recorded-at-16", "differs", "differs", "differs", "–"]
    assert "recorded-at-16 sql: 2019-03-28 16.05.02.2001 recorded: expected 2, counted 1" in found.stdout


def test_a_name_that_no_story_has_is_wrong_usage() -> None:
    found = CliRunner().invoke(main, ["--only", "no such story"])
    assert found.exit_code == 2
    assert "leave --only out" in found.stderr
