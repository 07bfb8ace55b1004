"""A partition is taken away while the ledger worker still opens the next one: it waits for the next assignment, and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiokafka.errors import IllegalStateError
from faust.types import TP
from pydantic import SecretStr

from agents.barrier import ensure_ledger
from agents.ledger import LedgerAgent
from agents.settings import Settings
from agents.topics import LEDGER
from lampit import reference
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker
from tests.live import KEY

PARTITIONS = frozenset(TP(LEDGER, number) for number in range(4))


async def taken_away_meanwhile(settings: Settings) -> dict[TP, int]:
    """Begin four partitions, lose the first while the others open, begin again; the positions."""
    identity = await ensure_ledger(settings, Pseudonymiser(KEY.encode()).fingerprint, reference.load())
    agent = LedgerAgent(settings, identity, reference.load())
    beginning = asyncio.create_task(agent.begin(PARTITIONS))
    while not agent.desks:
        assert not beginning.done()
        await asyncio.sleep(0)
    await agent.revoked(frozenset({TP(LEDGER, number) for number in agent.desks}))
    with pytest.raises(IllegalStateError):
        await beginning
    positions = dict(await agent.begin(PARTITIONS))
    await agent.revoked(PARTITIONS)
    assert not agent.desks
    return positions


def test_a_partition_taken_away_while_others_open(empty_broker: Broker, tmp_path: Path) -> None:
    """No worker dies of it, and every partition begins where it stood."""
    settings = Settings(
        bootstrap_servers=empty_broker.bootstrap_servers,
        transactions=empty_broker.transactions,
        partitions=len(PARTITIONS),
        data_dir=tmp_path,
        pseudonym_key=SecretStr(KEY),
        day_source="manual",
    )
    assert asyncio.run(taken_away_meanwhile(settings)) == dict.fromkeys(PARTITIONS, 0)
