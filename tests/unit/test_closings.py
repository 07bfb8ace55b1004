"""The readings of docs/decisions/0006: the stories of tests/scenarios, periods, revisions, and what refuses to add up."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

import msgspec
import pytest

from lampit import reference
from schemas.closing import ClosingRecord
from stream.closing import IdentityError, check, content, revised
from stream.engine import Engine
from stream.ledger import EpochSettings
from stream.periods import BEFORE, Periods
from stream.rules import Rules
from tests.scenario_check import (
    backwards,
    closing_differences,
    closing_differences_of_sql,
    closings,
    rules_of,
    shuffled_with_repeats,
    told,
)
from tests.scenario_files import Scenario, load_scenarios

SCENARIOS = [scenario for scenario in load_scenarios() if scenario.closings]
BIRTHS = next(scenario for scenario in SCENARIOS if scenario.name == "births-of-a-month")

Json = dict[str, Any]


@pytest.mark.parametrize("order", [told, backwards, shuffled_with_repeats])
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_a_story(scenario: Scenario, order: Any) -> None:
    """The closings are those of the story, whatever the order."""
    assert closing_differences(scenario, order(scenario.events)) == []


@pytest.mark.fuzz
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_a_story_in_sql(scenario: Scenario) -> None:
    """The second count closes what the story says, and in all else what the core closes."""
    assert closing_differences_of_sql(scenario) == []


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: str(scenario.name))
def test_records_are_as_the_schema_says(scenario: Scenario) -> None:
    """Every record of every story, there and back."""
    for record in closings(scenario.events, rules_of(scenario), [scenario.closings[0]["period"]]).values():
        assert (
            ClosingRecord.model_validate_json(json.dumps(record)).model_dump(mode="json", exclude_unset=True) == record
        )


def test_the_percentage_of_musi_rawas() -> None:
    """96.65 %, as published."""
    from stream.coverage import percent

    scenario = next(one for one in SCENARIOS if one.name == "musi-rawas-in-march")
    closing = closings(scenario.events, Rules(), ["2019-03"])["2019-03", "16.05"]["by_report_date"]["closing"]
    assert percent(closing["recorded"]["total"], closing["obliged"]["total"]) == "96.65"


def day(text: str) -> int:
    return date.fromisoformat(text).toordinal()


def test_periods() -> None:
    """Half-open months, named by their ends; everything before the first is one."""
    periods = Periods.since("2019-01")
    march = periods.period(2)
    assert (march.name, march.opened_on, march.closed_on) == ("2019-03", day("2019-02-28"), day("2019-03-28"))
    assert [periods.index(day(text)) for text in ("2019-02-28", "2019-03-01", "2019-03-28", "2019-03-29")] == [
        1,
        2,
        2,
        3,
    ]
    assert [periods.index(day(text)) for text in ("2018-12-28", "2018-12-29", "2019-01-28")] == [BEFORE, 0, 0]
    assert periods.index(0) == BEFORE
    assert periods.index(1 << 40) == periods.index(date.max.toordinal())
    assert (periods.period(BEFORE).name, periods.period(BEFORE).closed_on) == ("2018-12", day("2018-12-28"))
    assert Periods.since("2019-01", 1).index(day("2019-01-02")) == 1


@pytest.mark.parametrize("name", ["2019-13", "2019-00", "2019-3", "19-03", "2019-03-01", "1899-12", "2019-03\n"])
def test_what_is_no_period(name: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM"):
        Periods.since(name)


@pytest.mark.parametrize("closing_day", [0, 29])
def test_what_is_no_closing_day(closing_day: int) -> None:
    with pytest.raises(ValueError, match="1 to 28"):
        Periods.since("2019-03", closing_day)


def test_a_period_before_the_first_is_refused() -> None:
    with pytest.raises(ValueError, match="before the first"):
        Engine(Rules(), reference.load()).closings(Periods.since("2019-03"), ["2019-02"])


def test_an_empty_country_is_closed() -> None:
    records = closings([], Rules(), ["2019-03"])
    assert [region for _, region in records] == ["ID", "ID-transit"]


def test_the_rules_of_old_ledgers_keep_their_digest() -> None:
    """Settings of closings at their defaults are not written, others are."""
    old = b'{"transit_expiry_days":null,"leap_birthday":"mar1"}'
    assert msgspec.json.encode(EpochSettings.of(Rules())) == old
    assert msgspec.json.decode(old, type=EpochSettings) == EpochSettings.of(Rules())
    said = EpochSettings.of(Rules(closing_day=15, first_period="2019-03"))
    assert msgspec.json.encode(said) == old[:-1] + b',"closing_day":15,"first_period":"2019-03"}'


def test_a_revision_says_what_changed() -> None:
    """A death that arrives later: closing and deaths differ by one, and the difference adds up as a month does."""
    before = closings(BIRTHS.events, Rules(), ["2019-03"])["2019-03", "16.05"]
    death = {**BIRTHS.events[1], "id": "death", "type": "lampit.death.v1", "time": "2019-03-11T10:00:00+07:00"}
    death["data"] = {key: death["data"][key] for key in ("nik", "occurred_on", "region")}
    after = closings([*BIRTHS.events, death], Rules(), ["2019-03"])["2019-03", "16.05"]
    assert revised(before, None) == before
    assert revised(before, {**before, "known_day": "2019-04-01", "revision": 4, "epoch": 7}) is None
    revision = revised(after, {**before, "revision": 4})
    assert revision is not None
    assert revision["revision"] == 5
    for dating in ("by_event_date", "by_report_date"):
        difference = revision["difference"][dating]
        assert difference["flows"]["deaths"] == {"M": 1, "F": 0, "unknown": 0, "total": 1}
        assert difference["closing"]["population"] == {"M": -1, "F": 0, "unknown": 0, "total": -1}
        assert not any(difference["opening"]["population"].values())
        assert not any(difference["flows"]["corrections"].values())
    assert content(revision) == content(after)
    ClosingRecord.model_validate_json(json.dumps(revision))


@pytest.mark.parametrize(
    ("part", "name"), [("closing", "population"), ("opening", "population"), ("flows", "births"), ("flows", "served")]
)
@pytest.mark.parametrize("key", ["M", "total"])
@pytest.mark.parametrize("dating", ["by_event_date", "by_report_date"])
def test_what_does_not_add_up_is_refused(part: str, name: str, key: str, dating: str) -> None:
    """A record altered by one, in any place that the identity or the sum of the sexes reaches."""
    record = closings(BIRTHS.events, Rules(), ["2019-03"])["2019-03", "16.05"]
    check(record)
    month = record[dating]
    altered = {**month, part: {**month[part], name: {**month[part][name], key: month[part][name][key] + 1}}}
    with pytest.raises(IdentityError, match=r"16\.05 in 2019-03 " + dating):
        check({**record, dating: altered})


def test_a_lost_correction_is_refused() -> None:
    """Null where the population is known."""
    record = closings(BIRTHS.events, Rules(), ["2019-03"])["2019-03", "16.05"]
    month = record["by_event_date"]
    flows = {**month["flows"], "corrections": {**month["flows"]["corrections"], "total": None}}
    with pytest.raises(IdentityError, match="stated otherwise"):
        check({**record, "by_event_date": {**month, "flows": flows}})
