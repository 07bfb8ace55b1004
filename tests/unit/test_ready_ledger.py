"""A ledger worker is ready when what was there at its takeover is given out, whatever it measured before."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from agents import ledger
from agents.barrier import LedgerIdentity, rules_of
from agents.driver import Reached
from agents.settings import Settings
from agents.topics import LEDGER
from lampit import reference

DAY = 738_000


@pytest.mark.parametrize(("published_through", "is_ready"), [(0, False), (12, False), (20, True)])
def test_what_was_there_at_the_takeover_is_out_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, published_through: int, is_ready: bool
) -> None:
    """All of it is applied; as this worker had the partition before, its log ended at 12."""

    async def reached(_: Any) -> Mapping[TP, Reached]:
        return {TP(LEDGER, 0): Reached(20, 20, 20)}

    monkeypatch.setattr(ledger, "reached", reached)
    settings, places = Settings(data_dir=tmp_path, partitions=1), reference.load()
    agent = ledger.LedgerAgent(settings, LedgerIdentity("ours", 1, rules_of(settings), places.digest), places)
    meta = SimpleNamespace(next_offset=20, published_through=published_through, day=DAY)
    desk = SimpleNamespace(
        partition=0, meta=meta, caught_up=True, caught_up_at=20, lists_wait=False, last_timestamp_ms=0
    )
    agent.desks[0] = desk  # type: ignore[assignment]
    agent._applied[0] = 12
    asyncio.run(agent._measure())
    assert agent.app.health.conditions["caught_up"][0] is is_ready
