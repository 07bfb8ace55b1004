"""A consumer whose background work has ended is an error at the next poll, not a topic on which nothing comes any more."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import GroupAuthorizationFailedError, KafkaError

from agents.app import create_app
from agents.driver import Transport
from agents.driver_thread import ConsumerThread
from agents.settings import Settings
from tests.brokers import Broker


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
    consumer._coordinator._push_error_to_user(GroupAuthorizationFailedError("a group"))
    return asyncio.sleep(0)


@pytest.mark.parametrize("death", [die_fetching, die_coordinating, be_refused])
def test_a_dead_consumer_is_an_error_at_the_next_poll(kafka: Broker, tmp_path: Path, death: Any) -> None:
    """Also before anything is assigned; that polls of a living one bring records is what test_driver.py is about."""
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=2, data_dir=tmp_path)

    async def run() -> None:
        app = create_app("dead", settings)
        app.finalize()
        thread = ConsumerThread(app.consumer, loop=asyncio.get_running_loop())
        consumer = thread._create_worker_consumer(Transport(app.conf.broker_consumer, app))
        await consumer.start()
        alive = consumer._fetcher._fetch_task, consumer._coordinator._coordination_task
        try:
            await asyncio.wait([asyncio.ensure_future(death(consumer))])
            with pytest.raises(KafkaError):
                await asyncio.wait_for(thread._fetch_records(consumer, set(), 0.1, 10), 60)
        finally:
            consumer._fetcher._fetch_task, consumer._coordinator._coordination_task = alive
            await consumer.stop()

    asyncio.run(run())
