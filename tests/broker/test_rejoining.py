"""A worker that waits for its group is at work and stays in it; one that hangs is not, and loses its partitions.

aiokafka takes a member that polls nothing for the poll interval for hung: it leaves the group, and while nothing is polled it
never joins again. The interval of these workers is some seconds; it is 300 s otherwise.
"""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import aiokafka
import pytest
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor

from agents.settings import load_settings
from agents.topics import Topic, ensure_topics
from tests.broker.workers import Expected, Worker, wait_for
from tests.brokers import Broker

MAX_POLL_SECONDS = 3.0
LOOP_SILENCE_SECONDS = 3.0


def make_topic(broker: Broker, name: str) -> str:
    ensure_topics(load_settings(bootstrap_servers=broker.bootstrap_servers), [Topic(name, 1, "delete")])
    return name


def begun(worker: Worker) -> list[Any]:
    """What each call of `begin` was asked for."""
    calls = worker.store / "calls"
    lines = [json.loads(line) for line in calls.read_text().splitlines()] if calls.exists() else []
    return [partitions for name, what, partitions in lines if name == worker.log.stem and what == "begin"]


def test_a_worker_whose_begin_is_cut_short_again_and_again_stays_in_its_group(kafka: Broker, tmp_path: Path) -> None:
    """As in a rolling start, where each arrival is a rebalance. It left the group and never came back, without a word."""
    topic = make_topic(kafka, "cut-short")
    go_on = tmp_path / "go-on"

    async def come_and_go(worker: Worker) -> None:
        """Members that cause rebalances, until the poll interval is over, and more."""
        until = time.monotonic() + 1.5 * MAX_POLL_SECONDS
        while time.monotonic() < until:
            before = len(begun(worker))
            member = aiokafka.AIOKafkaConsumer(
                topic,
                bootstrap_servers=kafka.bootstrap_servers,
                group_id="lampit.cut-short",
                partition_assignment_strategy=[type("Sticky", (StickyPartitionAssignor,), {})],
            )
            await member.start()
            async with asyncio.timeout(90):
                while len(begun(worker)) == before:
                    await asyncio.sleep(0.05)
            await member.stop()

    with Worker(
        kafka,
        tmp_path,
        "cut-short",
        [topic],
        group="cut-short",
        max_poll_seconds=MAX_POLL_SECONDS,
        loop_silence_seconds=LOOP_SILENCE_SECONDS,
        begin_until=str(go_on),
    ) as worker:
        wait_for(lambda: begun(worker), "the worker to begin")
        asyncio.run(come_and_go(worker))
        # Who hangs never says so; who had no processor for a moment does a beat later.
        wait_for(lambda: worker.get("/health/live") == {"live": True}, "the worker to say that it is not hung")
        go_on.touch()
        wait_for(worker.ready, "the worker to be at work")


@pytest.mark.parametrize("hung", [{"fetch_seconds": 600}, {"blocked_seconds": 600}], ids=["agent", "loop"])
def test_a_worker_that_hangs_loses_its_partitions(kafka: Broker, tmp_path: Path, hung: dict[str, int]) -> None:
    topic = make_topic(kafka, f"hung-{next(iter(hung)).partition('_')[0]}")
    asyncio.run(Expected().send(kafka, topic, [0], 4_000))
    options: dict[str, Any] = {
        "group": topic,
        "settings": {"max_poll_records": 20},
        "max_poll_seconds": MAX_POLL_SECONDS,
    }
    with Worker(kafka, tmp_path, "hung", [topic], **hung, **options) as one:
        wait_for(lambda: [0] in begun(one), "the partition to be begun")
        with Worker(kafka, tmp_path, "other", [topic], **options) as other:
            wait_for(lambda: [0] in begun(other), "the other one to have the partition")
            assert one.process.poll() is None
