"""A consumer whose background work has ended is an error at the next look, not a topic on which nothing comes any more.

And a coordinator that does not answer holds up nobody for long.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError
from faust.types import TP

import agents.driver_thread as thread_module
from agents.app import create_app
from agents.driver import Transport
from agents.driver_thread import ConsumerThread
from agents.settings import Settings
from agents.topics import Topic, ensure_topics
from tests.brokers import Broker, KafkaCluster


@asynccontextmanager
async def started(name: str, settings: Settings) -> AsyncIterator[tuple[ConsumerThread, Any]]:
    """The thread's object, without its thread, and a consumer as it makes them."""
    app = create_app(name, settings)
    app.finalize()
    thread = ConsumerThread(app.consumer, loop=asyncio.get_running_loop())
    consumer = thread._create_worker_consumer(Transport(app.conf.broker_consumer, app))
    await consumer.start()
    try:
        yield thread, consumer
    finally:
        await consumer.stop()


def die_fetching(consumer: Any) -> Any:
    """The task that fetches ends by an error."""

    async def fail() -> None:
        raise KafkaError("the fetcher is dead")

    consumer._fetcher._fetch_task = asyncio.ensure_future(fail())
    return consumer._fetcher._fetch_task


def die_coordinating(consumer: Any) -> Any:
    """The task that keeps the member in its group ends by an error."""

    async def fail() -> None:
        raise KafkaError("the coordinator is dead")

    consumer._coordinator._coordination_task = asyncio.ensure_future(fail())
    return consumer._coordinator._coordination_task


def be_refused(consumer: Any) -> Any:
    """The broker refuses the member for good."""
    # Nobody waits until the error is seen, as the coordinator's own task would.
    consumer._coordinator._push_error_to_user(GroupAuthorizationFailedError("a group")).close()
    return asyncio.sleep(0)


@pytest.mark.parametrize("is_polled", [True, False], ids=["polled", "not polled"])
@pytest.mark.parametrize("death", [die_fetching, die_coordinating, be_refused])
def test_a_dead_consumer_is_an_error_at_the_next_look(
    kafka: Broker, tmp_path: Path, death: Any, is_polled: bool
) -> None:
    """Also while nothing is polled, as before anything is assigned; polls of a living one are what test_driver.py is about."""
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=2, data_dir=tmp_path)

    async def run() -> None:
        async with started("dead", settings) as (thread, consumer):
            alive = consumer._fetcher._fetch_task, consumer._coordinator._coordination_task
            try:
                await asyncio.wait([asyncio.ensure_future(death(consumer))])
                thread._consumer = consumer
                look = thread._fetch_records(consumer, set(), 0.1, 10) if is_polled else thread.require_alive()
                with pytest.raises(KafkaError):
                    await asyncio.wait_for(look, 60)
            finally:
                consumer._fetcher._fetch_task, consumer._coordinator._coordination_task = alive

    asyncio.run(run())


def test_a_poll_that_failed_is_no_poll_under_way(kafka: Broker, tmp_path: Path) -> None:
    """It was one for ever to aiokafka: a member that hung later was never taken for hung, and kept its partitions."""
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, data_dir=tmp_path)
    ensure_topics(settings, [Topic("not-begun", 1, "delete")])

    async def run() -> None:
        async with started("not-begun", settings) as (thread, consumer):
            consumer.subscribe(["not-begun"])
            # It has no position to fetch from: `begin_at` was not called.
            assert await asyncio.wait_for(thread._fetch_records(consumer, set(), 60, 10), 60) == {}
            async with asyncio.timeout(60):
                while not consumer._subscription.fetcher_idle_time:
                    await asyncio.sleep(0.01)

    asyncio.run(run())


def test_a_commit_without_an_answer_is_not_taken(
    kafka_cluster: KafkaCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every broker frozen: false within the limit, so that deliveries go on; taken again once they answer."""
    settings = Settings(
        bootstrap_servers=kafka_cluster.broker.bootstrap_servers, replication_factor=3, data_dir=tmp_path
    )
    ensure_topics(settings, [Topic("committed", 1, "delete")])

    async def run() -> None:
        async with started("committing", settings) as (thread, consumer):
            thread._consumer = consumer
            consumer.subscribe(["committed"])
            async with asyncio.timeout(120):
                while not consumer.assignment():
                    await asyncio.sleep(0.05)
                while not await thread.commit_offsets({TP("committed", 0): 0}):
                    await asyncio.sleep(0.05)
            for node in (1, 2, 3):
                kafka_cluster.pause(node)
            try:
                # Less than a request may take, by which aiokafka would hear of it.
                async with asyncio.timeout(45):
                    with monkeypatch.context() as patch:
                        patch.setattr(thread_module, "COMMIT_SECONDS_MAX", 2.0)
                        assert not await thread.commit_offsets({TP("committed", 0): 0})
            finally:
                for node in (1, 2, 3):
                    kafka_cluster.resume(node)
            async with asyncio.timeout(120):
                while not await thread.commit_offsets({TP("committed", 0): 0}):
                    await asyncio.sleep(0.05)

    asyncio.run(run())
