"""The events of the demonstration: the same every time, real places, published figures, nothing that intake refuses."""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import timedelta
from itertools import islice
from typing import Any

import pytest

from lampit import reference
from lampit.demo.balances import DERIVED_SOURCE, JAMBI_UNRECORDED, PUBLISHED_SOURCE
from lampit.demo.data import BAD_SOURCE, OPENING_DAY, demo_events, opening_balances, page_notes
from lampit.demo.people import DISTRICT
from schemas.events import TYPES
from stream.admission import Admitted, admit
from stream.coverage import percent
from stream.engine import Engine
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules

SEED, PEOPLE, DAYS = 7, 1_000, 12
pseudonymise = Pseudonymiser(b"a key for tests, of 32 bytes or more")


def lines(seed: int = SEED, people: int = PEOPLE, days: int = DAYS) -> list[bytes]:
    return [json.dumps([str(day), event]).encode() for day, event in demo_events(seed, people, days)]


def counted(people: int, days: int, seed: int = SEED) -> dict[str, dict[str, Any]]:
    engine = Engine(Rules(), reference.load())
    for one in demo_events(seed, people, days):
        admitted = admit(json.dumps(one.event).encode(), pseudonymise)
        if isinstance(admitted, Admitted):
            engine.add(admitted.subject, admitted.event)
    return {record["region"]: record for record in engine.count(OPENING_DAY + timedelta(days=days)).regions}


def test_the_same_seed_gives_the_same_bytes_and_another_one_others() -> None:
    assert lines() == lines()
    assert lines() != lines(seed=SEED + 1)


def test_more_days_go_on_where_fewer_end() -> None:
    fewer = lines(days=3)
    assert lines(days=5)[: len(fewer)] == fewer
    endless = (json.dumps([str(day), event]).encode() for day, event in demo_events(SEED, PEOPLE))
    assert list(islice(endless, len(fewer))) == fewer


def test_every_event_is_accepted_but_the_marked_ones() -> None:
    refused = []
    for one in demo_events(SEED, PEOPLE, DAYS):
        admitted = admit(json.dumps(one.event).encode(), pseudonymise)
        assert isinstance(admitted, Admitted) == (one.event["source"] != BAD_SOURCE), one.event
        if not isinstance(admitted, Admitted):
            refused.append(admitted.reason)
    assert sorted(refused) == ["malformed_date", "malformed_nik", "unknown_type"]


def test_every_place_is_in_the_reference_on_its_day() -> None:
    regions = reference.load()
    for one in demo_events(SEED, PEOPLE, DAYS):
        data = one.event["data"]
        for name in ("region", "origin", "destination", "service_point"):
            if data.get(name, "abroad") != "abroad":
                assert regions.known(data[name], one.day.toordinal()), data[name]


def test_days_come_in_order_and_nothing_is_sent_before_it_was_registered() -> None:
    sent = [one for one in demo_events(SEED, PEOPLE, DAYS) if one.event["source"] != BAD_SOURCE]
    assert [one.day for one in sent] == sorted(one.day for one in sent)
    assert all(one.event["time"][:10] <= str(one.day) for one in sent)
    assert all(one.event["data"]["occurred_on"] <= one.event["time"][:10] for one in sent)


def test_some_events_come_late_twice_and_out_of_order() -> None:
    sent = [one for one in demo_events(SEED, PEOPLE, DAYS) if one.day > OPENING_DAY]
    names = Counter((one.event["source"], one.event["id"]) for one in sent)
    assert any(count > 1 for count in names.values())
    assert any(one.event["time"][:10] < str(one.day) for one in sent)
    times = [one.event["time"] for one in sent if one.event["time"][:10] == str(one.day)]
    assert times != sorted(times)


def test_every_family_of_events_occurs() -> None:
    kinds = {one.event["type"] for one in demo_events(SEED, PEOPLE, 30)}
    assert {TYPES[kind] for kind in kinds & TYPES.keys()} == set(TYPES.values())
    assert "lampit.cancellation.v1" in kinds


@pytest.mark.parametrize(
    ("region", "obliged", "recorded", "shown"),
    [("16.05", 293_578, 283_755, "96.65"), ("16.09", 270_764, 213_572, "78.88")],
)
def test_the_books_open_with_the_published_figures(region: str, obliged: int, recorded: int, shown: str) -> None:
    record = counted(PEOPLE, days=0)[region]
    assert (record["obliged"]["total"], record["recorded"]["total"]) == (obliged, recorded)
    assert percent(recorded, obliged) == shown
    assert record["population"]["total"] is None, "nobody published one"


def test_jambi_is_derived_from_its_two_published_figures_and_says_so() -> None:
    records = counted(PEOPLE, days=0)
    assert records["15"]["unrecorded"]["total"] == JAMBI_UNRECORDED
    sarolangun = records["15.03"]
    assert percent(sarolangun["unrecorded"]["total"], sarolangun["obliged"]["total"]) == "14.00"
    of_jambi = [balance for balance in opening_balances() if balance.region.startswith("15.")]
    assert len(of_jambi) == 11
    assert {balance.source for balance in of_jambi} == {DERIVED_SOURCE}
    assert {balance.region for balance in opening_balances() if balance.source == PUBLISHED_SOURCE} == {
        "16.05",
        "16.09",
    }
    notes = page_notes(PEOPLE)["regions"]
    assert all("not published" in notes[balance.region]["text"] for balance in of_jambi)


def test_the_register_has_the_proportions_of_the_published_figures() -> None:
    record = counted(4_000, days=0)[DISTRICT]
    totals = {name: record[name]["total"] for name in ("population", "obliged", "recorded", "recorded_early")}
    assert totals["population"] == 4_000
    assert 0.70 < totals["obliged"] / totals["population"] < 0.74
    assert 0.955 < totals["recorded"] / totals["obliged"] < 0.975
    assert totals["recorded_early"] > 0
    assert 0.47 < record["population"]["M"] / totals["population"] < 0.54


def test_no_number_can_be_a_real_nik() -> None:
    niks = {one.event["data"]["nik"] for one in demo_events(SEED, PEOPLE, DAYS) if "nik" in one.event["data"]}
    assert all(re.fullmatch(r"00[0-9]{14}", nik) for nik in niks if isinstance(nik, str))
