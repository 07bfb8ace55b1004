"""A new day is in every record of a country: others have their turns while they are made, and nothing is added meanwhile."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import pytest
from aiokafka import ConsumerRecord

from agents import rollup
from agents.driver import Fetch
from agents.producer import Record
from agents.topics import PARTIALS
from agents.turns import STEPS
from stream import partials, tally
from stream.partials import HeadRecord
from stream.rollup import Partial
from tests.unit.test_rollup_of_other_settings import DAY, Case

VILLAGES = 10 * STEPS
DISTRICT = "16.05.02"
ONE_PERSON = tally.UNITS[0][tally.POPULATION]


class Kept:
    """Stands for the fenced producer: what each transaction has."""

    def __init__(self) -> None:
        self.transactions: list[list[dict[str, Any]]] = []

    async def publish(self, records: Iterable[Record]) -> None:
        self.transactions.append([json.loads(record.value or b"") for record in records])


def fetch(begin: int, offset: int, case: Case, *villages: str) -> Fetch:
    """The batch of a partition: one person in each village, as of an offset."""
    parts = [(partials.key(one, 0), partials.encode(one, Partial(ONE_PERSON), 0, 1, offset, DAY)) for one in villages]
    head = HeadRecord(0, 1, offset, DAY, None, case.identity.settings_name)
    rows = [*parts, (partials.head_key(0), partials.encode_head(head))]
    records = tuple(
        ConsumerRecord(PARTIALS, 0, begin + number, 0, 0, key, value, None, len(key), len(value), ())
        for number, (key, value) in enumerate(rows)
    )
    return Fetch(PARTIALS, 0, begin, begin + len(rows), records, 0)


def test_a_country_is_given_out_in_turns_as_of_one_offset(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case, producer = Case(tmp_path), Kept()
    case.agent._producer = producer  # type: ignore[assignment]
    villages = [f"{DISTRICT}.{2000 + number}" for number in range(VILLAGES)]
    case.agent.add(fetch(0, 7, case, *villages))
    late = fetch(VILLAGES + 1, 8, case, "16.05.03.2000")

    async def fetches(_: Any) -> AsyncIterator[Fetch]:
        yield late

    monkeypatch.setattr(rollup, "fetches", fetches)

    async def run() -> int:
        turns = 0
        giving_out = asyncio.create_task(case.agent._give_out())
        await asyncio.sleep(0)
        working = asyncio.create_task(case.agent.work(None))
        while not giving_out.done():
            turns += 1
            await asyncio.sleep(0)
        await working
        await case.agent._give_out()
        return turns

    assert asyncio.run(run()) >= VILLAGES / STEPS
    first, second = producer.transactions
    for records, offset, people in ((first, 7, VILLAGES), (second, 8, VILLAGES + 1)):
        figures = {record["region"]: record["population"]["total"] for record in records}
        assert figures["ID"] == people
        assert {record["position"]["0"] for record in records} == {offset}
    assert "16.05.03.2000" not in {record["region"] for record in first}
