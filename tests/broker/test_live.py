"""The live agents count what `lampit count` counts: every scenario, shuffled and repeated, by two workers."""

from __future__ import annotations

import json
import random
from datetime import date
from pathlib import Path
from typing import Any

from agents.topics import ANOMALIES, LEDGER, REJECTED
from stream.rules import Rules
from tests.brokers import Broker
from tests.live import Live, Process, assert_anomalies_equal, compare, expected_coverage
from tests.scenario_files import load_scenarios

CASES = Path(__file__).parent.parent / "scenarios" / "cases"

NIK_DIGITS = 16

DAYS = (
    date(2018, 12, 31),
    date(2019, 2, 28),
    date(2019, 3, 1),
    date(2019, 3, 28),
    date(2020, 6, 30),
    date(2022, 11, 9),
    date(2025, 6, 1),
)


def case_events() -> list[dict[str, Any]]:
    """The events of all cases; a person of one case is not one of another."""
    events = []
    for number, case in enumerate(sorted(CASES.iterdir())):
        for line in (case / "events.jsonl").read_text().splitlines():
            event = json.loads(line)
            if "nik" in event["data"]:
                for name in ("nik", "new_nik"):
                    if name in event["data"]:
                        event["data"][name] = f"{event['data'][name][:10]}{number:02}{event['data'][name][12:]}"
            events.append(event)
    return events


def scenario_events() -> list[dict[str, Any]]:
    """The events of all scenarios that need no setting of their own."""
    return [event for scenario in load_scenarios() if not scenario.settings for event in scenario.events]


def test_all_scenarios_by_two_workers_in_any_order(empty_broker: Broker, tmp_path: Path) -> None:
    """Day by day the coverage of every region equals the count of the same events; anomalies too; no NIK anywhere."""
    events = case_events() + scenario_events()
    random.Random(20190328).shuffle(events)
    repeated = random.Random(1).sample(events, 100)
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        live.start("ledger", "ledger-a")
        if empty_broker.transactions:  # the embedded broker knows no fence: one worker
            live.start("ledger", "ledger-b")
        rollup = live.start("rollup")
        live.publish(events[: len(events) // 2])
        live.turn_day(DAYS[0])
        live.publish(events[len(events) // 2 :] + repeated)
        for day in DAYS:
            live.turn_day(day)
            found = live.differences(day, live.wait_until_counted(day))
            assert not found, "\n".join(found[:20])
        assert_other_days_equal(live, rollup)
        assert_anomalies_equal(live, DAYS[-1])
        assert_no_nik(live)


def assert_other_days_equal(live: Live, rollup: Process) -> None:
    """Any other day, asked for over HTTP, is what the engine counts for it: past, and yet to come."""
    for day in (*DAYS[:-1], date(2029, 4, 17)):
        found = compare(expected_coverage(live.sent, day, Rules()), live.coverage_on(day, rollup))
        assert not found, "\n".join([str(day), *found[:20]])


def assert_no_nik(live: Live) -> None:
    """No NIK that was sent is in any topic behind intake, in a log or in the metrics."""
    niks = {
        str(event["data"][name]).encode()
        for event in live.sent
        for name in ("nik", "new_nik")
        if len(str(event["data"].get(name))) == NIK_DIGITS
    }
    assert niks
    told = [record.value or b"" for topic in (LEDGER, ANOMALIES) for record in live.read(topic, live.partitions)]
    told += [
        record.value or b"" for topic in ("lampit.partials", "lampit.coverage", REJECTED) for record in live.read(topic)
    ]
    told += [process.log.read_bytes() for process in live.processes]
    everything = b"\n".join(told)
    assert not [nik for nik in niks if nik in everything]
