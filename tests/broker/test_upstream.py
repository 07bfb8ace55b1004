"""What waits in the ledger and what only looks like it, on real Kafka: the markers of transactions take offsets too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from agents.producer import FencedProducer, Record
from agents.reading import reader
from agents.settings import Settings
from agents.topics import LEDGER, Topic, ensure_topics
from agents.upstream import FETCH_BYTES, Upstream
from tests.brokers import Broker


class NoApp:
    """An app of which only tasks are asked for; the test looks by itself."""

    should_stop = False

    def task(self, _: Callable[[], Awaitable[None]]) -> None:
        """Not run."""


def test_records_wait_and_markers_do_not(kafka: Broker, tmp_path: Path) -> None:
    settings = Settings(bootstrap_servers=kafka.bootstrap_servers, partitions=2, data_dir=tmp_path)
    ensure_topics(settings, [Topic(LEDGER, 2, "delete")])
    heads: dict[int, int] = {}
    upstream = Upstream(cast(Any, NoApp()), settings, 2, lambda: heads)

    async def why_not(**counted: int) -> str | None:
        heads.update({int(name.removeprefix("_")): offset for name, offset in counted.items()})
        await upstream._look(consumer)
        return upstream.why_not()

    async def run() -> None:
        nonlocal consumer
        producer = await FencedProducer(settings, transactional_id="worker").start()
        async with reader(settings, max_partition_fetch_bytes=FETCH_BYTES) as consumer:
            assert await why_not() == "where the ledger ends is not known yet"  # no heads yet
            large = os.urandom(4 * FETCH_BYTES)
            await producer.publish([Record(LEDGER, 0, b"key", large)] * 3)  # 0 to 2, and a marker, at 3
            await producer.publish([Record(LEDGER, 1, b"key", b"value")])
            assert (
                await why_not(_0=0, _1=0)
                == "6 records of lampit.ledger-0, lampit.ledger-1 wait that were there 0 s ago"
            )
            assert "lampit.ledger-0 wait" in str(await why_not(_0=2, _1=1))
            assert await why_not(_0=3) is None
            await producer.publish([Record(LEDGER, 1, b"key", b"value")])
            upstream.forget()
            assert "lampit.ledger-1 wait" in str(await why_not())
            assert await why_not(_1=3) is None
        await producer.stop()

    consumer: Any = SimpleNamespace()
    asyncio.run(run())
