"""Flows, closings and delays of the second count against figures worked out by hand from docs/decisions/0006.

The stories are counted together, each with NIKs and in provinces of its own, with their events in the order written and in
reverse. The period is (28 Feb, 28 Mar 2019].
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from lampit.audit.sql_closings import period_days, sql_closings, sql_delays, sql_flows
from lampit.audit.sql_count import CountSettings
from schemas.closing import ClosingRecord
from tests.counters import ONE_THREAD
from tests.property.test_search import EAST, WEST
from tests.unit.sql_count_events import (
    REFERENCE,
    TRANSIT,
    A,
    B,
    C,
    Json,
    P,
    Q,
    S,
    balance,
    cancel,
    event,
    ledger_record,
    register,
)
from tests.unit.sql_count_stories import recording

FLOWS = ("births", "stillbirths", "deaths", "moved_out", "moved_in", "recordings", "served", "turned_17", "corrections")


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("regions")
    files = {"provinces": 2, "regencies": 5, "districts": 8, "villages": 13}
    for name, length in files.items():
        lines = [f'{code},"Place, {code}"' for code in REFERENCE if len(code) == length]
        (folder / f"{name}.csv").write_text("\n".join(["code,name", *lines]) + "\n", encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Story:
    """Events, and for a region what flowed by event date and by report date: totals of the flows that are not zero.

    All that goes through ID-transit is told.
    """

    name: str
    events: list[Json]
    expect: dict[str, tuple[Json, Json]]
    settings: Json = field(default_factory=dict)


RESIDENT = register(P, "2010-01-01", "r")
OUT = event("move_out", P, "2019-03-05", "o", region=A, destination=C)

# fmt: off
STORIES = [
    Story("a birth and a death are reported in other months",
          [event("birth", Q, "2019-03-02", "b", "2019-04-02", region=A, sex="M"), register(P, "2010-01-01", "r"),
           event("death", P, "2019-02-20", "d", "2019-03-03", region=A)],
          {A: ({"births": 1}, {"deaths": 1})}),
    Story("the day of a report is that of the region's zone",
          [register(P, "2010-01-01", "r", region="51.71.01.1001"),
           event("death", P, "2019-02-28", "d", "2019-02-28T23:30:00+07:00", region="51.71.01.1001")],
          {"51": ({}, {"deaths": 1})}),
    Story("a recording served is dated in the zone of the office",
          [RESIDENT, event("recording", P, "2019-02-28", "c", "2019-02-28T23:30:00+07:00", region=A, service_point="51.71")],
          {A: ({}, {"recordings": 1}), "51.71": ({}, {"served": 1})}),
    Story("only captures are recordings, and not after a death",
          [RESIDENT, recording("2019-03-01", "c1"), recording("2019-03-02", "c2", "sent"),
           recording("2019-03-03", "c3", "duplicate"), recording("2019-03-04", "c4", service_point=S),
           recording("2019-03-10", "c5"), event("death", P, "2019-03-10", "d", region=A)],
          {A: ({"recordings": 2, "deaths": 1},) * 2, S: ({"served": 1},) * 2}),
    Story("a stillbirth moves nobody, a late certificate is a birth that a correction takes back",
          [event("birth", Q, "2019-03-02", "s", region=A, sex="M", stillborn=True), register(P, "2010-01-01", "r"),
           event("birth", P, "1990-01-01", "b", "2019-03-03", region=A, sex="F", already_registered=True)],
          {A: ({"stillbirths": 1}, {"stillbirths": 1, "births": 1, "corrections": -1})}),
    Story("a second birth of one person is none",
          [event("birth", P, "2019-03-02", "b1", "2019-03-03", region=A, sex="M"),
           event("birth", P, "2019-03-02", "b2", "2019-03-04", region=A, sex="M")],
          {A: ({"births": 1},) * 2}),
    Story("who leaves goes through ID-transit",
          [RESIDENT, OUT, event("move_in", P, "2019-03-09", "i", region=C, origin=A)],
          {A: ({"moved_out": 1},) * 2, C: ({"moved_in": 1},) * 2, TRANSIT: ({"moved_in": 1, "moved_out": 1},) * 2}),
    Story("a move inside a regency nets nothing there",
          [RESIDENT, event("move_out", P, "2019-03-05", "o", region=A, destination=B),
           event("move_in", P, "2019-03-05", "i", region=B, origin=A)],
          {A: ({"moved_out": 1},) * 2, B: ({"moved_in": 1},) * 2, "16.05": ({"moved_out": 1, "moved_in": 1},) * 2,
           TRANSIT: ({"moved_in": 1, "moved_out": 1},) * 2}),
    Story("an arrival without a removal leaves the old home by a correction, and the late removal moves nobody",
          [RESIDENT, event("move_in", P, "2019-03-05", "i", region=C, origin=A),
           event("move_out", P, "2019-03-06", "o", region=A, destination=C)],
          {A: ({"corrections": -1},) * 2, C: ({"moved_in": 1},) * 2, TRANSIT: ({},) * 2}),
    Story("a removal that names another place leaves the home",
          [RESIDENT, event("move_out", P, "2019-03-05", "o", region=B, destination=C)],
          {A: ({"moved_out": 1},) * 2, B: ({},) * 2, TRANSIT: ({"moved_in": 1},) * 2}),
    Story("going abroad is a moved_out, the missing and the found are corrections",
          [RESIDENT, event("missing", P, "2019-03-02", "m", region=A), event("found", P, "2019-03-05", "f", region=B),
           event("move_out", P, "2019-03-08", "o", region=B, destination="abroad")],
          {A: ({"corrections": -1},) * 2, B: ({"corrections": 1, "moved_out": 1},) * 2}),
    Story("a death in transit is a death of ID-transit, of someone abroad none",
          [RESIDENT, OUT, event("death", P, "2019-03-10", "d", region=C),
           register(Q, "2010-01-01", "q"), event("move_out", Q, "2018-01-01", "a", region=A, destination="abroad"),
           event("death", Q, "2019-03-10", "e", region=A)],
          {A: ({"moved_out": 1},) * 2, TRANSIT: ({"moved_in": 1, "deaths": 1},) * 2, C: ({},) * 2}),
    Story("a removal that lapses is a correction",
          [RESIDENT, OUT], {A: ({"moved_out": 1, "corrections": 1},) * 2, TRANSIT: ({"moved_in": 1, "corrections": -1},) * 2},
          {"transit_expiry_days": 10}),
    Story("an arrival on the last day of the letter comes from transit, a day later it does not",
          [RESIDENT, OUT, event("move_in", P, "2019-03-15", "i", region=C), register(Q, "2010-01-01", "q"),
           event("move_out", Q, "2019-03-05", "p", region=A, destination=C),
           event("move_in", Q, "2019-03-16", "j", region=C)],
          {TRANSIT: ({"moved_in": 2, "moved_out": 1, "corrections": -1},) * 2, C: ({"moved_in": 2},) * 2,
           A: ({"moved_out": 2},) * 2}, {"transit_expiry_days": 10}),
    Story("a register entry is a correction",
          [register(P, "2019-03-01", "r")], {A: ({"corrections": 1},) * 2}),
    Story("a cancelled death made no flow; by report date the stock had it for a while",
          [RESIDENT, event("death", P, "2019-02-20", "d", "2019-02-21", region=A),
           cancel(P, "2019-03-10", "x", "d")],
          {A: ({}, {"corrections": 1})}),
    Story("17 on the day, where they live, by report date as known on it",
          [register(P, "2010-01-01", "r", born="2002-03-05"),
           event("correction", P, "2019-04-01", "c", birth_date="2002-04-10"),
           register(Q, "2010-01-01", "q", born="2002-03-06"), event("death", Q, "2019-03-01", "d", "2019-03-20", region=A)],
          {A: ({"deaths": 1}, {"turned_17": 2, "deaths": 1})}),
    Story("who came after the birthday was not counted there",
          [register(P, "2019-03-05", "r", born="2002-03-05"), register(Q, "2019-03-06", "q", born="2002-03-05")],
          {A: ({"turned_17": 1, "corrections": 2},) * 2}),
    Story("a schedule tells the birthdays of those whom the balance holds",
          [balance("16.05", "2019-01-01", population=9,
                   turning_17=[{"on": "2019-03-07", "count": 4}, {"on": "2019-04-07", "count": 1}]),
           register(P, "2010-01-01", "r", born="2002-03-05"),
           event("move_in", Q, "2019-03-01", "i", region=A, origin="abroad", person={"birth_date": "2002-03-09"})],
          {"16.05": ({"turned_17": 5, "moved_in": 1},) * 2, "16": ({"turned_17": 5, "moved_in": 1},) * 2,
           A: ({"turned_17": 2, "moved_in": 1},) * 2}),
    Story("on D0 and up to it the known ones are told, on the next D0 still the schedule",
          [balance("16.05", "2019-03-04", "B1", population=9, turning_17=[{"on": "2019-03-20", "count": {"M": 1, "F": 2}},
                                                                       {"on": "2019-03-21", "count": 8}]),
           balance("16.05", "2019-03-20", "B2", population=9), register(P, "2010-01-01", "r", born="2002-03-04"),
           register(Q, "2010-01-01", "q", born="2002-03-20")],
          {"16.05": ({"turned_17": 4, "corrections": None},) * 2, A: ({"turned_17": 2},) * 2}),
    Story("without a schedule the known ones are told",
          [balance("16.05", "2019-01-01", population=9), register(P, "2010-01-01", "r", born="2002-03-05")],
          {"16.05": ({"turned_17": 1},) * 2}),
    Story("a balance opened in the period: corrections are not known, flows are",
          [balance("16.09", "2019-03-10", population=9), register(P, "2010-01-01", "r", region=S),
           event("death", P, "2019-03-15", "d", region=S)],
          {"16.09": ({"deaths": 1, "corrections": None},) * 2, S: ({"deaths": 1},) * 2}),
    # By report date nobody knew of them on 28 February.
    Story("naming someone who lived there for ever moves nobody",
          [balance("16.09", "2019-03-10", population=9), event("death", P, "2019-03-15", "d", region=S)],
          {S: ({"deaths": 1}, {"deaths": 1, "corrections": 1})}),
    Story("two NIKs made one is a correction, by report date from the day of the report",
          [register(P, "2010-01-01", "p"), register(Q, "2010-01-02", "q"),
           event("nik_change", P, "2019-02-01", "n", "2019-03-05", new_nik=Q)],
          {A: ({}, {"corrections": -1})}),
]
# fmt: on


def closings(events: list[Json], regions: Path, **settings: Any) -> dict[str, Json]:
    records = [ledger_record(one) for one in events]
    chosen = CountSettings(**settings)
    found = sql_closings(records, period="2019-03", regions=regions, settings=chosen, machine=ONE_THREAD)
    for record in found:
        ClosingRecord.model_validate_json(json.dumps(record))
    return {record["region"]: record for record in found}


def adds_up(month: Json) -> bool:
    """Closing = opening + births − deaths + moved_in − moved_out + corrections, for every sex that is known."""
    flows = month["flows"]
    return all(
        month["closing"]["population"][sex]
        == month["opening"]["population"][sex]
        + flows["births"][sex]
        - flows["deaths"][sex]
        + flows["moved_in"][sex]
        - flows["moved_out"][sex]
        + flows["corrections"][sex]
        for sex in ("M", "F", "unknown", "total")
        if flows["corrections"][sex] is not None
    )


def in_own_provinces(text: str, number: int) -> str:
    """The same story for other people in other provinces of the same zones."""
    provinces = {"15": WEST[2 * number], "16": WEST[2 * number + 1], "51": EAST[number % len(EAST)]}
    text = re.sub(r'"(15|16|51)(?=[."])', lambda found: '"' + provinces[found[1]], text)
    text = re.sub(r"16050201018(?=\d{5})", f"160502010{number:02}", text)
    return text.replace('"id": "', f'"id": "{number}-')


def told(record: Json | None, dating: str) -> Json:
    """The totals of the flows that are not zero."""
    if record is None:
        return {}
    flows = {name: record[dating]["flows"][name]["total"] for name in FLOWS}
    return {name: count for name, count in flows.items() if count != 0}


def added(flows: list[Json]) -> Json:
    totals: Counter[str] = Counter()
    for one in flows:
        totals.update(one)
    return {name: count for name, count in totals.items() if count}


@pytest.mark.parametrize("expiry", [None, 10])
@pytest.mark.parametrize("is_reversed", [False, True], ids=["as written", "reversed"])
def test_stories(expiry: int | None, is_reversed: bool, regions: Path) -> None:
    stories = [story for story in STORIES if story.settings.get("transit_expiry_days") == expiry]
    events: list[Json] = []
    for number, story in enumerate(stories):
        events += json.loads(in_own_provinces(json.dumps(story.events), number))
    found = closings(events[::-1] if is_reversed else events, regions, transit_expiry_days=expiry)
    for side, dating in enumerate(("by_event_date", "by_report_date")):
        for number, story in enumerate(stories):
            for region, expected in story.expect.items():
                code = json.loads(in_own_provinces(json.dumps(region), number))
                if region != TRANSIT:
                    assert told(found.get(code), dating) == expected[side], (story.name, region, dating)
        in_transit = [story.expect[TRANSIT][side] for story in stories if TRANSIT in story.expect]
        assert told(found[TRANSIT], dating) == added(in_transit), dating
        assert all(adds_up(record[dating]) for record in found.values())


def test_the_country_is_the_sum(regions: Path) -> None:
    """Who passes through ID-transit leaves twice and arrives twice there."""
    events = [RESIDENT, OUT, event("move_in", P, "2019-03-09", "i", region=C, origin=A),
              event("recording", P, "2019-03-10", "c", region=C, service_point="16.09")]  # fmt: skip
    found = closings(events, regions)
    assert told(found["ID"], "by_event_date") == {"moved_in": 2, "moved_out": 2, "recordings": 1, "served": 1}
    assert told(found["16"], "by_event_date") == {"moved_out": 1, "served": 1}


def test_figures_of_a_closing(regions: Path) -> None:
    """Stocks by both dates: a man recorded in February, reported in March; a woman who dies in March."""
    events = [
        register(P, "2010-01-01", "p", person={"sex": "M"}),
        recording("2019-02-10", "c", reported="2019-03-01"),
        register(Q, "2010-01-01", "q"),
        event("death", Q, "2019-03-10", "d", "2019-04-03", region=A),
    ]
    record = closings(events, regions)[A]
    happened, reported = record["by_event_date"], record["by_report_date"]
    assert (record["period"], record["opened_on"], record["closed_on"]) == ("2019-03", "2019-02-28", "2019-03-28")
    assert (record["level"], record["basis"], record["stale_denominator"]) == ("village", "register", False)
    assert happened["opening"]["population"] == {"M": 1, "F": 1, "unknown": 0, "total": 2}
    assert happened["opening"]["recorded"]["total"] == 1
    assert happened["closing"]["population"] == {"M": 1, "F": 0, "unknown": 0, "total": 1}
    assert happened["coverage"] == 1.0
    assert happened["flows"]["recordings"]["total"] == 0
    assert reported["opening"]["recorded"]["total"] == 0
    assert reported["closing"]["population"] == {"M": 1, "F": 1, "unknown": 0, "total": 2}
    assert reported["closing"]["unrecorded"] == {"M": 0, "F": 1, "unknown": 0, "total": 1}
    assert reported["coverage"] == 0.5
    assert reported["flows"]["recordings"] == {"M": 1, "F": 0, "unknown": 0, "total": 1}


def test_a_balance_that_states_the_total_alone(regions: Path) -> None:
    """OKU Selatan in February; one recorded adult, unknown until then, dies in March."""
    events = [
        balance("16.09", "2019-02-15", obliged=270764, recorded=213572, population=300000),
        event(
            "death", P, "2019-03-05", "d", region=S, person={"birth_date": "1980-01-01", "recorded_on": "2015-01-01"}
        ),
    ]
    record = closings(events, regions)["16.09"]
    month = record["by_event_date"]
    assert record["basis"] == "balance"
    assert month["opening"]["obliged"] == {"M": None, "F": None, "unknown": None, "total": 270764}
    assert (month["closing"]["obliged"]["total"], month["closing"]["recorded"]["total"]) == (270763, 213571)
    assert month["coverage"] == 213571 / 270763
    assert month["closing"]["issued"]["total"] is None
    assert month["flows"]["deaths"] == {"M": 0, "F": 0, "unknown": 1, "total": 1}
    assert month["flows"]["corrections"] == {"M": None, "F": None, "unknown": None, "total": 0}


def test_flows_day_by_day(regions: Path) -> None:
    events = [
        RESIDENT,
        event("birth", Q, "2019-03-02", "b", "2019-03-04", region=A, sex="M"),
        event("death", P, "2019-03-04", "d", region=A),
    ]
    found = sql_flows(
        [ledger_record(one) for one in events],
        first_day=date(2019, 3, 2),
        last_day=date(2019, 3, 4),
        regions=regions,
        machine=ONE_THREAD,
    )
    told = [(row["dating"], row["day"], row["kind"], row["M"], row["F"]) for row in found if row["region"] == A]
    assert told == [
        ("event", "2019-03-02", "births", 1, 0),
        ("event", "2019-03-04", "deaths", 0, 1),
        ("report", "2019-03-04", "births", 1, 0),
        ("report", "2019-03-04", "deaths", 0, 1),
    ]
    assert {row["level"] for row in found} == {"village", "district", "regency", "province", "country"}


def test_delays(regions: Path) -> None:
    """Of ten deaths nine were reported within 9 days, five within 5; one in another village after 100; one cancelled."""
    niks = [f"16050201018001{days:02}" for days in range(1, 11)]
    events = [register(nik, "2010-01-01", f"r{nik}") for nik in (*niks, Q)]
    events += [
        event("death", nik, "2019-03-01", f"d{days}", f"2019-03-{1 + days:02}", region=A)
        for days, nik in enumerate(niks, start=1)
    ]
    events += [register(P, "2010-01-01", "p", region=B), event("death", P, "2019-03-01", "l", "2019-06-09", region=B)]
    events += [event("death", Q, "2019-01-01", "g", "2019-03-05", region=A), cancel(Q, "2019-03-06", "x", "g")]
    records = [ledger_record(one) for one in events]

    def told(first: date, last: date) -> dict[tuple[str, str, str], Json]:
        found = sql_delays(records, first_day=first, last_day=last, regions=regions, machine=ONE_THREAD)
        return {(row["region"], row["dating"], row["kind"]): row for row in found}

    march = told(date(2019, 3, 1), date(2019, 3, 6))
    happened = march[A, "event", "deaths"]
    assert (happened["flows"], happened["median_days"], happened["ninetieth_days"]) == (10, 5, 9)
    assert march[B, "event", "deaths"]["median_days"] == 100
    assert march["16.05", "event", "deaths"]["flows"] == 11
    reported = march["16.05", "report", "deaths"]
    assert (reported["flows"], reported["median_days"], reported["ninetieth_days"]) == (5, 3, 5)
    assert told(date(2019, 6, 9), date(2019, 6, 9))["ID", "report", "deaths"]["median_days"] == 100


def test_periods() -> None:
    assert period_days("2019-03") == (date(2019, 2, 28), date(2019, 3, 28))
    assert period_days("2020-01", 15) == (date(2019, 12, 15), date(2020, 1, 15))
