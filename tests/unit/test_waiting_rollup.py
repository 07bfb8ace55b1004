"""A roll-up that gives nothing out names the partitions that it waits for."""

from __future__ import annotations

import asyncio
from datetime import date
from pathlib import Path

import pytest

from agents import rollup
from agents.barrier import LedgerIdentity, rules_of
from agents.settings import Settings
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
