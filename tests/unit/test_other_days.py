"""Figures of another day are of a whole country: however many ask at once, one answer is made at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from datetime import date
from pathlib import Path

import pytest

from agents import other_days, rollup
from agents.barrier import LedgerIdentity
from agents.other_days import Answer, Kept
from agents.settings import Settings
from agents.view import View
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


def of_regions(count: int) -> View:
    """Figures of so many regions."""
    view = View()
    view.update({"region": f"16.05.02.{number:04}"} for number in range(count))
    return view


def test_what_is_kept_of_other_days_is_bounded_by_its_regions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(other_days, "REGIONS_KEPT_MAX", 10)
    kept, at, days = Kept(), ((0, 1),), [date(2020, 1, number) for number in range(1, 8)]
    for day in days:
        kept.add(day, at, of_regions(3))
    assert [kept.get(day, at) is not None for day in days] == [False] * 4 + [True] * 3
    kept.add(days[0], at, of_regions(11))  # one at least: who has just asked gets it
    assert [kept.get(day, at) is not None for day in days] == [True] + [False] * 6
    assert kept.get(days[0], ((0, 2),)) is None  # something has come since
    kept.add(days[1], ((0, 2),), of_regions(3))
    assert kept.get(days[0], at) is None
