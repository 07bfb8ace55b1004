"""A worker that dies in a transaction leaves records and markers at the end of a log that bring no fetch to anybody."""

from __future__ import annotations

import asyncio
import json
import random
import urllib.error
import urllib.request
from datetime import date
from pathlib import Path

import aiokafka
import pytest

from agents.topics import LEDGER, PARTIALS
from bench.people import events
from tests.brokers import Broker
from tests.live import Live, Process

DAY = date(2019, 3, 28)


async def abort_behind(broker: Broker, places: list[tuple[str, int]]) -> None:
    """A transaction that never was, at the end of each log."""
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=broker.bootstrap_servers, transactional_id=f"test-{random.random()}"
    ) as producer:
        await producer.begin_transaction()
        for topic, partition in places:
            await producer.send_and_wait(topic, b"never said", key=b"never", partition=partition)
        await producer.abort_transaction()


def is_ready(process: Process) -> bool:
    """What /health/ready says."""
    assert process.popen.poll() is None, process.log.read_text()[-2000:]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{process.port}/health/ready", timeout=10) as answer:
            return bool(json.load(answer)["ready"])
    except (urllib.error.HTTPError, OSError):
        return False


@pytest.mark.chaos
@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)  # the embedded broker has no transactions
def test_workers_are_ready_behind_a_transaction_that_was_aborted(empty_broker: Broker, tmp_path: Path) -> None:
    """They waited for the next event of each partition, and until then gave nothing out."""
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        running = [live.start("ledger"), live.start("rollup")]
        live.turn_day(DAY)
        live.publish(json.loads(line) for line in events(200, 1))
        live.wait_until_counted(DAY)
        for process in running:
            process.kill()
        places = [(LEDGER, number) for number in range(live.partitions)]
        asyncio.run(abort_behind(empty_broker, [*places, (PARTIALS, 0)]))
        running = [live.start("ledger"), live.start("rollup")]
        live.wait_until(lambda: all(map(is_ready, running)), "ledger worker and roll-up to be ready")
        found = live.differences(DAY, live.coverage())
        assert not found, "\n".join(found[:20])
