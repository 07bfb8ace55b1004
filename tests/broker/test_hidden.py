"""What an open transaction hides from readers of committed records is seen to be there, on real Kafka."""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiokafka
from faust.types import TP

from agents.connection import for_aiokafka
from agents.driver_thread import ConsumerThread
from agents.producer import FencedProducer, Record
from agents.settings import Settings
from agents.topics import Topic, ensure_topics
from tests.broker.test_dead_consumer import started
from tests.brokers import Broker

ONLY = TP("lampit.test.hidden", 0)


async def until(thread: ConsumerThread, position: int, seen: int, written: int) -> None:
    """Poll until the log is told to end there and is read up to the position: ends are asked for, a position is fetched."""
    async with asyncio.timeout(60):
        while (await thread.ends()).get(ONLY) != (seen, written) or (await thread.places())[ONLY].position != position:
            await thread._fetch_records(thread._consumer, {ONLY}, 0.1, 100)


def test_the_end_of_all_records_is_known_besides_the_end_of_those_that_are_seen(kafka: Broker, tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=1, data_dir=tmp_path)
    ensure_topics(settings, [Topic(ONLY.topic, 1, "delete")])
    record = Record(ONLY.topic, 0, b"key", b"value")

    async def run() -> None:
        other = await FencedProducer(settings, transactional_id="other").start()
        frozen = aiokafka.AIOKafkaProducer(
            **for_aiokafka(settings), transactional_id="frozen", transaction_timeout_ms=300_000
        )
        await frozen.start()
        async with started("hidden", settings) as (thread, consumer):
            thread._consumer = consumer
            consumer.assign([aiokafka.TopicPartition(*ONLY)])
            await thread.begin_at({ONLY: 0})
            await other.publish([record] * 3)
            await until(thread, 4, 4, 4)  # three, and the marker
            await frozen.begin_transaction()
            await frozen.send_and_wait(ONLY.topic, b"never", partition=0)
            await other.publish([record] * 5)
            await until(thread, 4, 4, 11)  # nothing behind the open transaction is read
            await frozen.abort_transaction()
            await until(thread, 12, 12, 12)
        await frozen.stop()
        await other.stop()

    asyncio.run(run())
