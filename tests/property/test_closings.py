"""Closings of random lives: the sums of what each person adds are what counting the right set of events at once gives."""

from __future__ import annotations

import operator
import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import date
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lampit import reference
from stream.admission import Admitted
from stream.closing import DATINGS, KEYS
from stream.engine import Engine
from stream.events import OpeningBalance
from stream.flow_tally import FLOWS
from stream.flows import Flow, report_day
from stream.periods import Periods
from stream.regions import lineage, parent
from stream.rules import Rules
from stream.tally import MEASURES
from tests.counters import accept
from tests.property.lives import histories

LONG = int(os.environ.get("LAMPIT_FUZZ_CLOSINGS", "2500"))
NAMES = tuple(f"{year}-{month:02}" for year, months in ((2018, range(5, 13)), (2019, range(1, 9))) for month in months)
_rules = st.builds(Rules, st.none() | st.integers(1, 60), st.sampled_from(("mar1", "feb28")))
_periods = st.builds(Periods.since, st.sampled_from(NAMES), st.sampled_from((1, 15, 28)))

Json = dict[str, Any]
Closings = list[dict[str, Json]]


def engine_of(accepted: Iterable[Admitted], rules: Rules) -> Engine:
    """An engine with these events."""
    engine = Engine(rules, reference.load())
    for admitted in accepted:
        engine.add(admitted.subject, admitted.event)
    return engine


def close(accepted: Iterable[Admitted], rules: Rules, periods: Periods, months: int = 3) -> Closings:
    """The closings of the first periods, each by region."""
    names = [periods.period(index).name for index in range(months)]
    closings = engine_of(accepted, rules).closings(periods, names)
    return [{record["region"]: record for record in closings[name]} for name in names]


def counted(accepted: Iterable[Admitted], rules: Rules, day: int) -> dict[str, Json]:
    """The coverage records of a day."""
    return {one["region"]: one for one in engine_of(accepted, rules).count(date.fromordinal(day)).regions}


def stock(record: Json) -> Json:
    """The figures of a coverage record."""
    return {measure: record[measure] for measure in (*MEASURES, "unrecorded")}


def prove(events: list[Json], rules: Rules, periods: Periods) -> None:
    """Stocks in both datings are those of a count at the cut-off; by report date, of what had been reported by it."""
    accepted, _ = accept(events)
    closings = close(accepted, rules, periods)
    for index, of_month in enumerate(closings):
        period = periods.period(index)
        for name, day in (("opening", period.opened_on), ("closing", period.closed_on)):
            reported = [
                one for one in accepted if isinstance(one.event, OpeningBalance) or report_day(one.event) <= day
            ]
            for dating, events_of in zip(DATINGS, (accepted, reported), strict=True):
                expected = counted(events_of, rules, day)
                for region, record in of_month.items():
                    if region in expected:
                        assert record[dating][name] == stock(expected[region]), (region, period.name, dating, name)
                        if name == "closing" and dating == "by_event_date":
                            assert record["basis"] == expected[region]["opening"]
                            assert record[dating]["coverage"] == expected[region]["coverage"]
                    else:
                        assert not any(record[dating][name]["population"].values())
                # Named then by an event that was cancelled since, and nobody ever there.
                for region in expected.keys() - of_month.keys():
                    assert not any(count for counts in stock(expected[region]).values() for count in counts.values())


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(histories(), _rules, _periods)
def test_stocks_are_counts_of_what_was_reported(events: list[Json], rules: Rules, periods: Periods) -> None:
    """The main proof of what each person adds."""
    prove(events, rules, periods)


@pytest.mark.fuzz
@pytest.mark.timeout(0)
@settings(max_examples=LONG, suppress_health_check=list(HealthCheck))
@given(histories(), _rules, _periods)
def test_stocks_are_counts_at_length(events: list[Json], rules: Rules, periods: Periods) -> None:
    """The same, as long as is asked for."""
    prove(events, rules, periods)


def test_a_change_of_nik_that_loses_a_conflict_the_day_after() -> None:
    """A death in Papua of the same name was registered first, but on the next day there: for a day the NIKs are one."""

    def event(kind: str, nik: str, time: str, name: str, **data: Any) -> Json:
        envelope = {"specversion": "1.0", "id": name, "source": "/siak", "type": f"lampit.{kind}.v1", "time": time}
        return {**envelope, "data": {"nik": nik, "occurred_on": "2019-03-01", **data}}

    one, other = "1605024203190001", "1605024203190002"
    person = {"birth_date": "1980-01-01", "sex": "F"}
    events = [
        event("register", one, "2019-03-02T10:00:00+07:00", "a", region="16.05.02.2001", person=person),
        event("register", other, "2019-03-02T11:00:00+07:00", "b", region="16.05.02.2001", person=person),
        event("death", one, "2019-03-28T22:30:00+07:00", "same", region="94.01.01.1001"),
        event("nik_change", one, "2019-03-28T22:40:00+07:00", "same", new_nik=other),
    ]
    prove(events, Rules(), Periods.since("2019-03"))
    march, april, _ = close(accept(events)[0], Rules(), Periods.since("2019-03"))
    assert march["16.05"]["by_event_date"]["closing"]["population"]["total"] == 1
    assert march["16.05"]["by_report_date"]["closing"]["population"]["total"] == 1
    assert april["16.05"]["by_report_date"]["flows"]["deaths"]["total"] == 1
    assert april["16.05"]["by_report_date"]["flows"]["corrections"]["total"] == 1


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(histories(), _rules, _periods, st.randoms(use_true_random=False))
def test_a_month_adds_up(events: list[Json], rules: Rules, periods: Periods, chance: Any) -> None:
    """The identity; opening[t+1] = closing[t]; flows of children are those of the parent; order and repeats change nothing."""
    accepted, _ = accept(events)
    closings = close(accepted, rules, periods)
    again = accepted + chance.choices(accepted, k=len(accepted))
    chance.shuffle(again)
    assert close(again, rules, periods) == closings
    for of_month in closings:
        for record in of_month.values():
            for dating in DATINGS:
                adds_up(record[dating])
        for dating in DATINGS:
            children_add_up(of_month, dating)
    flows_are_those_of_the_persons(engine_of(accepted, rules).flows(), periods, closings)
    for before, after in pairwise(closings):
        for region, record in after.items():
            for dating in DATINGS:
                assert before[region][dating]["closing"] == record[dating]["opening"]


def adds_up(month: Json) -> None:
    """closing = opening + births − deaths + moved_in − moved_out + corrections, for M, F, unknown and total."""
    flows = month["flows"]
    for key in KEYS:
        opening, closing = month["opening"]["population"][key], month["closing"]["population"][key]
        if opening is None or closing is None:
            assert flows["corrections"][key] is None
        else:
            moved = flows["births"][key] - flows["deaths"][key] + flows["moved_in"][key] - flows["moved_out"][key]
            assert closing == opening + moved + flows["corrections"][key]
    for name in FLOWS:
        assert flows[name]["M"] + flows[name]["F"] + flows[name]["unknown"] == flows[name]["total"]


def flows_are_those_of_the_persons(flows: Iterable[Flow], periods: Periods, closings: Closings) -> None:
    """Every flow but the birthdays, counted one by one in each region it lies in."""
    counted: defaultdict[tuple[int, str, str, str, str], int] = defaultdict(int)
    for flow in flows:
        for dating, day in zip(DATINGS, (flow.day, flow.reported), strict=True):
            for code in lineage(flow.place):
                for key in (KEYS[flow.sex], "total"):
                    counted[periods.index(day), code, dating, FLOWS[flow.kind], key] += 1
    for index, of_month in enumerate(closings):
        for region, record in of_month.items():
            for dating in DATINGS:
                for name in set(FLOWS) - {"turned_17"}:
                    expected = {key: counted[index, region, dating, name, key] for key in KEYS}
                    assert record[dating]["flows"][name] == expected


def children_add_up(of_month: dict[str, Json], dating: str) -> None:
    """A parent's flows are those of its children and its own; its own are those of offices and schedules above the villages."""
    sums: defaultdict[str, dict[str, int]] = defaultdict(lambda: dict.fromkeys(FLOWS, 0))
    for region, record in of_month.items():
        above = parent(region)
        if above is not None:
            sums[above] = dict(
                zip(
                    FLOWS,
                    map(operator.add, sums[above].values(), (record[dating]["flows"][name]["total"] for name in FLOWS)),
                    strict=True,
                )
            )
    for region, flows in sums.items():
        for name in set(FLOWS) - {"served", "turned_17"}:
            assert of_month[region][dating]["flows"][name]["total"] == flows[name]
