"""The scenario files are well-formed and complete: every cell of the state table, every kind of anomaly, every edge case.

In: `tests/scenario_files.py` and the files it reads. Whether the figures come out is for the tests that count.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import date, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.scenario_files import (
    EVENT_TYPES,
    SCENARIO_DIRECTORY,
    VALUE_FIELDS,
    Scenario,
    ScenarioFileError,
    load_scenarios,
    read_scenario_file,
)

SCENARIOS = load_scenarios()
each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)

FACTS = ("register", "move_in", "move_out_country", "move_out_abroad", "missing", "death")
STATES = ("new", "home_same", "home_other", "transit", "out", "dead")
KINDS = {
    "already_resident", "missing_move_out", "late_move_out", "region_mismatch", "already_out", "after_death",
    "already_born", "unplaced", "conflicting_duplicate", "cancels_nothing", "cancellation_cycle", "suspected_double",
    "birth_date_unknown", "unknown_region",
}  # fmt: skip
# The content that lost a conflict has lost it for ever: events are only ever added.
NEVER_CLEARED = {"conflicting_duplicate"}
OPENINGS = {"balance", "none", "partial", "parent", "register"}
EDGES = {
    "age": [
        "born-29-february", "birthday-on-the-28th", "month-without-events-ages", "married-at-16",
        "married-then-divorced-at-16", "marriage-reported-after-17", "itap-at-17", "itas", "itap-granted-expired",
        "citizenship", "birth-date-corrected-and-back", "correction-of-a-correction", "birth-date-unknown",
        "who-says-what",
    ],
    "recording": [
        "recorded-at-16", "recorded-at-16-then-dies", "recorded-at-16-moves-turns-17-elsewhere",
        "served-in-another-kab", "recorded-twice", "duplicate-record-two-niks", "sent-but-not-ready",
        "failed-then-recaptured", "statuses-out-of-order", "reprint", "recorded-on", "recording-before-register",
        "recorded-after-death", "deactivated-at-22",
    ],
    "population": [
        "stillbirth", "born-and-died-the-same-day", "born-in-a-to-parents-of-b", "duplicate-birth",
        "late-birth-certificate", "twins", "death-of-a-recorded-resident", "death-cancelled", "death-by-two-sources",
        "death-of-an-unknown", "death-of-one-who-left", "missing-found", "move-out-without-move-in",
        "move-out-cancelled", "transit-expired", "move-in-first", "no-move-out", "move-out-after-its-move-in",
        "dies-in-transit", "turns-17-in-transit", "in-desa-move", "inter-kecamatan-move", "out-and-back-in-a-month",
        "emigrates-returns-recorded", "sex-corrected", "nik-replaced", "two-niks-merged", "order-within-a-day",
    ],
    "time and delivery": [
        "end-of-january-and-february-cut-off", "event-before-opening-reported-after", "future-dated", "redelivery",
        "same-id-other-content", "cancellation-first", "cancellation-of-a-cancellation", "cancellation-cycle",
        "cancels-nothing", "obliged-0-is-null", "over-100-percent", "children-sum-to-parent", "sex-sums-to-total",
        "time-near-midnight", "rejected", "correction-after-a-closing",
    ],
    "openings": [
        "published-figures", "presumed-inside", "not-presumed", "presumed-recorded", "in-time", "in-opening",
        "cancelled-after-opening", "transit-out-of-a-balance", "counts-by-sex", "counts-as-one-number",
        "measure-not-stated", "turning-17-schedule", "stale-denominator", "nested-balances", "successive-balances",
        "balance-replaced",
    ],
    "closings": [
        "flow-births", "flow-stillbirths", "flow-deaths", "flow-moves", "flow-in-transit", "flow-recordings",
        "flow-turned-17", "flow-turned-17-schedule", "flow-turned-17-by-report", "flow-corrections", "flow-cancelled",
        "flow-presumed", "flow-by-sex", "stock-by-report", "stock-by-report-merged", "stock-by-report-balance",
        "report-day-by-zone", "cut-off", "closing-day", "closing-not-stated", "closing-published-figures",
    ],
    "regions and identity": [
        "unknown-code", "nik-prefix-of-another-region", "leading-zero-lost", "old-code-after-a-split",
        "either-eras-hierarchy", "desa-changes-kecamatan", "desa-becomes-kelurahan", "retired-code", "retired-code-reused",
        "codes-swapped", "new-code-before-its-decree", "new-desa-without-source", "new-province", "codes-merged",
        "one-place-two-codes", "balance-changes-its-code", "nested-balances-part", "code-renamed",
    ],
}  # fmt: skip
REQUIRED_TAGS = (
    {f"state:{fact}×{state}" for fact in FACTS for state in STATES}
    | {f"opening:{opening}" for opening in OPENINGS}
    | {f"edge:{edge}" for edges in EDGES.values() for edge in edges}
)

REGION = re.compile(r"ID|ID-transit|\d\d(\.\d\d(\.\d\d(\.\d{4})?)?)?")
SLUG = re.compile(r"[a-z0-9]+(-[a-z0-9_]+)*")


def kinds(scenario: Scenario) -> set[str]:
    return {anomaly["kind"] for anomaly in scenario.anomalies or []}


def name_of(event: dict[str, Any]) -> tuple[str, str, str]:
    return event["data"].get("nik", ""), event["source"], event["id"]


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "story.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names_are_unique() -> None:
    assert [name for name, count in Counter(scenario.name for scenario in SCENARIOS).items() if count > 1] == []


def test_every_tag_is_covered_and_no_other_is_used() -> None:
    used = {tag for scenario in SCENARIOS for tag in scenario.tags}
    assert sorted(REQUIRED_TAGS - used) == []
    assert sorted(used - REQUIRED_TAGS) == []


def test_every_kind_of_anomaly_is_raised() -> None:
    assert {kind for scenario in SCENARIOS for kind in kinds(scenario)} == KINDS


def test_every_kind_of_anomaly_is_cleared_by_a_later_event() -> None:
    cleared: set[str] = set()
    for before, after in pairwise(SCENARIOS):
        if before.name.startswith(f"{after.name}-before-"):
            still = after.anomalies or []
            cleared |= {anomaly["kind"] for anomaly in before.anomalies or [] if anomaly not in still}
    assert cleared == KINDS - NEVER_CLEARED


def test_every_setting_is_tried_and_left_out() -> None:
    assert {key for scenario in SCENARIOS for key in scenario.settings} == {
        "transit_expiry_days",
        "leap_birthday",
        "closing_day",
    }
    assert any(not scenario.settings for scenario in SCENARIOS)


def test_every_opening_is_expected() -> None:
    said = {line["values"].get("opening") for scenario in SCENARIOS for line in scenario.expect}
    assert said - {None} == OPENINGS


@each_scenario
def test_a_story_is_told_and_something_is_expected(scenario: Scenario) -> None:
    assert SLUG.fullmatch(scenario.name)
    assert scenario.story.endswith(".")
    assert scenario.tags
    assert scenario.events
    assert scenario.expect or scenario.anomalies or scenario.closings


@each_scenario
def test_events_are_cloudevents(scenario: Scenario) -> None:
    unreadable = 0
    for event in scenario.events:
        assert {"specversion", "id", "source", "type", "time", "data"} == set(event)
        known = event["type"] in {f"lampit.{name}.v1" for name in EVENT_TYPES} and event["specversion"] == "1.0"
        try:
            date.fromisoformat(event["data"]["occurred_on"])
            known &= datetime.fromisoformat(event["time"]).tzinfo is not None
        except ValueError:
            known = False
        unreadable += not known
    assert unreadable <= scenario.rejected


@each_scenario
def test_regions_and_days_of_the_expectations_are_written_in_full(scenario: Scenario) -> None:
    for line in scenario.expect:
        assert REGION.fullmatch(line["region"])
        date.fromisoformat(line["as_of"])
        date.fromisoformat(line["hierarchy_of"])
        assert line["values"], "a line that expects nothing"
        for field, value in line["values"].items():
            assert field in VALUE_FIELDS
            if isinstance(value, dict):
                assert set(value) <= {"M", "F", "unknown", "total"}


@each_scenario
def test_no_region_and_day_is_expected_twice(scenario: Scenario) -> None:
    lines = Counter((line["region"], line["as_of"], line["hierarchy_of"]) for line in scenario.expect)
    assert [line for line, count in lines.items() if count > 1] == []


@each_scenario
def test_an_id_is_used_again_only_where_the_story_is_about_that(scenario: Scenario) -> None:
    repeated = {name for name, count in Counter(map(name_of, scenario.events)).items() if count > 1}
    about_that = {"edge:redelivery", "edge:same-id-other-content"} & set(scenario.tags)
    assert not repeated or about_that


@each_scenario
def test_anomalies_are_of_events_that_were_sent(scenario: Scenario) -> None:
    sent = [{"source": event["source"], "id": event["id"]} for event in scenario.events]
    for anomaly in scenario.anomalies or []:
        assert anomaly["event"] in sent
        assert anomaly["kind"] in KINDS


def test_the_index_of_edge_cases_names_stories_that_exist() -> None:
    names = {scenario.name for scenario in SCENARIOS}
    lines = (SCENARIO_DIRECTORY / "README.md").read_text(encoding="utf-8").partition("## Edge cases")[2].splitlines()
    rows = [line.split("|")[1:3] for line in lines if line.startswith("| ")]
    told = {case.strip(): re.findall(r"`([^`]+)`", stories) for case, stories in rows if "**" not in case}
    del told["edge case"], told["---"]
    assert len(told) >= 60
    assert [case for case, stories in told.items() if not stories] == []
    assert [story for stories in told.values() for story in stories if story not in names] == []


def test_no_file_holds_sixteen_digits_in_a_row() -> None:
    for path in SCENARIO_DIRECTORY.glob("*.yaml"):
        assert re.search(r"\d{16}", path.read_text(encoding="utf-8")) is None, path.name


def test_a_person_is_one_nik_in_a_scenario_and_another_in_the_next() -> None:
    people = [
        {event["data"].get("nik") for event in scenario.events} for scenario in SCENARIOS if not scenario.rejected
    ]
    niks = {nik for scenario in people for nik in scenario if nik is not None}
    assert all(re.fullmatch(r"\d{16}", nik) for nik in niks)
    assert len(niks) > len(SCENARIOS) / 2


def test_values_are_texts_until_the_loader_gives_them_a_type(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
name: types
story: What YAML would guess.
tags: [edge:itas]
settings: {transit_expiry_days: 30, leap_birthday: feb28}
events:
  - {register: ani, on: 2010-01-01, region: 16.05.02.2001, born: 2002-03-28, sex: F, citizen: false, label: entry}
  - {again: entry, reported: 2010-01-02}
  - {opening_balance: 16.05, on: 2019-01-01, counts: {population: 5, obliged: {M: 1, F: 2}}}
expect:
  - {as_of: 2019-01-01, region: 16.05, population: 5, recorded: null, coverage: 1/4, stale_denominator: false}
anomalies: [{event: entry, kind: conflicting_duplicate}]
""",
    )
    (scenario,) = read_scenario_file(path)
    entry, again, balance = scenario.events
    assert scenario.settings == {"transit_expiry_days": 30, "leap_birthday": "feb28"}
    assert entry["data"]["region"] == "16.05.02.2001"
    assert entry["data"]["person"] == {"birth_date": "2002-03-28", "sex": "F", "citizen": False}
    assert entry["time"] == "2010-01-01T10:00:00+07:00"
    assert again == entry | {"time": "2010-01-02T10:00:00+07:00"}
    assert balance["data"]["region"] == "16.05"
    assert balance["data"]["counts"] == {"population": 5, "obliged": {"M": 1, "F": 2}}
    assert "nik" not in balance["data"]
    assert scenario.expect == [{
        "as_of": "2019-01-01",
        "hierarchy_of": "2019-01-01",
        "region": "16.05",
        "values": {"population": 5, "recorded": None, "coverage": 0.25, "stale_denominator": False},
    }]  # fmt: skip
    assert scenario.anomalies == [
        {"event": {"source": "/siak/1605", "id": entry["id"]}, "kind": "conflicting_duplicate"}
    ]
    assert json.loads(json.dumps(scenario.events)) == scenario.events


def test_the_story_before_an_event_keeps_the_ids(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        """
name: two
story: A death, and its cancellation.
tags: [edge:death-cancelled]
events:
  - {death: ani, on: 2010-01-01, region: 16.05.02.2001, label: death}
  - {cancellation: ani, on: 2010-02-01, cancels: death, label: alive}
before:
  event: alive
  anomalies: [{event: death, kind: unplaced}]
anomalies: []
""",
    )
    before, after = read_scenario_file(path)
    assert before.name == "two-before-alive"
    assert before.events == after.events[:1]
    assert after.events[1]["data"]["cancels"] == {"source": "/siak/1605", "id": after.events[0]["id"]}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{register: ani, on: 2010-01-01, village: 16.05.02.2001}", "register has no field village"),
        ("{arrival: ani, on: 2010-01-01}", "an event has one type, this one has none"),
        ("{death: ani, on: 2010-01-01, region: 16.05.02.2001, cancels: x}", "death has no field cancels"),
    ],
)
def test_a_slip_in_a_file_is_refused(tmp_path: Path, line: str, reason: str) -> None:
    path = write(tmp_path, f"name: slip\nstory: A slip.\ntags: []\nevents:\n  - {line}\nanomalies: []\n")
    with pytest.raises(ScenarioFileError, match=f"story.yaml: slip: {reason}"):
        list(read_scenario_file(path))
