"""A roll-up that gives nothing out: it names the partitions that it waits for, and leaves the closings to the active one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path

import pytest
from faust.types import TP

from agents import closings, rollup
from agents.barrier import LedgerIdentity, rules_of
from agents.producer import FencedProducer
from agents.settings import Settings
from agents.topics import PARTIALS
from lampit import reference
from stream.partials import HeadRecord

FIRST, SECOND = date(2019, 3, 28), date(2019, 3, 29)


@pytest.mark.parametrize(
    ("reached", "waits_for"),
    [
        ({}, "[0, 1, 2]"),
        ({0: (1, FIRST), 2: (1, FIRST)}, "[1]"),
        ({0: (1, SECOND), 1: (1, FIRST), 2: (1, SECOND)}, "[1]"),
        ({0: (2, FIRST), 1: (1, SECOND), 2: (1, SECOND)}, "[1, 2]"),
        ({0: (1, FIRST), 1: (1, FIRST), 2: (1, FIRST)}, None),
    ],
)
def test_it_names_those_that_have_not_reached_the_day(
    reached: dict[int, tuple[int, date]], waits_for: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of those on an older day or epoch none was named, though they are why nothing is given out."""
    settings, places = Settings(data_dir=tmp_path, partitions=3), reference.load()
    agent = rollup.build(settings, LedgerIdentity("ours", 3, rules_of(settings), places.digest), places)
    for partition, (epoch, day) in reached.items():
        agent._batches.add(HeadRecord(partition, epoch, 7, day))

    async def nothing(_: object) -> dict[object, int]:
        return {}

    monkeypatch.setattr(rollup, "reached", nothing)
    asyncio.run(agent._measure())
    holds, why = agent.app.health.conditions["all_partitions"]
    assert holds == (waits_for is None)
    assert why == ("" if holds else f"partitions {waits_for} have no head of this day yet")


def test_one_that_is_not_active_any_more_does_not_read_what_was_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It took nothing read for all read, and kept every closing there is in memory."""
    settings, places = Settings(data_dir=tmp_path, partitions=3, first_period="2019-01"), reference.load()
    agent = rollup.build(settings, LedgerIdentity("ours", 3, rules_of(settings), places.digest), places)
    agent._producer = FencedProducer(settings, transactional_id="not started")
    read = []

    async def newest(_: Settings, topic: str, partition: int) -> AsyncIterator[None]:
        read.append((topic, partition))
        return
        yield

    monkeypatch.setattr(closings, "newest", newest)

    async def run() -> None:
        await agent.revoked(frozenset({TP(PARTIALS, 0)}))
        await agent._close()

    asyncio.run(run())
    assert read == []
