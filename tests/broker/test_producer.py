"""Producers on real Kafka and on the embedded broker: nothing returns before it is acknowledged, zombies are refused."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.structs import ConsumerRecord, TopicPartition

from agents import producer as producer_module
from agents.errors import ConfigurationError, Fenced, LostWrite
from agents.producer import FencedProducer, Producer, Record
from agents.settings import Settings, load_settings
from agents.topics import Topic, ensure_topics
from tests.brokers import ROOT, Broker, KafkaCluster

PARTITIONS = 3


def settings_for(broker: Broker, topic: str, **more: Any) -> Settings:
    settings = load_settings(bootstrap_servers=broker.bootstrap_servers, transactions=broker.transactions, **more)
    ensure_topics(settings, [Topic(topic, PARTITIONS, "delete", {"max.message.bytes": str(4 * 1024 * 1024)})])
    return settings


async def read(settings: Settings, topic: str, partition: int, count: int) -> list[ConsumerRecord]:
    """The first `count` committed records."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=settings.bootstrap_servers, isolation_level="read_committed", auto_offset_reset="earliest"
    )
    await consumer.start()
    records: list[ConsumerRecord] = []
    try:
        consumer.assign([TopicPartition(topic, partition)])
        async with asyncio.timeout(90):
            while len(records) < count:
                for rows in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(rows)
    finally:
        await consumer.stop()
    return records


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
def test_all_records_arrive_once_and_in_order(broker: Broker, compression: str) -> None:
    topic = f"in-order-{compression}"
    settings = settings_for(broker, topic, compression=compression)
    records = [
        Record(topic, n % PARTITIONS, b"%d" % n, os.urandom(150), (("origin", b"%d" % n),), 1_600_000_000_000 + n)
        for n in range(20_000)
    ]
    # Larger than a batch of ours, and a tombstone.
    records += [Record(topic, 0, b"large", os.urandom(2_000_000)), Record(topic, 0, b"gone", None)]

    async def use() -> None:
        async with Producer(settings, name="in-order") as producer:
            await producer.send_all([])
            await producer.send_all(records)
        for partition in range(PARTITIONS):
            expected = [record for record in records if record.partition == partition]
            found = await read(settings, topic, partition, len(expected))
            assert [(r.key, r.value, r.headers) for r in found] == [(r.key, r.value, r.headers) for r in expected]
            assert all(r.timestamp == e.timestamp_ms for r, e in zip(found, expected, strict=True) if e.timestamp_ms)

    asyncio.run(use())


def test_what_is_not_stored_is_a_lost_write(broker: Broker) -> None:
    settings = settings_for(broker, "lost", compression="none")

    async def use() -> None:
        async with Producer(settings, name="lost") as producer:
            with pytest.raises(LostWrite):
                await producer.send_all([Record("lost", 0, None, b"ok"), Record("lost", PARTITIONS, None, b"nowhere")])
        if broker.name == "kafka":  # the embedded broker takes records of any size
            async with Producer(settings, name="lost") as producer:
                with pytest.raises(LostWrite, match="MessageSizeTooLarge"):
                    await producer.send_all([Record("lost", 0, None, b"x" * 5_000_000)])

    asyncio.run(use())


def test_a_transaction_is_seen_whole_or_not_at_all(broker: Broker) -> None:
    """On the embedded broker the same calls, without transactions."""
    settings = settings_for(broker, "whole")

    async def use() -> None:
        async with FencedProducer(settings, transactional_id="whole-0") as producer:
            await producer.publish([])
            await producer.publish([Record("whole", n % 2, b"%d" % n, b"1") for n in range(500)])
            with pytest.raises(LostWrite):
                await producer.publish([Record("whole", 0, b"a", b"2"), Record("whole", PARTITIONS, b"b", b"2")])
        async with FencedProducer(settings, transactional_id="whole-0") as producer:
            await producer.publish([Record("whole", 0, b"last", b"3")])
        values = [record.value for record in await read(settings, "whole", 0, 251)]
        if broker.transactions:
            assert values == [b"1"] * 250 + [b"3"]
        assert values[:250] == [b"1"] * 250

    asyncio.run(use())


def test_time_over_before_the_transaction_began_is_a_lost_write(kafka: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    """There is nothing to abort then, and trying to is not what the operator is told."""
    settings = settings_for(kafka, "in-time")

    async def use() -> None:
        async with FencedProducer(settings, transactional_id="in-time-0") as producer:
            await producer.publish([Record("in-time", 0, b"k", b"1")])
            monkeypatch.setattr(producer_module, "DELIVERY_SECONDS_MAX", -1.0)
            with pytest.raises(LostWrite, match="TimeoutError"):
                await producer.publish([Record("in-time", 0, b"k", b"2")])

    asyncio.run(use())


def test_a_stopped_process_that_comes_back_is_refused(kafka: Broker) -> None:
    settings = settings_for(kafka, "fenced")
    environment = {key: value for key, value in os.environ.items() if not key.startswith("LAMPIT_")}
    zombie = subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("fenced_worker.py")), kafka.bootstrap_servers, "fenced"],
        env=environment | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert zombie.stdin is not None and zombie.stdout is not None

    def say(line: str) -> None:
        assert zombie.stdin is not None
        zombie.stdin.write(line + "\n")
        zombie.stdin.flush()

    async def take_over() -> None:
        async with FencedProducer(settings, transactional_id="fenced-0") as producer:
            zombie.send_signal(signal.SIGCONT)
            say("late")
            assert await asyncio.to_thread(zombie.stdout.readline) == "fenced\n"  # type: ignore[union-attr]
            await producer.publish([Record("fenced", 0, b"new", b"new")])

    try:
        assert zombie.stdout.readline() == "started\n"
        say("early")
        assert zombie.stdout.readline() == "published\n"
        zombie.send_signal(signal.SIGSTOP)
        asyncio.run(take_over())
        assert zombie.wait(90) == 3
        assert zombie.stderr is not None and "never retrieved" not in zombie.stderr.read()
    finally:
        zombie.kill()
        zombie.wait()
    records = asyncio.run(read(settings, "fenced", 0, 11))
    assert [record.value for record in records] == [b"early\n"] * 10 + [b"new"]


def test_a_fenced_producer_leaves_no_future_behind(kafka: Broker, caplog: pytest.LogCaptureFixture) -> None:
    settings = settings_for(kafka, "futures")

    async def use() -> None:
        async with FencedProducer(settings, transactional_id="futures-0") as old:
            await old.publish([Record("futures", 0, b"k", b"v")])
            async with FencedProducer(settings, transactional_id="futures-0"):
                with pytest.raises(Fenced):
                    await old.publish([Record("futures", n % PARTITIONS, b"k", b"v" * 1000) for n in range(3000)])
        gc.collect()

    with caplog.at_level(logging.ERROR):
        asyncio.run(use())
        gc.collect()
    assert "never retrieved" not in caplog.text


def test_a_broker_without_transactions_is_named(broker: Broker) -> None:
    if broker.transactions:
        pytest.skip("Kafka has transactions")
    settings = settings_for(broker, "none").model_copy(update={"transactions": True})
    with pytest.raises(ConfigurationError, match="LAMPIT_TRANSACTIONS=false"):
        asyncio.run(FencedProducer(settings, transactional_id="none-0").start())


def test_no_answer_is_a_lost_write(kafka_cluster: KafkaCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every broker frozen: the call ends within its limit, and nobody is told that it was stored."""
    settings = settings_for(kafka_cluster.broker, "frozen", replication_factor=3)
    monkeypatch.setattr(producer_module, "STOP_SECONDS_MAX", 0.5)

    async def use() -> None:
        async with Producer(settings, name="frozen") as producer:
            await producer.send_all([Record("frozen", 0, None, b"1")])
            # Only from here on: three brokers that have just been started take their time with the first record.
            monkeypatch.setattr(producer_module, "DELIVERY_SECONDS_MAX", 2.0)
            for node in (1, 2, 3):
                kafka_cluster.pause(node)
            try:
                with pytest.raises(LostWrite):
                    await producer.send_all([Record("frozen", 0, None, b"2")])
            finally:
                for node in (1, 2, 3):
                    kafka_cluster.resume(node)

    asyncio.run(use())


def test_a_commit_without_an_answer_is_a_lost_write(
    kafka_cluster: KafkaCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every broker frozen when the commit is sent: its transaction cannot be ended any more, and that is not what is told."""
    settings = settings_for(kafka_cluster.broker, "uncommitted", replication_factor=3)
    monkeypatch.setattr(producer_module, "DELIVERY_SECONDS_MAX", 5.0)
    monkeypatch.setattr(producer_module, "STOP_SECONDS_MAX", 0.5)

    class Frozen(FencedProducer):
        async def _deliver(self, records: Iterable[Record]) -> None:
            await super()._deliver(records)
            for node in (1, 2, 3):
                kafka_cluster.pause(node)

    async def use() -> None:
        async with Frozen(settings, transactional_id="uncommitted-0") as producer:
            try:
                with pytest.raises(LostWrite, match="not committed"):
                    await producer.publish([Record("uncommitted", 0, None, b"1")])
            finally:
                for node in (1, 2, 3):
                    kafka_cluster.resume(node)

    asyncio.run(use())
