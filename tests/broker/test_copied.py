"""A warm copy is taken over: what its worker has never seen given out is given out again."""

from __future__ import annotations

import asyncio
import json
from datetime import date
from pathlib import Path

import pytest
from faust.types import TP

from agents.barrier import day_record, ensure_ledger
from agents.driver import Fetch
from agents.ledger import LedgerAgent
from agents.producer import Producer, Record
from agents.reading import record_at
from agents.settings import Settings
from agents.snapshots import Until
from agents.topics import ANOMALIES, LEDGER
from lampit import reference
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker
from tests.live import KEY, settings_of

ONLY = frozenset({TP(LEDGER, 0)})
LISTED, CLEARED = "0" * 32, "1" * 32
SUBJECTS = {LISTED: [{"event": {"source": "/siak", "id": "1"}, "kind": "unplaced"}], CLEARED: []}


async def log(settings: Settings, first: int, last: int) -> Fetch:
    """A piece of the ledger."""
    found = [await record_at(settings, LEDGER, 0, offset) for offset in range(first, last + 1)]
    records = tuple(record for record in found if record is not None)
    return Fetch(LEDGER, 0, first, last + 1, records, 0)


async def taken_over(settings: Settings) -> None:
    """Make a copy of the ledger's first records; let others give lists out; take the partition over, twice."""
    identity = await ensure_ledger(settings, Pseudonymiser(KEY.encode()).fingerprint, reference.load())
    agent = LedgerAgent(settings, identity, reference.load())
    copy = agent._copy(0, await agent._stores.open(0, Until()))
    copy.apply(await log(settings, 0, 1))
    assert copy.meta.is_doubtful and not copy.caught_up and not copy.store.due_subjects(10)
    await copy.close()
    async with Producer(settings, name="another-worker") as producer:
        lists = [
            Record(ANOMALIES, 0, subject.encode(), json.dumps({"subject": subject, "anomalies": found}).encode())
            for subject, found in SUBJECTS.items()
        ]
        day = day_record(0, date(2024, 1, 1))
        await producer.send_all([*lists, day])

    assert (await agent.begin(ONLY))[TP(LEDGER, 0)] == 2
    desk = agent.desks[0]
    assert set(desk.store.due_subjects(10)) == SUBJECTS.keys(), "a batch of the copy may have passed over them"
    # Behind the transaction of the ledger's first records is its marker.
    desk.apply(await log(settings, 2, 3))
    assert desk.caught_up
    desk.store.published(SUBJECTS, desk.meta.next_offset)
    assert desk.store.meta is not None and not desk.store.meta.is_doubtful
    await agent.revoked(ONLY)

    await agent.begin(ONLY)
    assert not agent.desks[0].store.due_subjects(10), "what this worker gave out itself it knows"
    await agent.revoked(ONLY)


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_the_lists_that_were_given_out_are_due_when_a_copy_is_taken_over(empty_broker: Broker, tmp_path: Path) -> None:
    asyncio.run(taken_over(settings_of(empty_broker, tmp_path)))
