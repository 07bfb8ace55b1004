"""Fetches wait for more where much comes, on real Kafka."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import aiokafka
import pytest

from agents.pacing import BUSY_WAIT_MILLISECONDS
from tests.broker.test_driver import make_topic
from tests.broker.workers import Worker, applied, assert_contiguous, wait_for
from tests.brokers import Broker

SENDS = 600
SEND_SECONDS = 0.005
RECORDS_OF_A_SEND = 100
FETCHES_BEFORE = 100
"""Until a window is over that is known to be busy."""


async def send(broker: Broker, topic: str) -> None:
    """Some 15,000 records a second, few at a time, as many producers together do."""
    async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers, linger_ms=0) as producer:
        for _ in range(SENDS):
            for _ in range(RECORDS_OF_A_SEND):
                await producer.send(topic, b"-", partition=0)
            await asyncio.sleep(SEND_SECONDS)


@pytest.mark.parametrize("broker", ["kafka"], indirect=True)
def test_a_busy_partition_comes_in_whole_batches(broker: Broker, tmp_path: Path) -> None:
    topic = make_topic(broker, "paced", 1)
    with Worker(broker, tmp_path, "paced", [topic]) as worker:
        worker.wait_caught_up(1)
        began = time.monotonic()
        asyncio.run(send(broker, topic))
        seconds = time.monotonic() - began

        def come() -> int:
            return sum(line["records"] for line in applied(worker.store).get(0, []))

        wait_for(lambda: come() == SENDS * RECORDS_OF_A_SEND, "all records")
    assert_contiguous(worker.store)
    fetches_max = FETCHES_BEFORE + 1.2 * seconds * 1000 / BUSY_WAIT_MILLISECONDS
    assert len(applied(worker.store)[0]) < fetches_max, "a fetch holds the records of many sends"
