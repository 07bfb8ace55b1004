"""A ledger worker that is stopped while a rebalance takes its partitions away is told so twice at once."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

from agents.ledger import LedgerAgent


def test_a_partition_that_is_released_twice_at_once_is_closed_once() -> None:
    """Both wait for its publication to end; the second one found it gone and ended the process with an error."""
    closed = []

    async def close() -> None:
        closed.append(1)

    async def run() -> None:
        agent: Any = object.__new__(LedgerAgent)
        agent.desks, agent._locks = {1: SimpleNamespace(close=close)}, {}
        async with agent._lock(1):  # as while it is published
            releases = [asyncio.create_task(agent._release({1})) for _ in range(2)]
            await asyncio.sleep(0)
        await asyncio.gather(*releases)

    asyncio.run(run())
    assert closed == [1]
