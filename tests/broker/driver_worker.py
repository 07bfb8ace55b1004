"""A worker for test_driver.py, run as a process: a "store" that is a file per partition, and what it is told to do.

Each line of <store>/<partition> is one fetch applied: begin, next offset, records, CRC of the values so far, worker. The
last line is where the store stands. <store>/begun has a line for every partition and offset `begin` gave, <store>/calls one
for every call of the app: worker, "assigned", "revoked" or "begin", partitions; <store>/clock has the moment of each.
starts_at: a file that is waited for before the app runs, with "prepared" among the calls; then all is imported.
begin_until: a file that `begin` waits for. blocked_seconds: for so long the agent keeps the event loop from going round.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
import zlib
from pathlib import Path
from typing import Any, cast

from aiohttp import web
from faust.types import TP

from agents import health
from agents.app import create_app, run
from agents.decoding import UndecodableRecord
from agents.driver import Consumer, commit, fetches, lag
from agents.settings import load_settings


def stands_at(store: Path, partition: int) -> tuple[int, int]:
    """(next offset, CRC so far) of a store."""
    file = store / str(partition)
    if not file.exists() or not file.read_text():
        return 0, 0
    last = json.loads(file.read_text().splitlines()[-1])
    return last["next"], last["crc"]


def main(options: dict[str, Any]) -> int:
    store = Path(options["store"])
    store.mkdir(parents=True, exist_ok=True)
    settings = load_settings(**options["settings"])

    def called(what: str, partitions: frozenset[TP]) -> None:
        with (store / "clock").open("a") as clock:
            clock.write(json.dumps([options["name"], what, time.monotonic()]) + "\n")
        with (store / "calls").open("a") as calls:
            calls.write(json.dumps([options["name"], what, sorted(tp.partition for tp in partitions)]) + "\n")

    async def assigned(partitions: frozenset[TP]) -> None:
        called("assigned", partitions)

    async def revoked(partitions: frozenset[TP]) -> None:
        called("revoked", partitions)

    async def begin(partitions: frozenset[TP]) -> dict[TP, int | None]:
        called("begin", partitions)
        await asyncio.sleep(options.get("begin_seconds", 0))
        while "begin_until" in options and not Path(options["begin_until"]).exists():
            await asyncio.sleep(0.05)
        if options.get("begin_fails"):
            raise ValueError("NIK 1605024203190001 is in this message")
        if options.get("stateless"):
            return dict.fromkeys(partitions)
        wanted: dict[TP, int | None] = {tp: stands_at(store, tp.partition)[0] for tp in partitions}
        with (store / "begun").open("a") as begun:
            for tp, offset in wanted.items():
                begun.write(json.dumps([options["name"], tp.partition, offset]) + "\n")
        return wanted

    health.LOOP_SILENCE_SECONDS_MAX = options.get("loop_silence_seconds", health.LOOP_SILENCE_SECONDS_MAX)
    app = create_app(options["group"], settings, begin=begin, assigned=assigned, revoked=revoked)
    if "max_poll_seconds" in options:
        app.conf.broker_max_poll_interval = options["max_poll_seconds"]

    @app.batch_agent(*options["topics"])
    async def worker(stream: Any) -> None:
        async for fetch in fetches(stream):
            if fetch.next_offset > options.get("fail_at", 2**62):
                raise ValueError("NIK 1605024203190001 is in this message")
            await asyncio.sleep(options.get("fetch_seconds", 0))
            time.sleep(options.get("blocked_seconds", 0))
            _, crc = stands_at(store, fetch.partition)
            for record in fetch.records:
                crc = zlib.crc32(record.value or b"-", crc)
            bad = [[r.offset, r.next_offset] for r in fetch.records if isinstance(r, UndecodableRecord)]
            line = {
                "begin": fetch.begin,
                "next": fetch.next_offset,
                "records": len(fetch.records),
                "crc": crc,
                "bad": bad,
                "worker": options["name"],
                "first": fetch.records[0].offset,
                "sent": fetch.records[-1].timestamp,
            }
            with (store / str(fetch.partition)).open("a") as file:
                file.write(json.dumps(line) + "\n")
            await commit(app, {fetch.tp: fetch.next_offset})

    async def show_lag(_: web.Request) -> web.Response:
        return web.json_response({str(tp.partition): behind for tp, behind in (await lag(app)).items()})

    async def show_fetched(_: web.Request) -> web.Response:
        delivered = cast(Consumer, app.consumer)._thread.delivered
        return web.json_response({str(tp.partition): offset for tp, offset in delivered.items()})

    app.web.web_app.router.add_get("/lag", show_lag)
    app.web.web_app.router.add_get("/fetched", show_fetched)
    if "starts_at" in options:
        called("prepared", frozenset())
        while not Path(options["starts_at"]).exists():
            time.sleep(0.02)
    return run(app)


if __name__ == "__main__":
    sys.exit(main(json.loads(sys.argv[1])))
