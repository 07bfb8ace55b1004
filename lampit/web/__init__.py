"""The page of the roll-up's web server, and what it reads.

In: the roll-up's app, view and gauges. Out: routes: `/`, `/api/coverage/{region}`, `/api/coverage/{region}/children`,
`/api/changes?region=` (server-sent events), `/metrics/villages/{province}`, and the regions at `/metrics`. `mount` is called
by `lampit run rollup` before the app runs. The page is three files without a build step; nothing comes from elsewhere.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import date
from pathlib import Path
from typing import Any, Final, cast

import msgspec
from aiohttp import web

from agents.app import App
from agents.figures import Figures
from agents.health import Health, Web, exposition
from agents.other_days import RETRY, NotAnswered
from agents.view import View
from lampit.web.documents import Document, Notes, of_region
from lampit.words import calendar_day
from stream.regions import COUNTRY, REGION, level

PAGE: Final = Path(__file__).parent / "page"
FILES: Final = {
    "/": "index.html",
    "/style.css": "style.css",
    "/script.js": "script.js",
    "/icon.svg": "icon.svg",
    "/favicon.ico": "icon.svg",  # asked for when the JSON is looked at
}

CHANGES_SECONDS: Final = 0.25
"""How often a reader of changes looks for some; several batches within it are one change."""

HEARTBEAT_SECONDS: Final = 15.0
READERS_MAX: Final = 500
"""Readers of changes at a time; the page asks again and again when it is refused."""

_HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}

OnDay = Callable[[date], Awaitable[View]]

_encode = msgspec.json.Encoder().encode


def mount(app: App, view: View, figures: Figures, on_day: OnDay) -> None:
    """Add the page and the regions' gauges to the roll-up's app. on_day: the figures of another day than the view's."""
    levels = frozenset(app.settings.metrics_levels)
    app.health.more_metrics.append(lambda: figures.text(levels))
    notes = Notes.read(app.settings.data_dir)
    server = cast(Web, app.web)
    pages = Pages(view, figures, app.health, notes, on_day, lambda: bool(app.should_stop))
    pages.add_to(server.web_app.router)


class Pages:
    """The request handlers."""

    def __init__(
        self,
        view: View,
        figures: Figures,
        health: Health,
        notes: Notes,
        on_day: OnDay,
        stopping: Callable[[], bool],
    ) -> None:
        """`stopping`: whether the server is about to end; readers of changes then let go."""
        self._view = view
        self._figures = figures
        self._health = health
        self._notes = notes
        self._on_day = on_day
        self._stopping = stopping
        self._readers = 0

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Register every route."""
        for path, name in FILES.items():
            router.add_get(path, _file(PAGE / name))
        router.add_get("/api/coverage/{region}", self.coverage)
        router.add_get("/api/coverage/{region}/children", self.children)
        router.add_get("/api/changes", self.changes)
        router.add_get("/metrics/villages/{province}", self.villages)

    async def coverage(self, request: web.Request) -> web.Response:
        """The coverage record as published; with `?as_of=` that of another day, past or to come, as known now."""
        view = await self._view_of(request)
        if isinstance(view, web.Response):
            return view
        record = view.records.get(request.match_info["region"])
        return _missing(view, request.match_info["region"]) if record is None else _json(record)

    async def children(self, request: web.Request) -> web.Response:
        """The document of a region: itself, the way to it, the regions below; `?as_of=` as above."""
        view = await self._view_of(request)
        if isinstance(view, web.Response):
            return view
        document = of_region(view, request.match_info["region"], self._notes)
        if document is None:
            return _missing(view, request.match_info["region"])
        return _json({**document, **self._state()})

    async def _view_of(self, request: web.Request) -> View | web.Response:
        """The figures of the day asked for, or why there are none."""
        asked = request.query.get("as_of")
        if asked is None:
            return self._view
        try:
            day = calendar_day(asked)
        except ValueError:
            return _json({"error": "as_of has to be a day of the calendar, written YYYY-MM-DD."}, status=400)
        try:
            return await self._on_day(day)
        except NotAnswered as error:
            return _json({"error": str(error)}, status=503, headers=RETRY)

    async def villages(self, request: web.Request) -> web.Response:
        """The gauges of a province's villages, apart because they are many."""
        province = request.match_info["province"]
        if REGION.fullmatch(province) and level(province) != "province":
            return _json({"error": f"{province} is no province: ask for one, as /metrics/villages/16."}, status=404)
        if province not in self._view.records:
            return _missing(self._view, province)
        return await exposition(request, self._figures.text(frozenset({"village"}), within=province))

    async def changes(self, request: web.Request) -> web.StreamResponse:
        """The document of a region now and whenever it changes, as server-sent events."""
        region = request.query.get("region", COUNTRY)
        if not REGION.fullmatch(region):
            return _unknown(region)
        if self._readers >= READERS_MAX:
            return _json({"error": "Too many readers of changes at this moment; ask again."}, status=503)
        response = web.StreamResponse(
            headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        await response.prepare(request)
        self._readers += 1
        try:
            await self._follow(response, region)
        except ConnectionError:
            pass  # the reader went away
        finally:
            self._readers -= 1
        return response

    async def _follow(self, response: web.StreamResponse, region: str) -> None:
        seen: tuple[Any, ...] | None = None
        wrote = 0.0
        while not self._stopping():
            # A region's record is published again with every change below it.
            state = self._state()
            stamp = (self._view.changed_at.get(region), state)
            if stamp != seen:
                document: Document = of_region(self._view, region, self._notes) or {"region": None}
                await response.write(b"event: figures\ndata: " + _encode({**document, **state}) + b"\n\n")
                seen, wrote = stamp, time.monotonic()
            elif time.monotonic() - wrote >= HEARTBEAT_SECONDS:
                await response.write(b": nothing new\n\n")
                wrote = time.monotonic()
            await asyncio.sleep(CHANGES_SECONDS)

    def _state(self) -> Document:
        """What the page says beside the figures: whether they are those of now."""
        missing = [why for holds, why in self._health.conditions.values() if not holds]
        return {"notice": self._notes.notice, "live": self._health.ready, "behind": missing}


def _file(path: Path) -> Callable[[web.Request], Any]:
    async def serve(_: web.Request) -> web.FileResponse:
        return web.FileResponse(path, headers=_HEADERS)

    return serve


def _missing(view: View, region: str) -> web.Response:
    """Before the first figures, or where another process gives them out, that nobody is counted would not be true."""
    if COUNTRY not in view.records:
        return _json({"error": "There are no figures yet: /health/ready says why."}, status=503, headers=RETRY)
    return _unknown(region)


def _unknown(region: str) -> web.Response:
    """Says the code only where it is one: whatever else was typed is not repeated."""
    named = f"region {region}" if REGION.fullmatch(region) else "that region"
    return _json({"error": f"There are no figures of {named}: nothing is counted there."}, status=404)


def _json(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    headers = {"Cache-Control": "no-store", **(headers or {})}
    return web.Response(body=_encode(value), status=status, content_type="application/json", headers=headers)
