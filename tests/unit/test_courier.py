"""A regular stop is no failure: what runs beside an agent ends, even where the consumer has gone before it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from agents import courier as courier_module
from agents.app import create_app
from agents.courier import Courier
from agents.driver_thread import ConsumerThread
from agents.settings import Settings

Run = Callable[[], Awaitable[None]]


class Died(BaseException):
    """What ended the process, where it would have ended."""


def test_a_courier_that_is_woken_by_the_stop_delivers_nothing_more() -> None:
    """The stores are closed then, and the consumer is: the delivery failed, and with it a regular stop."""
    runs: list[Run] = []
    delivered: list[bool] = []
    app: Any = SimpleNamespace(should_stop=False, task=runs.append)

    async def deliver() -> None:
        delivered.append(app.should_stop)

    async def run() -> None:
        courier = Courier(app, deliver, idle_seconds=60)
        task = asyncio.ensure_future(runs[0]())
        async with asyncio.timeout(60):
            courier.wake()
            while not (delivered and courier._woken._waiters):  # until it waits again
                await asyncio.sleep(0)
            app.should_stop = True
            courier.wake()
            await task

    asyncio.run(run())
    assert delivered == [False]


def test_a_delivery_that_outlives_the_consumer_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop closes the consumer's loop, and then ends what runs beside the agents; what asked in between ended the process."""

    def die(error: BaseException) -> None:
        raise Died(error)

    monkeypatch.setattr(courier_module, "die", die)

    async def run() -> None:
        app = create_app("ledger", Settings(data_dir=tmp_path))
        app.finalize()
        thread = ConsumerThread(cast(Any, app.consumer), loop=asyncio.get_running_loop())
        thread.thread_loop.close()
        runs: list[Run] = []
        app_of_courier: Any = SimpleNamespace(should_stop=False, task=runs.append)

        async def deliver() -> None:
            await thread.in_thread(thread.ends())

        Courier(app_of_courier, deliver, idle_seconds=0.0)
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(runs[0](), 60)

    asyncio.run(run())
