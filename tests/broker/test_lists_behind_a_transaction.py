"""A takeover sees the lists of anomalies that lie behind the open transaction of another partition's worker."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiokafka
import pytest
from faust.types import TP

from agents.barrier import ensure_ledger
from agents.connection import for_aiokafka
from agents.ledger import LedgerAgent
from agents.producer import FencedProducer, Record
from agents.reading import newest
from agents.settings import Settings
from agents.topics import ANOMALIES, LEDGER
from lampit import reference
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker
from tests.live import KEY, settings_of, settled

ONLY = frozenset({TP(LEDGER, 0)})
BEFORE, IN_IT, BEHIND, CLEARED = (digit * 32 for digit in "0123")
OPEN_MILLISECONDS_MAX = 300_000
"""Of a transaction that is to be open still when it is ended."""

UNPLACED = [{"event": {"source": "/siak", "id": "1"}, "kind": "unplaced"}]


def listed(subject: str, *, is_any: bool = True) -> Record:
    """A person's list."""
    value = {"subject": subject, "anomalies": UNPLACED if is_any else []}
    return Record(ANOMALIES, 0, subject.encode(), json.dumps(value).encode())


async def taken_over(settings: Settings) -> None:
    """The last owner gives lists out before and behind the transaction that another worker leaves open."""
    identity = await ensure_ledger(settings, Pseudonymiser(KEY.encode()).fingerprint, reference.load())
    owner = await FencedProducer(settings, transactional_id="the-last-owner").start()
    await owner.publish([listed(BEFORE)])
    other = aiokafka.AIOKafkaProducer(
        **for_aiokafka(settings), transactional_id="the-other-worker", transaction_timeout_ms=OPEN_MILLISECONDS_MAX
    )
    await other.start()
    await other.begin_transaction()
    for record in (listed(IN_IT), listed(BEFORE, is_any=False)):
        await other.send_and_wait(record.topic, record.value, key=record.key, partition=record.partition)
    await owner.publish([listed(BEHIND), listed(CLEARED, is_any=False)])
    await owner.stop()
    assert [record.key async for record in newest(settings, ANOMALIES, 0)] == [BEFORE.encode()]

    agent = LedgerAgent(settings, identity, reference.load())
    await agent.begin(ONLY)
    desk = agent.desks[0]
    assert desk.given_out == {BEFORE, IN_IT, BEHIND, CLEARED}
    # The other one's may be aborted: then the list of before is the one that counts.
    assert set(desk.store.due_subjects(10)) == {BEFORE, IN_IT, BEHIND}
    await agent.revoked(ONLY)
    await other.abort_transaction()
    await other.stop()
    await settled(settings, ANOMALIES)
    assert [record.key async for record in newest(settings, ANOMALIES, 0)] == [
        subject.encode() for subject in (BEFORE, BEHIND, CLEARED)
    ]


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_lists_behind_an_open_transaction_are_seen_by_a_takeover(empty_broker: Broker, tmp_path: Path) -> None:
    asyncio.run(taken_over(settings_of(empty_broker, tmp_path)))
