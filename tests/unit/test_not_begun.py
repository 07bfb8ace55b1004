"""A partition that was taken away: what was fetched of it is nobody's, what was measured with it holds no longer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from faust.types import TP

from agents.app import App, create_app
from agents.driver import Consumer, Fetch
from agents.settings import Settings

HERE = TP("lampit.ledger", 1)
FETCH = Fetch(*HERE, begin=449, next_offset=450, records=(), seek=0)


def at_work(folder: Path) -> tuple[App, Consumer]:
    """An app whose agent stands where `FETCH` begins."""
    app = create_app("ledger", Settings(data_dir=folder))
    app.finalize()
    consumer = cast(Consumer, app.consumer)
    consumer.flow_active = True
    consumer.done[HERE] = FETCH.begin
    return app, consumer


def test_a_fetch_of_a_partition_that_has_not_begun_again_is_left_out(tmp_path: Path) -> None:
    """Faust lets the flow go on before `begin`: an agent would be handed what its store does not follow on."""

    async def run() -> None:
        _, consumer = at_work(tmp_path)
        assert consumer.current(FETCH)
        del consumer.done[HERE]  # as on_partitions_revoked does
        assert not consumer.current(FETCH)
        consumer.done[HERE] = 449
        assert consumer.current(FETCH)

    asyncio.run(run())


def test_while_it_is_asked_where_to_begin_nothing_is_handed_out(tmp_path: Path) -> None:
    """Faust has two callers. Behind a stand told to the second one, an agent went on with what the first one had begun.

    All of that was then done again, and the positions that subscribers were told went back (seed 178 of the simulation).
    """

    async def run() -> None:
        app, consumer = at_work(tmp_path)
        consumer.assignment = lambda: {HERE}  # type: ignore[method-assign]
        asked: list[int] = []
        handed_out: list[bool] = []  # an error in `begin` would end this process

        async def begin(partitions: frozenset[TP]) -> dict[TP, int | None]:
            asked.append(consumer.done[HERE])
            handed_out.append(consumer.current(FETCH))
            return {HERE: consumer.done[HERE]}

        async def begin_at(wanted: dict[TP, int]) -> dict[TP, int]:
            handed_out.append(consumer.current(FETCH))
            return wanted

        async def in_thread(call: Any) -> Any:
            return await call

        seeks = {HERE: 0}
        consumer._thread = cast(
            Any, SimpleNamespace(say_at_work=lambda: None, begin_at=begin_at, in_thread=in_thread, seeks=seeks)
        )
        app.on_begin = begin
        consumer.take_in_hand(FETCH)
        seeking = asyncio.create_task(consumer.seek_to_committed())
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked, "what is in hand is finished first"
        assert not consumer.current(FETCH), "or given up"
        consumer.let_go(FETCH, done=True)
        await seeking
        assert asked == [FETCH.next_offset]
        assert handed_out == [False, False]
        assert consumer.done[HERE] == FETCH.next_offset
        assert consumer.current(FETCH)

    asyncio.run(run())


def test_a_poll_that_comes_back_in_a_rebalance_is_no_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Every rebalance of a worker at work wrote that a seek was refused, which is as it should be."""

    async def run() -> None:
        _, consumer = at_work(tmp_path)
        consumer._active_partitions = {HERE}
        consumer._thread = cast(Any, SimpleNamespace(say_at_work=lambda: None))

        async def getmany(**_: Any) -> dict[TP, list[Fetch]]:
            consumer.stop_flow()
            await consumer._give_up_beginning()  # as on_partitions_revoked does
            return {HERE: [FETCH]}

        monkeypatch.setattr(consumer, "_getmany", getmany)
        assert [found async for found in consumer.getmany(1.0)] == []

    asyncio.run(run())
    assert caplog.messages == []


def test_a_process_is_not_ready_by_what_it_measured_before_a_takeover(tmp_path: Path) -> None:
    """It said so with partitions that are behind, until it measured again."""

    async def run() -> None:
        app = create_app("ledger", Settings(data_dir=tmp_path))
        app.health.require("caught_up")
        app.began(frozenset())
        app.health.set("caught_up", True)
        assert app.health.ready
        await app._tell_revoked(app, {HERE})
        app.began(frozenset({HERE}))
        assert not app.health.ready
        app.health.set("caught_up", True)
        assert app.health.ready

    asyncio.run(run())
