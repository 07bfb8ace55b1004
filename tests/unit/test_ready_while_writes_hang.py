"""Readiness of who waits for a write: what is admitted or added up is nowhere yet, however far the logs are read.

Measuring is part of a delivery for that: one that hangs measures nothing, and what was measured before grows old.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from agents import health, intake, rollup
from agents.app import App
from agents.barrier import LedgerIdentity
from agents.courier import Courier
from agents.driver import Fetch, Reached
from agents.settings import Settings
from agents.topics import PARTIALS
from agents.upstream import Upstream
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.live import KEY
from tests.unit.test_intake_polls import RECORDINGS
from tests.unit.test_intake_polls import fetch as fetch_of
from tests.unit.test_rollup_of_other_settings import Case

PASSES = 500
"""Of the event loop, in each of which every courier may deliver once."""


class Hanging:
    """A producer whose writes are never acknowledged."""

    def __init__(self) -> None:
        self.began = asyncio.Event()

    async def start(self) -> None: ...

    async def send_all(self, _: Any) -> None:
        self.began.set()
        await asyncio.Event().wait()

    publish = send_all


class Beside:
    """What runs beside an agent, by a clock that is set by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        self._runs: list[Any] = []
        monkeypatch.setattr(App, "task", lambda _, run: self._runs.append(run))
        for module in (health, intake, rollup):
            clock = SimpleNamespace(monotonic=lambda: self.now, perf_counter=lambda: self.now, time=lambda: self.now)
            monkeypatch.setattr(module, "time", clock)
        for module in (intake, rollup):
            monkeypatch.setattr(module, "MEASURE_SECONDS", 0.0)
            monkeypatch.setattr(module, "PAUSE_SECONDS", 0.0)
        monkeypatch.setattr(intake, "DELIVERY_SECONDS_MAX", 0.0)
        monkeypatch.setattr(rollup, "TICK_SECONDS", 0.0)

    def start(self) -> list[asyncio.Task[None]]:
        """The couriers alone; the caller keeps them, or they would be gone."""
        runs = [run for run in self._runs if isinstance(getattr(run, "__self__", None), Courier)]
        return [asyncio.ensure_future(run()) for run in runs]

    async def says_why_not(self, app: App, write: Hanging, working: Iterable[asyncio.Task[None]]) -> str:
        """What the process says of itself when the write has hung for longer than anything may wait; then it ends."""
        await asyncio.wait_for(write.began.wait(), 60)
        self.now += health.LATE_SECONDS + 1
        for _ in range(PASSES):
            await asyncio.sleep(0)
        for task in working:
            task.cancel()
        holds, why = app.health.conditions["caught_up"]
        assert not holds
        return why


@pytest.fixture
def beside(monkeypatch: pytest.MonkeyPatch) -> Iterator[Beside]:
    yield Beside(monkeypatch)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0)


def test_intake_is_not_ready(beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def reached(_: Any) -> dict[TP, Reached]:
        return {RECORDINGS: Reached(1, 1, 1)}  # read, and admitted

    async def run() -> str:
        handed: asyncio.Queue[Fetch] = asyncio.Queue()

        async def fetches(_: Any) -> AsyncIterator[Fetch]:
            while True:
                yield await handed.get()

        monkeypatch.setattr(intake, "fetches", fetches)
        monkeypatch.setattr(intake, "reached", reached)
        monkeypatch.setattr(intake, "positions", lambda _: {RECORDINGS: 1})
        identity = LedgerIdentity("ledger", 1, Rules(), "digest")
        agent = intake.IntakeAgent(Settings(data_dir=tmp_path), identity, Pseudonymiser(KEY.encode()))
        producer = agent._producer = Hanging()  # type: ignore[assignment]
        working = [asyncio.ensure_future(agent.work(None)), *beside.start()]
        await until(lambda: agent.app.health.conditions["caught_up"][0])
        await handed.put(fetch_of(RECORDINGS, "recording", 1, 1, 20))
        return await beside.says_why_not(agent.app, producer, working)

    assert "not measured" in asyncio.run(run())


def test_the_roll_up_is_not_ready(beside: Beside, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(tmp_path)
    case.reads(1, case.identity.settings_name)
    agent = case.agent

    async def reached(_: Any) -> dict[TP, Reached]:
        return {TP(PARTIALS, 0): Reached(9, 9, 9)}

    async def commit(*_: Any) -> bool:
        return True

    monkeypatch.setattr(rollup, "reached", reached)
    monkeypatch.setattr(rollup, "commit", commit)
    # The ledger workers keep up: this is of the roll-up's own write.
    monkeypatch.setattr(Upstream, "why_not", lambda _: None)

    async def run() -> str:
        working = beside.start()
        await until(lambda: agent.app.health.conditions["caught_up"][0])
        producer = agent._producer = Hanging()  # type: ignore[assignment]
        agent._rollup.touch("ID")
        return await beside.says_why_not(agent.app, producer, working)

    assert "not measured" in asyncio.run(run())
