"""Intake asks the brokers where its logs end; what they answer too late, or of some partitions only, does not make it ready."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from faust.types import TP
from prometheus_client import REGISTRY

from agents import intake
from agents.barrier import LedgerIdentity
from agents.driver import Reached
from agents.settings import Settings
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.live import KEY

ONE, OTHER = TP("lampit.intake.birth", 0), TP("lampit.intake.death", 0)


class Brokers:
    """What they answer, look by look, each when it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, folder: Path, done: Mapping[TP, int]) -> None:
        self.asked: list[asyncio.Future[Mapping[TP, Reached]]] = []
        monkeypatch.setattr(intake, "MEASURE_SECONDS", 0.0)
        monkeypatch.setattr(intake, "reached", self._reached)
        monkeypatch.setattr(intake, "positions", lambda _: done)
        identity = LedgerIdentity("ledger", 1, Rules(), "digest")
        self.agent = intake.IntakeAgent(Settings(data_dir=folder), identity, Pseudonymiser(KEY.encode()))

    async def _reached(self, _: Any) -> Mapping[TP, Reached]:
        self.asked.append(asyncio.get_running_loop().create_future())
        return await self.asked[-1]

    async def look(self) -> asyncio.Task[None]:
        """Begin one."""
        task = asyncio.create_task(self.agent._measure())
        await asyncio.sleep(0)
        return task

    @property
    def keeps_up(self) -> bool:
        """What intake says of itself."""
        return self.agent.app.health.conditions["caught_up"][0]


def test_a_look_that_a_later_one_overtook_says_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Before a rebalance intake looks too, while an answer of before it may still be on its way."""

    async def run() -> None:
        brokers = Brokers(monkeypatch, tmp_path, {ONE: 1})
        first = await brokers.look()
        rebalance = asyncio.create_task(brokers.agent.revoked(frozenset()))
        while len(brokers.asked) < 2:
            await asyncio.sleep(0)
        brokers.asked[1].set_result({ONE: Reached(1, 3, 3)})
        await rebalance
        brokers.asked[0].set_result({ONE: Reached(1, 1, 1)})
        await first
        assert not brokers.keeps_up

    asyncio.run(run())


def test_a_look_that_comes_back_behind_a_rebalance_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing would ever forget the position of a partition that is another process's by now."""

    async def run() -> None:
        brokers = Brokers(monkeypatch, tmp_path, {})
        look = await brokers.look()
        monkeypatch.setattr(intake, "MEASURE_SECONDS", 3600.0)  # so that the rebalance does not ask itself
        await brokers.agent.revoked(frozenset([ONE]))
        brokers.asked[0].set_result({ONE: Reached(1, 3, 3)})
        await look
        assert len(brokers.asked) == 1
        labels = {"topic": ONE.topic, "partition": str(ONE.partition)}
        assert REGISTRY.get_sample_value("lampit_lag_records", labels) is None

    asyncio.run(run())


def test_a_look_that_does_not_know_every_partition_says_nothing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    some = {ONE: Reached(1, 1, 1)}

    async def run() -> None:
        brokers = Brokers(monkeypatch, tmp_path, {ONE: 1, OTHER: 0})
        for found, keeps_up in ((some, False), (some | {OTHER: Reached(0, 0, 0)}, True)):
            look = await brokers.look()
            brokers.asked[-1].set_result(found)
            await look
            assert brokers.keeps_up is keeps_up

    asyncio.run(run())
