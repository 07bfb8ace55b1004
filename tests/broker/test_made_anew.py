"""Topics that are deleted and made anew while processes read and write them: no figure stays wrong, no event is passed over."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from agents.settings import Settings
from agents.topics import ANOMALIES, COVERAGE, INTAKE_TOPICS, LEDGER, PARTIALS, ensure_topics, topics_of
from stream.ledger import ControlRecord, decode_record
from tests.broker.test_survival import made
from tests.brokers import Broker, delete_topics
from tests.live import Event, Live, Process, assert_anomalies_equal

DAY = date(2019, 3, 28)
ANEW = "was deleted and made anew while this process ran"


def make_anew(live: Live, *names: str) -> None:
    """Empty topics of the same names."""
    delete_topics(live.broker.bootstrap_servers, list(names))
    settings = Settings(bootstrap_servers=live.broker.bootstrap_servers, partitions=live.partitions)
    ensure_topics(settings, [topic for topic in topics_of(settings) if topic.name in names])


def assert_ends(live: Live, processes: Sequence[Process]) -> None:
    """Each says why and is to be started again."""
    live.wait_until(lambda: all(process.popen.poll() is not None for process in processes), "all to end")
    for process in processes:
        assert process.popen.returncode == 1
        assert ANEW in process.log.read_text()


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_what_was_given_out_on_topics_that_are_gone_is_given_out_again(empty_broker: Broker, tmp_path: Path) -> None:
    with Live(empty_broker, tmp_path, partitions=2) as live:
        running = [live.start(role) for role in ("intake", "ledger", "rollup")]
        live.turn_day(DAY)
        live.publish(made(1_500, seed=3))
        live.wait_until_counted(DAY)
        make_anew(live, PARTIALS, ANOMALIES, COVERAGE)
        assert_ends(live, running)
        for role in ("intake", "ledger", "rollup"):
            live.start(role)
        live.publish(made(100, seed=4))
        found = live.differences(DAY, live.wait_until_counted(DAY))
        assert not found, "\n".join(found[:20])
        assert_anomalies_equal(live, DAY)


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_a_topic_of_intake_is_read_from_its_beginning(empty_broker: Broker, tmp_path: Path) -> None:
    topic = INTAKE_TOPICS[0]

    def send(events: Sequence[Event]) -> None:
        live.sent += events
        with live.producer() as producer:
            for event in events:
                producer.send(topic, json.dumps(event).encode())

    people = list(made(400, seed=5))
    with Live(empty_broker, tmp_path, partitions=1) as live:
        intake = live.start("intake")
        live.start("ledger")
        live.start("rollup")
        live.turn_day(DAY)
        send(people[:100])
        live.wait_until_counted(DAY)
        # Frozen, it hears of none of it: it goes on at offset 100 of the new topic, and commits 300.
        intake.pause()
        make_anew(live, topic)
        send(people[100:])
        intake.resume()
        assert_ends(live, live.processes)
        again = [live.start(role) for role in ("intake", "ledger", "rollup")]
        # The group's offset says that all is taken in.
        live.wait_until(lambda: not live.differences(DAY, live.coverage()), "the figures to be those of all events")
        assert "begun at its first" in again[0].log.read_text()


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_a_store_that_has_read_on_in_another_ledger_is_rebuilt(empty_broker: Broker, tmp_path: Path) -> None:
    """The last record that it applied is there: it is one of the new ledger."""
    with Live(empty_broker, tmp_path, partitions=1) as live:
        intake, ledger, rollup = (live.start(role) for role in ("intake", "ledger", "rollup"))
        live.turn_day(DAY)
        people = list(made(300, seed=6))
        live.publish(people[:200])
        live.wait_until_counted(DAY)
        restored = live.read(LEDGER)
        live.publish(people[200:])
        live.wait_until_counted(DAY)
        before = live.counted_events()
        intake.stop()
        # Frozen, it hears of none of it: it goes on in a ledger that has twice the first two hundred, and never had the others.
        ledger.pause()
        make_anew(live, LEDGER)
        with live.producer() as producer:
            for one in [*restored, *(one for one in restored if not _is_control(one))]:
                producer.send(LEDGER, one.value, key=one.key, partition=0)
        ledger.resume()
        live.wait_until(lambda: live.counted_events() > before, "the worker to read on")
        assert_ends(live, [ledger, rollup])
        live.sent = people[:200]
        for role in ("intake", "ledger", "rollup"):
            live.start(role)
        live.wait_until(lambda: not live.differences(DAY, live.coverage()), "the figures to be those of the new ledger")


def _is_control(record: Any) -> bool:
    return isinstance(decode_record(record.value), ControlRecord)
