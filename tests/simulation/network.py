"""Between the processes and the broker: everything that can be late, early, lost or sent again.

In: what a client asks. Out: the broker's answer, some virtual time later. Requests overtake each other; what has to keep its
order a client sends one by one (batches of one partition) or on one connection (commits), which a broker reads in order. A
request that has left its process arrives even if the process has ended since: that is a late send. An answer to a process
that has ended is lost: done, and nobody knows. Called by `tests.simulation.clients`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, Final, NoReturn

from tests.simulation.broker import Broker
from tests.simulation.loop import OWNER, Loop

NEXT_SECONDS: Final = 0.0001
"""Between two requests on one connection that arrive one behind the other."""


@dataclass
class Weather:
    """How bad it is. Shares are of 1. outage_until: until that time no request arrives."""

    slow_share: float = 0.0
    slow_seconds_max: float = 0.0
    outage_until: float = 0.0


class Network:
    """Carries requests to a broker."""

    def __init__(self, loop: Loop, broker: Broker, weather: Weather) -> None:
        """To one broker."""
        self.loop = loop
        self.broker = broker
        self.weather = weather
        self._chance: Random = loop.chance
        self._completing: set[str] = set()
        self._last_arrivals: dict[str, float] = {}

    async def ask(self, what: str, act: Callable[[], Any], connection: str | None = None) -> Any:
        """The answer of `act`, which runs when the request arrives; raises what it raises.

        connection: behind all that was sent on it before, answered or not.
        """
        owner = OWNER.get()
        if not owner.alive:
            await self.silence()
        answer = self.loop.create_future()

        def arrive() -> None:
            try:
                result, error = act(), None
            except Exception as refusal:
                result, error = None, refusal
            self.loop.trace.note(self.loop.now, owner.name, f"{what}: {type(error).__name__ if error else 'done'}")
            self.loop.at(self._delay(), lambda: _answer(answer, result, error))

        arrives_at = max(self.loop.now + self._delay(), self.weather.outage_until)
        if connection is not None:
            arrives_at = max(arrives_at, self._last_arrivals.get(connection, 0.0) + NEXT_SECONDS)
            self._last_arrivals[connection] = arrives_at
        self.loop.at(arrives_at - self.loop.now, arrive)
        return await answer

    async def silence(self) -> NoReturn:
        """What a process that has ended hears."""
        await self.loop.create_future()
        raise AssertionError

    def _delay(self) -> float:
        if self._chance.random() < self.weather.slow_share:
            return self._chance.random() * self.weather.slow_seconds_max
        return 0.0005 + self._chance.random() * 0.006

    def complete(self, transactional_id: str) -> None:
        """Let the markers of a decided transaction be written, one partition after the other, each some time later."""
        if transactional_id not in self._completing:
            self._completing.add(transactional_id)
            self._later(transactional_id)

    def _later(self, transactional_id: str) -> None:
        def write() -> None:
            if (
                self.broker.write_marker(transactional_id)
                and self.broker.transactions[transactional_id].state != "empty"
            ):
                self._later(transactional_id)
            else:
                self._completing.discard(transactional_id)

        self.loop.at(self._delay(), write)


def _answer(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():  # its call was cancelled
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
