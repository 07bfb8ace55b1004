"""Liveness and readiness of a process, and the HTTP pages every process has.

In: named conditions, set by whoever knows (`app.health.set("caught_up", False, "812 records behind")`).
Out: /health/live, /health/ready, and /metrics from the registry given. Not in here: what the conditions mean.
Callers: agents/app.py builds one per app; the agents set conditions and add pages of their own to `web.web_app.router`.
"""

from __future__ import annotations

import asyncio
import errno
import gzip
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from aiohttp import web
from faust.web.drivers import aiohttp as stock
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, Gauge, generate_latest

from agents.errors import AddressInUse, ConfigurationError

# A worker that has not come round to its event loop for this long is taken for hung.
LOOP_SILENCE_SECONDS_MAX = 60.0
READY = Gauge("lampit_ready", "1 when /health/ready of this process says so, else 0.")
# Compressing more than this is left to a thread, so that the event loop goes on.
COMPRESSED_IN_THREAD_BYTES_MIN = 64 * 1024
# The lowest: of a country's gauges it leaves a sixth more than the usual level, in a quarter of its time.
COMPRESSION_LEVEL = 1

LATE_SECONDS: Final = 30.0
"""With records in a log that have waited for longer figures are not those of now; nor is a measurement that is older."""


@dataclass
class Health:
    """Ready when every condition holds; a condition nobody has set yet does not hold.

    Nor does one that is measured and was not for a while: whoever measures waits for a broker then, and figures grow old.
    """

    last_beat: float = field(default_factory=time.monotonic)
    more_metrics: list[Callable[[], bytes]] = field(default_factory=list)
    """Exposition text that is added to /metrics; the roll-up has its regions there."""
    _said: dict[str, tuple[bool, str]] = field(default_factory=dict)
    _measured_at: dict[str, float] = field(default_factory=dict)

    def require(self, *names: str, measured: bool = False) -> None:
        """measured: they are set again and again, every second or so; the others when they change."""
        for name in names:
            self._said.setdefault(name, (False, "not known yet"))
            if measured:
                self._measured_at.setdefault(name, 0.0)

    def set(self, name: str, holds: bool, why: str = "") -> None:
        self._said[name] = (holds, "" if holds else why)
        if name in self._measured_at:
            self._measured_at[name] = time.monotonic()

    @property
    def conditions(self) -> dict[str, tuple[bool, str]]:
        """Whether each holds, and why not."""
        now, found = time.monotonic(), dict(self._said)
        for name, measured_at in self._measured_at.items():
            silence = now - measured_at
            if found[name][0] and silence > LATE_SECONDS:
                found[name] = (False, f"not measured for {silence:.0f} s: the brokers do not answer, or are slow")
        return found

    @property
    def ready(self) -> bool:
        conditions = self.conditions
        return bool(conditions) and all(holds for holds, _ in conditions.values())

    @property
    def live(self) -> bool:
        return time.monotonic() - self.last_beat < LOOP_SILENCE_SECONDS_MAX

    def beat(self) -> None:
        self.last_beat = time.monotonic()

    def as_json(self) -> dict[str, Any]:
        conditions = {name: {"ok": holds, "why": why} for name, (holds, why) in sorted(self.conditions.items())}
        return {"ready": self.ready, "conditions": conditions}


class Web(stock.Web):
    """Faust's web server without Faust's own pages (statistics, tables, assignment graph)."""

    default_blueprints = ()
    production_blueprints = ()
    debug_blueprints = ()
    optional_blueprints = ()

    def __init__(self, app: Any, **kwargs: Any) -> None:
        """Not listening. What is done for a reader who has gone away is given up."""
        super().__init__(app, **kwargs)
        self._runner = web.AppRunner(self.web_app, access_log=None, handler_cancellation=True)

    async def start_server(self) -> None:
        """Listen. Raises ConfigurationError for an address that is none of this machine's; one in use may be free soon."""
        try:
            await super().start_server()
        except OSError as error:
            at, is_in_use = f"{self.app.conf.web_bind}:{self.app.conf.web_port}", error.errno == errno.EADDRINUSE
            # A name that is not found has an error number of another list.
            why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or errno.EIO)
            raise (AddressInUse if is_in_use else ConfigurationError)(
                f"The web server cannot listen at {at} ({why}): set LAMPIT_WEB_HOST and LAMPIT_WEB_PORT to an address of this "
                "machine that is free."
            ) from None


def add_pages(server: Web, health: Health, registry: CollectorRegistry = REGISTRY) -> None:
    async def live(_: web.Request) -> web.Response:
        return web.json_response({"live": health.live}, status=200 if health.live else 503)

    async def ready(_: web.Request) -> web.Response:
        return web.json_response(health.as_json(), status=200 if health.ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        READY.set(health.ready)
        return await exposition(
            request, b"".join((generate_latest(registry), *(more() for more in health.more_metrics)))
        )

    router = server.web_app.router
    router.add_get("/health/live", live)
    router.add_get("/health/ready", ready)
    router.add_get("/metrics", metrics)


async def exposition(request: web.Request, text: bytes) -> web.Response:
    """Metrics as Prometheus reads them, compressed when it asks for that."""
    headers = {"Content-Type": CONTENT_TYPE_LATEST}
    if "gzip" in request.headers.get("Accept-Encoding", ""):
        headers["Content-Encoding"] = "gzip"
        compress = partial(gzip.compress, text, COMPRESSION_LEVEL)
        text = compress() if len(text) < COMPRESSED_IN_THREAD_BYTES_MIN else await asyncio.to_thread(compress)
    return web.Response(body=text, headers=headers)
