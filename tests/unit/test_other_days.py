"""Figures of another day are of a whole country: however many ask at once, one answer is made at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

import pytest

from agents import rollup
from agents.barrier import LedgerIdentity
from agents.other_days import Answer
from agents.settings import Settings
from lampit import reference
from stream.partials import HeadRecord
from stream.rollup import Rollup
from stream.rules import Rules

DAY = date(2019, 3, 28)


def test_answers_are_made_one_at_a_time_and_each_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = reference.load()
    agent = rollup.RollupAgent(Settings(data_dir=tmp_path), LedgerIdentity("a", 1, Rules(), known.digest), known)
    head = HeadRecord(0, 1, 9, DAY, "")
    agent._batches.heads[0] = head
    asked: list[date] = []
    under_way: list[int] = [0, 0]

    async def ask(day: date, heads: Mapping[int, HeadRecord], partitions: int, empty: Rollup) -> Answer:
        asked.append(day)
        under_way[0] += 1
        under_way[1] = max(under_way)
        await asyncio.sleep(0)
        under_way[0] -= 1
        return Answer(empty, {0: head})

    monkeypatch.setattr(rollup, "ask", ask)
    days = [date(2019, 3, number) for number in (1, 1, 2, 1, 2, 3)]

    async def all_at_once() -> Collection[object]:
        return await asyncio.gather(*map(agent.on_day, days))

    views = list(asyncio.run(all_at_once()))
    assert under_way == [0, 1]
    assert asked == sorted(set(days))
    assert views[0] is views[1] is views[3] and views[2] is views[4]
