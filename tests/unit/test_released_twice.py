"""A ledger worker lets go of its partitions: all at once, and each once, though a stop and a rebalance tell it twice."""

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


def test_partitions_are_released_at_once() -> None:
    """Without a broker each waits five seconds for its producer; one after the other, dozens outlast the group's patience."""
    waiting = asyncio.Barrier(3)

    async def close() -> None:
        await waiting.wait()

    async def run() -> None:
        agent: Any = object.__new__(LedgerAgent)
        agent.desks, agent._locks = {number: SimpleNamespace(close=close) for number in range(3)}, {}
        await asyncio.wait_for(agent._release({0, 1, 2}), 60)
        assert not agent.desks

    asyncio.run(run())
