"""What production does to it: a worker killed in the middle, one frozen until another took over, ten thousand moves."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agents.topics import COVERAGE, LEDGER
from bench.people import VILLAGES, events
from stream.regions import COUNTRY
from tests.brokers import Broker
from tests.conftest import KAFKA_FIRST
from tests.families import changes_of_nik
from tests.live import Live, assert_anomalies_equal

DAY = date(2019, 3, 28)


def made(count: int, seed: int) -> Iterator[dict[str, Any]]:
    """Lives of people, as events."""
    return (json.loads(line) for line in events(count, seed))


@pytest.mark.parametrize("empty_broker", KAFKA_FIRST, indirect=True)
def test_ledger_worker_killed_among_20000_events(empty_broker: Broker, tmp_path: Path) -> None:
    """After a kill -9 in the middle and a restart, with its store and without it, no region is wrong by one person."""
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        worker = live.start("ledger", "ledger-a")
        live.start("rollup")
        live.turn_day(DAY)
        live.publish(made(10_000, seed=7))
        live.wait_until(lambda: live.counted_events() > 2_000, "the worker to be in the middle")
        worker.kill()
        live.publish(made(20_000, seed=7))
        if empty_broker.transactions:  # the embedded broker loses its way in a group of which two members died
            before = live.counted_events()
            worker = live.start("ledger", "ledger-a")
            live.wait_until(lambda: live.counted_events() > before + 2_000, "the restarted worker to be in the middle")
            worker.kill()
        live.start("ledger", "ledger-without-a-store")
        found = live.differences(DAY, live.wait_until_counted(DAY))
        assert not found, "\n".join(found[:20])


@pytest.mark.parametrize("empty_broker", KAFKA_FIRST, indirect=True)
def test_ledger_worker_killed_while_it_merges_people(empty_broker: Broker, tmp_path: Path) -> None:
    """Families of five NIKs in four partitions, the worker killed among the copies it sends: nobody twice, nobody lost."""
    sent = _families(made(3_000, seed=5))
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        worker = live.start("ledger", "ledger-a")
        live.start("rollup")
        live.turn_day(DAY)
        live.publish(sent[:1_500])
        live.wait_until(lambda: _copies(live) > 100, "copies to be under way")
        worker.kill()
        live.publish(sent[1_500:])
        if empty_broker.transactions:  # the embedded broker loses its way in a group of which two members died
            before = _copies(live)
            worker = live.start("ledger", "ledger-a")
            live.wait_until(lambda: _copies(live) > before + 50, "the restarted worker to send copies")
            worker.kill()
        live.start("ledger", "ledger-without-a-store")
        found = live.differences(DAY, live.wait_until_counted(DAY))
        assert not found, "\n".join(found[:20])
        assert_anomalies_equal(live, DAY)


def _copies(live: Live) -> int:
    """Copies in the ledger."""
    return sum(b'"forwardedfrom"' in record.value for record in live.read(LEDGER, live.partitions))


def _families(lives: Iterator[dict[str, Any]]) -> list[dict[str, Any]]:
    """The events, and among them in any order changes of NIK that chain every five people together."""
    events = list(lives)
    events += changes_of_nik((event["data"]["nik"] for event in events), 5)
    random.Random(11).shuffle(events)
    return events


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)  # the embedded broker has no fence
def test_frozen_worker_is_refused_after_another_took_over(empty_broker: Broker, tmp_path: Path) -> None:
    """SIGSTOP beyond the session, then SIGCONT: what the zombie still writes is refused, and figures stay exact."""
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        frozen = live.start("ledger", "ledger-a")
        live.start("rollup")
        live.turn_day(DAY)
        live.publish(made(4_000, seed=3))
        live.wait_until_counted(DAY)
        frozen.pause()
        live.publish(made(8_000, seed=3))
        live.start("ledger", "ledger-b")
        live.wait_until_counted(DAY)
        frozen.resume()
        live.publish(made(9_000, seed=4))
        found = live.differences(DAY, live.wait_until_counted(DAY))
        assert not found, "\n".join(found[:20])
        heads: dict[str, int] = {}
        for record in live.read("lampit.partials"):
            if record.key.startswith(b"head|"):
                offset = json.loads(record.value)["offset"]
                assert offset >= heads.get(record.key, 0), "an older worker wrote after a newer one"
                heads[record.key] = offset


@pytest.mark.parametrize("empty_broker", KAFKA_FIRST, indirect=True)
def test_population_of_the_country_stands_still_during_10000_moves(empty_broker: Broker, tmp_path: Path) -> None:
    """A subscriber who keeps every value of ID never sees a person lost or doubled while people move."""
    people = 2_000
    registers = [_register(number) for number in range(people)]
    moves = [event for number in range(10_000) for event in _move(number, people)]
    with Live(empty_broker, tmp_path) as live:
        for role in ("intake", "ledger", "rollup"):
            live.start(role)
        live.turn_day(DAY)
        live.publish(registers)
        live.wait_until_counted(DAY)
        before = len(_of_country(live))
        for begin in range(0, len(moves), 2_000):
            shown = len(_of_country(live))
            live.publish(moves[begin : begin + 2_000])
            # A roll-up without a processor for a while would give out one value for all of them.
            live.wait_until(lambda shown=shown: len(_of_country(live)) > shown, "a value in between")  # type: ignore[misc]
        found = live.differences(DAY, live.wait_until_counted(DAY))
        assert not found, "\n".join(found[:20])
        seen = _of_country(live)[before:]
        assert len(seen) > 5
        assert {record["population"]["total"] for record in seen} == {people}
        for partition in map(str, range(live.partitions)):
            positions = [record["position"][partition] for record in seen]
            assert positions == sorted(positions)


def _of_country(live: Live) -> list[dict[str, Any]]:
    """Every value of the country so far."""
    return [json.loads(record.value) for record in live.read(COVERAGE) if record.key == COUNTRY.encode()]


def _register(number: int) -> dict[str, Any]:
    data = {"nik": _nik(number), "occurred_on": "2010-01-01", "region": VILLAGES[number % len(VILLAGES)]}
    return _event("register", f"r{number}", {**data, "person": {"birth_date": "1990-01-01", "sex": "F"}})


def _move(number: int, people: int) -> list[dict[str, Any]]:
    person = number % people
    turn = number // people
    home, target = VILLAGES[(person + turn) % len(VILLAGES)], VILLAGES[(person + turn + 1) % len(VILLAGES)]
    data = {"nik": _nik(person), "occurred_on": f"2019-03-{1 + turn:02}"}
    return [
        _event("move_out", f"o{number}", {**data, "region": home, "destination": target}),
        _event("move_in", f"i{number}", {**data, "region": target, "origin": home}),
    ]


def _nik(number: int) -> str:
    return f"16059{number:011}"


def _event(kind: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": name,
        "source": "/siak/1605",
        "type": f"lampit.{kind}.v1",
        "time": "2019-03-20T09:12:00+07:00",
        "data": data,
    }
