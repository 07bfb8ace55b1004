"""What bounds the memory of a process: how much an agent takes on that is not written yet, and what is fetched ahead of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiokafka
import pytest

from agents import intake
from agents.app import create_app
from agents.barrier import LedgerIdentity
from agents.driver_thread import ConsumerThread, Fetch
from agents.settings import Settings
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.live import KEY

RECORDS = 500
FETCHES = 20
WAITING_MAX = 2_000
MEBIBYTE = 2**20


def fetch_of(number: int) -> Fetch:
    records: Any = tuple(SimpleNamespace(value=b"no event", offset=number, timestamp=0) for _ in range(RECORDS))
    return Fetch("lampit.intake.civil", 0, number * RECORDS, (number + 1) * RECORDS, records, seek=0)


def test_intake_takes_in_no_more_than_it_can_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The broker takes nothing for a while: what was admitted waits, and the rest stays in the log."""
    taken, written, is_open = [], [], asyncio.Event()

    async def fetches(_: Any) -> AsyncIterator[Fetch]:
        for number in range(FETCHES):
            taken.append(number)
            yield fetch_of(number)
            await asyncio.sleep(0)

    async def start() -> None: ...

    async def send_all(records: list[Any]) -> None:
        await is_open.wait()
        written.extend(records)

    async def commit(*_: Any) -> bool:
        return True

    async def reached(_: Any) -> dict[Any, Any]:
        return {}

    monkeypatch.setattr(intake, "WAITING_RECORDS_MAX", WAITING_MAX)
    monkeypatch.setattr(intake, "fetches", fetches)
    monkeypatch.setattr(intake, "commit", commit)
    monkeypatch.setattr(intake, "reached", reached)

    async def run() -> None:
        identity = LedgerIdentity("ledger", 1, Rules(), "digest")
        agent = intake.IntakeAgent(Settings(data_dir=tmp_path), identity, Pseudonymiser(KEY.encode()))
        agent._producer = SimpleNamespace(start=start, send_all=send_all)  # type: ignore[assignment]
        working = asyncio.create_task(agent.work(None))
        async with asyncio.timeout(60):
            while len(taken) * RECORDS <= WAITING_MAX:
                await asyncio.sleep(0)
        for _ in range(10 * FETCHES):  # time enough to take all of them
            await asyncio.sleep(0)
        assert len(taken) * RECORDS <= WAITING_MAX + 2 * RECORDS
        assert not written
        is_open.set()
        await asyncio.wait_for(working, 60)
        await agent._deliver(last=True)

    asyncio.run(run())
    assert len(taken) == FETCHES
    assert len(written) == FETCHES * RECORDS


def test_what_faust_does_by_itself_is_switched_off_and_its_buffers_are_small(tmp_path: Path) -> None:
    """Each is a defect or a trap of Faust's that was met: see docs/decisions/0014."""
    conf = create_app("ledger", Settings(data_dir=tmp_path)).conf
    assert conf.stream_buffer_maxsize <= 8  # of whole fetches
    assert conf.broker_max_poll_records == Settings().max_poll_records
    assert conf.stream_wait_empty  # a batch is finished before its partition goes
    assert conf.broker_commit_interval >= 86_400
    assert conf.broker_commit_every >= 2**31
    assert not conf.topic_allow_declare  # sends to a topic without metadata fail oddly: lampit makes all of them first
    assert conf.topic_disable_leader
    assert not conf.reply_create_topic
    assert not conf.stream_publish_on_commit
    assert conf.processing_guarantee.value == "at_least_once"
    # A takeover, which may last four fifths of the latter, is over before the group gives the member up.
    assert conf.broker_max_poll_interval > 0.8 * conf.broker_request_timeout


def test_the_consumer_fetches_so_many_bytes_ahead_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """aiokafka's own limit is 52 MB, and of all partitions as much again waits where they are handed out."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(aiokafka, "AIOKafkaConsumer", lambda **options: given.update(options))
    settings = Settings(data_dir=tmp_path)
    app = create_app("ledger", settings)
    thread: Any = object.__new__(ConsumerThread)
    thread.app, thread.settings = app, settings
    thread._create_worker_consumer(None)
    assert given["fetch_max_bytes"] <= 24 * MEBIBYTE
    assert given["max_partition_fetch_bytes"] <= 3 * MEBIBYTE
    assert given["max_poll_records"] == settings.max_poll_records
    assert given["isolation_level"] == "read_committed"
    assert given["auto_offset_reset"] == "none"
    assert given["enable_auto_commit"] is False
