"""A worker that has had nothing to do for longer than the poll interval still takes over."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from agents.settings import load_settings
from agents.topics import Topic, ensure_topics
from tests.broker.workers import Expected, Worker, wait_for
from tests.brokers import Broker

MAX_POLL_SECONDS = 3.0
WAIT_SECONDS_MAX = 120.0


@pytest.mark.chaos
def test_a_worker_without_partitions_stays_in_its_group(kafka: Broker, tmp_path: Path) -> None:
    """aiokafka took it for hung, left the group after five minutes and never joined again: nobody stood by any more."""
    topic = "lampit.test.standby"
    ensure_topics(load_settings(bootstrap_servers=kafka.bootstrap_servers), [Topic(topic, 1, "delete")])
    expected = Expected()
    asyncio.run(expected.send(kafka, topic, [0], 100))
    options = {"group": "standby", "max_poll_seconds": MAX_POLL_SECONDS}
    with Worker(kafka, tmp_path, "active", [topic], **options) as active:
        wait_for(lambda: active.caught_up(1), "the active worker to catch up", WAIT_SECONDS_MAX)
        with Worker(kafka, tmp_path, "standby", [topic], **options) as standby:
            wait_for(standby.ready, "the standby to be in the group", WAIT_SECONDS_MAX)
            idle_until = time.monotonic() + 2 * MAX_POLL_SECONDS
            wait_for(lambda: time.monotonic() > idle_until, "the poll interval to be over, and more", WAIT_SECONDS_MAX)
            active.process.kill()
            active.wait_exit()
            asyncio.run(expected.send(kafka, topic, [0], 100))
            wait_for(lambda: standby.caught_up(1), "the standby to take over", WAIT_SECONDS_MAX)
            expected.assert_applied(standby.store)
