"""What runs beside an agent: one delivery at a time, of everything that gathered while the last one was under way.

In: an app, what to deliver, how long to sleep at most. Out: `wake`, called by the agent whenever there is something. The
agents use it to write to Kafka: a transaction costs 12 to 24 ms, and without it every batch waited for its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

from agents.app import App, die


class Courier:
    """Calls `deliver` when woken, and every `idle_seconds`; whatever it raises ends the process."""

    def __init__(
        self, app: App, deliver: Callable[[], Awaitable[None]], idle_seconds: float, pause_seconds: float = 0.0
    ) -> None:
        """Starts and ends with the app. pause_seconds: between two deliveries, so that more gathers for each."""
        self._app = app
        self._deliver = deliver
        self._idle_seconds = idle_seconds
        self._pause_seconds = pause_seconds
        self._woken = asyncio.Event()
        app.task(self._run)

    def wake(self) -> None:
        """There is something to deliver."""
        self._woken.set()

    async def _run(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._woken.wait(), self._idle_seconds)
            self._woken.clear()
            if self._app.should_stop:  # the stores and the consumer are being closed, and what waits is done again
                return
            try:
                await self._deliver()
            except Exception as error:
                die(error)
            await asyncio.sleep(self._pause_seconds)
