"""The page served for real: a view filled by the counting engine from the demonstration's events, behind aiohttp.

`Served.play(days)` counts some days more and updates the view, as the roll-up does after a batch. It runs in a thread of
its own, so that a browser can be driven beside it.
"""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Coroutine
from datetime import date, timedelta
from types import TracebackType
from typing import Any, Self

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from agents.figures import Figures
from agents.health import Health, add_pages
from agents.other_days import NotAnswered
from agents.view import View
from lampit import reference
from lampit.demo.data import OPENING_DAY, demo_events, page_notes
from lampit.web import Pages
from lampit.web.documents import Notes
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules

PEOPLE = 400
SECONDS_MAX = 60.0
SHUTDOWN_SECONDS = SECONDS_MAX / 3
"""After twice as long, who still reads is cut off."""


class _Server:
    """What `add_pages` wants of Faust's web server."""

    def __init__(self) -> None:
        self.web_app = web.Application()


class Served:
    """A running server; `url` is where it listens."""

    def __init__(self) -> None:
        self.view = View()
        self.health = Health()
        self.health.set("caught_up", True)
        self.stopping = False
        self.mute = False
        self.url = ""
        self.day = OPENING_DAY
        self._events = demo_events(1, PEOPLE)
        self._next = next(self._events)
        self._engine = Engine(Rules(), reference.load())
        self._pseudonymise = Pseudonymiser(b"a key for tests, of 32 bytes or more")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def play(self, days: int) -> None:
        """Count some days more and show the figures."""
        self.day += timedelta(days=days)
        while self._next.day <= self.day:
            admitted = admit(json.dumps(self._next.event).encode(), self._pseudonymise)
            if isinstance(admitted, Admitted):
                self._engine.add(admitted.subject, admitted.event)
            self._next = next(self._events)
        self.show(self._engine.count(self.day).regions)

    def show(self, records: list[dict[str, Any]]) -> None:
        """Publish records to the view, in the thread that serves it."""
        self._run(self._update(self._stamped(records)))

    def _stamped(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return [{**record, "epoch": 1, "position": {"0": 9}} for record in records]

    def set_health(self, name: str, holds: bool, why: str = "") -> None:
        self._loop.call_soon_threadsafe(self.health.set, name, holds, why)

    async def _on_day(self, day: date) -> View:
        """Counted anew."""
        if self.mute:
            raise NotAnswered("A ledger worker did not answer.")
        view = View()
        view.update(self._stamped(self._engine.count(day).regions))
        return view

    async def _update(self, records: list[dict[str, Any]]) -> None:
        self.view.update(records)

    async def _start(self) -> None:
        server = _Server()
        add_pages(server, self.health, CollectorRegistry())  # type: ignore[arg-type]
        figures = Figures(self.view)
        self.health.more_metrics.append(lambda: figures.text(frozenset({"country", "regency"})))
        notes = msgspec.convert(page_notes(PEOPLE), Notes)
        pages = Pages(self.view, figures, self.health, notes, self._on_day, lambda: self.stopping)
        pages.add_to(server.web_app.router)
        self._runner = web.AppRunner(server.web_app, shutdown_timeout=SHUTDOWN_SECONDS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(SECONDS_MAX)

    def __enter__(self) -> Self:
        self._thread.start()
        self._run(self._start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopping = True  # or the readers of changes would keep the server from ending
        self._run(self._runner.cleanup())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
