"""What happens to the ledger itself: made anew with the same records, with fewer, with more; deleted. And to its figures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random
from typing import Any, Final

from kafka import KafkaProducer

from agents.settings import Settings
from agents.topics import ANOMALIES, CLOSINGS, COVERAGE, LEDGER, PARTIALS, ensure_topics, topics_of
from stream.ledger import ControlRecord, decode_record
from tests.brokers import delete_topics
from tests.chaos.faults_of_stores import wait_until_set_aside
from tests.chaos.field import DAYS, REFUSED, WORKERS, Field

MISSING: Final = "lampit.ledger is empty, but lampit.partials is not"
CUT_OFF: Final = 30
"""Of each partition, at most."""


def refill(live: Field, chance: Random) -> None:
    """As a tool that renumbers offsets does it: the stores find another log and are rebuilt."""
    _make_anew(live, chance, lambda records: records)


def shorten(live: Field, chance: Random) -> None:
    """As from a backup of before: what it lacks the offices send again."""
    _make_anew(live, chance, _without_the_last)
    live.send([payload for flow in live.flows for payload in flow.sent], seconds=0.0)


def lengthen(live: Field, chance: Random) -> None:
    """As from a tool that did not keep account: what is there twice counts once."""
    _make_anew(live, chance, _events_twice)


def replace(live: Field, chance: Random) -> None:
    """While the ledger workers stand still. Some read the new one on then: tests/broker/test_made_anew.py makes sure of it."""
    live.at(chance.uniform(0.3, 0.9))
    for name in ("intake-a", "intake-b"):
        live.remove(name)
    records = _events_twice(live.read(LEDGER, live.partitions, whole=True))
    workers = ("ledger-a", "ledger-b")
    for name in workers:
        live.current[name].pause()
    live.renumbered = {topic: _end(live, topic) for topic in (COVERAGE, PARTIALS)}
    # Who is started again before the first record is there may say so.
    live.refusing.update(WORKERS)
    _refill(live, records)
    for name in workers:
        live.current[name].resume()
    wait_until_set_aside(live)
    for name in ("intake-a", "intake-b"):
        live.run(name)


def delete_figures(live: Field, chance: Random) -> None:
    """What a store has given out it gives out again, also what has not changed since."""
    live.at(chance.uniform(0.3, 0.9))
    _make_empty(live, PARTIALS, ANOMALIES, COVERAGE, CLOSINGS)
    wait_until_set_aside(live)


def _events_twice(records: Sequence[Any]) -> list[Any]:
    return [one for one in records for _ in range(1 if _is_control(one) else 2)]


def _without_the_last(records: Sequence[Any]) -> list[Any]:
    """The last events of each partition cut off, but no control record and nothing before one."""
    kept: list[Any] = []
    for partition in {one.partition for one in records}:
        mine = [one for one in records if one.partition == partition]
        last = max(number for number, one in enumerate(mine) if _is_control(one))
        kept += mine[: max(last + 1, len(mine) - CUT_OFF)]
    assert len(kept) < len(records), "nothing was cut off"
    return kept


def _is_control(record: Any) -> bool:
    return isinstance(decode_record(record.value), ControlRecord)


def _make_anew(live: Field, chance: Random, changed: Callable[[Sequence[Any]], Sequence[Any]]) -> None:
    """Everything is stopped meanwhile; the stores are found to be of another log."""
    live.at(chance.uniform(0.3, 0.9))
    _stop_all(live)
    records = changed(live.read(LEDGER, live.partitions))
    live.renumbered = {topic: _end(live, topic) for topic in (COVERAGE, PARTIALS)}
    _refill(live, records)
    _start_all(live)
    wait_until_set_aside(live)


def _refill(live: Field, records: Sequence[Any]) -> None:
    """Another ledger topic, with these records."""
    _make_empty(live, LEDGER)
    producer = KafkaProducer(bootstrap_servers=live.broker.bootstrap_servers, enable_idempotence=True, linger_ms=20)
    sent = [
        producer.send(LEDGER, one.value, key=one.key, partition=one.partition, timestamp_ms=one.timestamp)
        for one in records
    ]
    for future in sent:
        future.get(timeout=60)
    producer.close()


def _make_empty(live: Field, *names: str) -> None:
    delete_topics(live.broker.bootstrap_servers, names)
    settings = _settings(live)
    ensure_topics(settings, [topic for topic in topics_of(settings) if topic.name in names])


def _end(live: Field, topic: str) -> int:
    return max((record.offset + 1 for record in live.read(topic)), default=0)


def delete(live: Field, chance: Random) -> None:
    """Refused in one sentence, because the other topics speak of a ledger that is not there; the remedy is as it says."""
    live.at(1.0)
    _stop_all(live)
    delete_topics(live.broker.bootstrap_servers, [LEDGER])
    for name in ("ledger-a", "intake-a", "rollup-a"):
        process = live.run(name)
        live.down.add(name)
        live.wait_until(lambda process=process: process.popen.poll() is not None, "a refusal")  # type: ignore[misc]
        assert process.popen.returncode == REFUSED, process.log.read_text()[-2000:]
        assert MISSING in process.log.read_text()
    delete_topics(live.broker.bootstrap_servers)
    live.__enter__()
    _start_all(live)
    again = [payload for flow in live.flows for payload in flow.sent]
    live.flows.clear()
    live.turn_day(DAYS[1])
    live.send(again, seconds=0.0)


def _stop_all(live: Field) -> None:
    for name in [name for name in live.current if name not in live.down]:
        live.remove(name)


def _start_all(live: Field) -> None:
    for name in WORKERS:
        live.run(name)


def _settings(live: Field) -> Settings:
    return Settings(bootstrap_servers=live.broker.bootstrap_servers, partitions=live.partitions, replication_factor=3)
