"""Intake takes in a poll at a time, by time; what it gathered of one is neither sent nor committed before it is admitted."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.types import TP

from agents import intake
from agents.barrier import LedgerIdentity
from agents.decoding import UndecodableRecord
from agents.driver import Fetch
from agents.producer import Record
from agents.settings import Settings
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.live import KEY
from tests.wire import raw

BIRTHS, RECORDINGS, MOVES = (TP(f"lampit.intake.{family}", 0) for family in ("birth", "recording", "move-in"))


def fetch(tp: TP, kind: str, poll: int, of_poll: int, *timestamps: int, begin: int = 0) -> Fetch:
    records: Any = tuple(
        SimpleNamespace(value=raw(kind, {"id": f"{kind}-{timestamp}"}), offset=begin + number, timestamp=timestamp)
        for number, timestamp in enumerate(timestamps)
    )
    return Fetch(*tp, begin, begin + len(timestamps), records, seek=0, poll=poll, of_poll=of_poll)


class AtWork:
    """An intake agent that is handed fetches one by one; what it sends and commits."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.sent: list[str] = []
        self.messages: list[str] = []
        self.committed: dict[TP, int] = {}
        self.is_refused = False
        self._handed: asyncio.Queue[Fetch] = asyncio.Queue()
        monkeypatch.setattr(intake, "fetches", self._fetches)
        monkeypatch.setattr(intake, "commit", self._commit)
        monkeypatch.setattr(intake, "reached", self._reached)
        identity = LedgerIdentity("ledger", 1, Rules(), "digest")
        self.agent = intake.IntakeAgent(Settings(data_dir=folder), identity, Pseudonymiser(KEY.encode()))
        self.agent._producer = SimpleNamespace(start=self._start, send_all=self._send_all)  # type: ignore[assignment]

    async def hand(self, one: Fetch) -> None:
        """Hand a fetch to the agent, and let it do what it does with it."""
        await self._handed.put(one)
        await asyncio.wait_for(self._handed.join(), 60)

    async def deliver(self) -> None:
        """As the courier does, and as it does before partitions go."""
        await self.agent._deliver(last=True)

    async def _fetches(self, _: Any) -> AsyncIterator[Fetch]:
        while True:
            yield await self._handed.get()
            self._handed.task_done()

    async def _start(self) -> None: ...

    async def _send_all(self, records: list[Record]) -> None:
        for record in records:
            value = json.loads(record.value or b"")
            self.sent.append(value["id"] if "id" in value else f"{value['reason']} {value['origin']['offset']}")
            self.messages += [value["message"]] if "id" not in value else []

    async def _commit(self, _: Any, offsets: dict[TP, int]) -> bool:
        for _ in range(10):  # longer than another answer of the brokers
            await asyncio.sleep(0)
        if self.is_refused:
            return False
        self.committed |= offsets
        return True

    async def _reached(self, _: Any) -> dict[Any, Any]:
        await asyncio.sleep(0)
        return {}


def run(test: Callable[[AtWork], Awaitable[None]], folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def at_work() -> None:
        one = AtWork(folder, monkeypatch)
        working = asyncio.create_task(one.agent.work(None))
        await test(one)
        working.cancel()

    asyncio.run(at_work())


def test_a_poll_is_sent_by_time_and_as_a_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def test(one: AtWork) -> None:
        await one.hand(fetch(RECORDINGS, "recording", 7, 2, 20, 40))
        await one.deliver()
        assert not one.sent
        assert not one.committed
        await one.hand(fetch(BIRTHS, "register", 7, 2, 10, 30, 50))
        await one.deliver()
        assert one.sent == ["register-10", "recording-20", "register-30", "recording-40", "register-50"]
        assert one.committed == {RECORDINGS: 2, BIRTHS: 3}

    run(test, tmp_path, monkeypatch)


def test_each_record_of_a_batch_that_cannot_be_read_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last one of very many says for how many it stands."""

    def unreadable(offset: int, next_offset: int) -> UndecodableRecord:
        return UndecodableRecord(
            *BIRTHS, offset, 25, 0, None, None, None, -1, -1, (), next_offset=next_offset, error="broken"
        )

    async def test(one: AtWork) -> None:
        good = fetch(BIRTHS, "register", 7, 1, 10, 90)
        records = (good.records[0], unreadable(1, 2), unreadable(2, 3), unreadable(3, 9), good.records[1])
        await one.hand(dataclasses.replace(good, records=records, next_offset=10))
        await one.deliver()
        assert one.sent == ["register-10", *(f"unknown_codec {offset}" for offset in (1, 2, 3)), "register-90"]
        said = "the record batch cannot be read"
        assert one.messages == [said, said, f"{said}; this stands for all of it from offset 3 to 8"]
        assert one.committed == {BIRTHS: 10}

    run(test, tmp_path, monkeypatch)


def test_of_a_poll_that_was_cut_short_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the rest nobody hears any more: what is there already goes before the next poll."""

    async def test(one: AtWork) -> None:
        await one.hand(fetch(RECORDINGS, "recording", 7, 3, 20))
        await one.hand(fetch(BIRTHS, "register", 7, 3, 10))
        await one.hand(fetch(RECORDINGS, "recording", 8, 2, 5, begin=1))
        await one.deliver()
        assert one.sent == ["register-10", "recording-20"]
        assert one.committed == {RECORDINGS: 1, BIRTHS: 1}
        await one.hand(fetch(MOVES, "move_in", 8, 2, 4))
        await one.deliver()
        assert one.sent[2:] == ["move_in-4", "recording-5"]
        assert one.committed == {RECORDINGS: 2, BIRTHS: 1, MOVES: 1}

    run(test, tmp_path, monkeypatch)


def test_what_was_gathered_of_partitions_that_go_is_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The driver takes it for done: forgotten, it would be passed over by the next offset that is committed."""

    async def test(one: AtWork) -> None:
        await one.hand(fetch(RECORDINGS, "recording", 7, 2, 20))
        await one.agent.revoked(frozenset({RECORDINGS, BIRTHS}))
        assert one.sent == ["recording-20"]
        assert one.committed == {RECORDINGS: 1}
        await one.hand(fetch(BIRTHS, "register", 8, 1, 10))
        await one.deliver()
        assert one.sent[1:] == ["register-10"]

    run(test, tmp_path, monkeypatch)


def test_what_a_group_refuses_at_a_rebalance_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where another delivery waits for that one: an offset of what is not ours any more has every later one refused."""

    async def test(one: AtWork) -> None:
        one.is_refused = True
        await one.hand(fetch(RECORDINGS, "recording", 7, 1, 20))
        await one.deliver()
        leaving = asyncio.create_task(one.agent.revoked(frozenset({RECORDINGS})))
        while not one.agent._delivery.locked():
            await asyncio.sleep(0)
        await asyncio.gather(leaving, one.agent._deliver())
        one.is_refused = False
        await one.hand(fetch(BIRTHS, "register", 8, 1, 10))
        await one.deliver()
        assert one.committed == {BIRTHS: 1}

    run(test, tmp_path, monkeypatch)
