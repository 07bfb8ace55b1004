"""Records that grow with what is sent: none becomes larger than its topic takes, or every worker would end at it, for ever."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP

from agents.anomaly_lists import ANOMALIES_TOLD_MAX
from agents.barrier import day_record, ensure_ledger
from agents.driver import Fetch
from agents.ledger import LedgerAgent
from agents.producer import Producer, Record
from agents.reading import newest
from agents.settings import Settings
from agents.topics import ANOMALIES, LEDGER
from lampit import reference
from schemas.anomaly import AnomalyRecord
from stream.admission import Admitted, admit
from stream.ledger import encode_record
from stream.pseudonym import Pseudonymiser
from tests.brokers import Broker
from tests.live import KEY, settings_of, settled
from tests.wire import raw

ONLY = frozenset({TP(LEDGER, 0)})
DEATHS = 4 * ANOMALIES_TOLD_MAX


def longest_name(length: int, chosen: random.Random) -> str:
    """Of letters that take four bytes each and that no compression makes much shorter."""
    return "".join(chr(chosen.randrange(0x20000, 0x2A000)) for _ in range(length))


def deaths(settings: Settings) -> list[Record]:
    """One NIK dies again and again, under the longest names that intake takes."""
    chosen = random.Random(1)
    pseudonymise = Pseudonymiser(KEY.encode())
    records = []
    for _ in range(DEATHS):
        names = {"id": longest_name(128, chosen), "source": longest_name(256, chosen)}
        admitted = admit(raw("death", names), pseudonymise)
        assert isinstance(admitted, Admitted) and admitted.subject is not None
        value = encode_record(admitted.subject, admitted.event, 0)
        records.append(Record(LEDGER, 0, admitted.subject.encode(), value))
    return records


async def given_out(settings: Settings) -> dict[str, Any]:
    """The list of the person, as a worker that takes the partition over publishes it."""
    identity = await ensure_ledger(settings, Pseudonymiser(KEY.encode()).fingerprint, reference.load())
    async with Producer(settings, name="offices") as producer:
        await producer.send_all([day_record(0, date(2020, 1, 1)), *deaths(settings)])
    agent = LedgerAgent(settings, identity, reference.load())
    await agent.begin(ONLY)
    desk = agent.desks[0]
    log = [record async for record in newest(settings, LEDGER, 0)]
    desk.apply(Fetch(LEDGER, 0, 0, log[-1].offset + 1, tuple(log), 0))
    desk.pass_through(desk.caught_up_at)
    await desk.publish()
    await agent.revoked(ONLY)
    await settled(settings, ANOMALIES)
    (record,) = [record async for record in newest(settings, ANOMALIES, 0)]
    value: dict[str, Any] = json.loads(record.value or b"")
    return value


@pytest.mark.parametrize("empty_broker", ["kafka"], indirect=True)
def test_a_person_with_any_number_of_anomalies(empty_broker: Broker, tmp_path: Path) -> None:
    value = asyncio.run(given_out(settings_of(empty_broker, tmp_path)))
    AnomalyRecord.model_validate(value)
    names = [(one["event"]["source"], one["event"]["id"]) for one in value["anomalies"]]
    assert (len(names), value["others"]) == (ANOMALIES_TOLD_MAX, DEATHS - ANOMALIES_TOLD_MAX)
    assert names == sorted(names)
