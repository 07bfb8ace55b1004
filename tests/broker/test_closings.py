"""Closings by real processes on a broker: every one is what the engine counts over the ledger before its barrier."""

from __future__ import annotations

import json
import random
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.barrier import is_ahead
from agents.topics import CLOSINGS, LEDGER
from lampit import reference
from schemas.closing import ClosingRecord
from stream.engine import Engine
from stream.ledger import ControlRecord, Day, decode_record
from stream.rules import Rules
from tests.broker.test_live import case_events, scenario_events
from tests.brokers import Broker
from tests.closings import assert_known, assert_revisions
from tests.conftest import KAFKA_FIRST
from tests.live import Live, rules_of

TURNS = tuple(
    map(date.fromisoformat, ("2019-01-27", "2019-01-29", "2019-03-01", "2019-03-02", "2019-03-29", "2019-05-01"))
)

Json = dict[str, Any]


@pytest.mark.parametrize("empty_broker", KAFKA_FIRST, indirect=True)
def test_every_closing_is_that_of_the_ledger_before_its_barrier(empty_broker: Broker, tmp_path: Path) -> None:
    """Six months of all stories, late events and balances among them; ledger worker and roll-up killed as a day turns."""
    events = case_events() + scenario_events()
    random.Random(28).shuffle(events)
    share = len(events) // (len(TURNS) - 1) + 1
    with Live(empty_broker, tmp_path, settings={"LAMPIT_FIRST_PERIOD": "2019-01"}) as live:
        live.start("intake")
        worker, rollup = live.start("ledger", "ledger-a"), live.start("rollup", "rollup-a")
        live.turn_day(TURNS[0])
        for number, day in enumerate(TURNS[1:]):
            live.publish(events[number * share : (number + 1) * share])
            live.wait_until_counted(TURNS[number])  # copies of merged people are in the ledger
            live.turn_day(day)
            if number == 1:
                worker.kill()
                worker = live.start("ledger", "ledger-a")
            elif number == 2 and empty_broker.transactions:
                rollup.kill()
                rollup = live.start("rollup", "rollup-b")
            elif number == 3 and empty_broker.transactions:
                worker.kill()
                worker = live.start("ledger", "ledger-without-a-store")
        live.wait_until_counted(TURNS[-1])
        known_day = (TURNS[-1] - timedelta(days=1)).isoformat()
        live.wait_until(lambda: _closed(live) == known_day, f"the closings of {known_day}")
        found = live.read(CLOSINGS)
        published = [ClosingRecord.model_validate_json(one.value).model_dump(mode="json") for one in found]
        keys = [f"{one['region']}|{one['period']}|{one['known_day']}".encode() for one in published]
        assert keys == [one.key for one in found]
        assert len(set(keys)) == len(keys)
        assert_revisions(published)
        assert len({record["known_day"] for record in published}) >= len(TURNS) - 2
        assert any(record["revision"] > 1 for record in published)
        rules = rules_of(live.settings)
        for known in sorted({record["known_day"] for record in published}):
            on = date.fromisoformat(known)
            engine, position = _counted_before(live, on + timedelta(days=1), rules)
            assert_known(published, on, engine, rules)
            assert all(record["position"] == position for record in published if record["known_day"] == known)


def _closed(live: Live) -> str | None:
    """The newest day of which the roll-up says that it is closed."""
    closed = [json.loads(one.value) for one in live.read("lampit.partials") if one.key == b"closed" and one.value]
    return str(closed[-1]["known_day"]) if closed else None


def _counted_before(live: Live, day: date, rules: Rules) -> tuple[Engine, dict[str, int]]:
    """The engine with the events of every partition before its day record, without copies; the offsets behind that."""
    engine = Engine(rules, reference.load())
    turned: dict[str, int] = {}
    for record in live.read(LEDGER, live.partitions):
        decoded = decode_record(record.value)
        if isinstance(decoded, ControlRecord):
            control = decoded.control
            # One that is ahead of the broker's clock is passed over, and turns nothing.
            if (
                isinstance(control, Day)
                and control.day >= day.toordinal()
                and not is_ahead(control.day, record.timestamp)
            ):
                turned.setdefault(str(record.partition), record.offset + 1)
        elif str(record.partition) not in turned and decoded.forwarded_from is None:
            engine.add(decoded.subject, decoded.event)
    return engine, turned
