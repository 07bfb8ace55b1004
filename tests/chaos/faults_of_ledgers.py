"""What happens to the ledger itself: made anew with the same records, deleted."""

from __future__ import annotations

from random import Random
from typing import Final

from kafka import KafkaProducer

from agents.settings import Settings
from agents.topics import LEDGER, ensure_topics, topics_of
from tests.brokers import delete_topics
from tests.chaos.field import DAYS, REFUSED, WORKERS, Field

MISSING: Final = "lampit.ledger is empty, but lampit.partials is not"


def refill(live: Field, chance: Random) -> None:
    """As a tool that renumbers offsets does it: the stores find another log and are rebuilt."""
    live.at(chance.uniform(0.3, 0.9))
    _stop_all(live)
    records = live.read(LEDGER, live.partitions)
    _delete_ledger(live)
    settings = _settings(live)
    ensure_topics(settings, [topic for topic in topics_of(settings) if topic.name == LEDGER])
    producer = KafkaProducer(bootstrap_servers=live.broker.bootstrap_servers, enable_idempotence=True, linger_ms=20)
    sent = [
        producer.send(LEDGER, one.value, key=one.key, partition=one.partition, timestamp_ms=one.timestamp)
        for one in records
    ]
    for future in sent:
        future.get(timeout=60)
    producer.close()
    _start_all(live)


def delete(live: Field, chance: Random) -> None:
    """Refused in one sentence, because the other topics speak of a ledger that is not there; the remedy is as it says."""
    live.at(1.0)
    _stop_all(live)
    _delete_ledger(live)
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


def _delete_ledger(live: Field) -> None:
    delete_topics(live.broker.bootstrap_servers, [LEDGER])


def _settings(live: Field) -> Settings:
    return Settings(bootstrap_servers=live.broker.bootstrap_servers, partitions=live.partitions, replication_factor=3)
