"""The job as it is first written with Faust: two agents, Tables in memory, one event at a time.

Agent 1 drops repeats by a Table of event ids and sends each event on, keyed by village; agent 2 adds up in a Table. No
validation, no pseudonym, no moves, no ages, nothing survives a crash: less than Lampit does.

In: servers, topic of events, name of the run, with which its topics begin, and a folder. Out: NAME-by-village, and each total
in NAME-totals, until it is killed. With `--count EVENTS` no totals: it prints events and seconds, from the first event of
agent 1 to the last of agent 2, as JSON, and ends.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from typing import Any

import faust

from bench.village_sums import village_of

SERVERS, TOPIC, NAME, FOLDER = sys.argv[1:5]
COUNT = int(sys.argv[sys.argv.index("--count") + 1]) if "--count" in sys.argv else None

app = faust.App(
    NAME,
    broker=f"kafka://{SERVERS}",
    store="memory://",
    datadir=FOLDER,
    topic_partitions=4,
    topic_disable_leader=True,
    topic_allow_declare=False,  # they are there: Faust sends to topics that it has just declared before they exist
    web_enabled=False,
    worker_redirect_stdouts=False,
    stream_wait_empty=False,
)
events = app.topic(TOPIC, key_type=bytes, value_type=bytes, value_serializer="raw", key_serializer="raw")
by_village = app.topic(f"{NAME}-by-village", key_type=str, value_serializer="json", partitions=4)
totals = app.topic(f"{NAME}-totals", key_type=str, value_type=bytes, value_serializer="raw", partitions=4)
seen = app.Table("seen", default=int, partitions=4)
sums = app.Table("sums", default=int, partitions=4)
began: list[float] = []
counted = [0, 0]


def cpu_seconds() -> float:
    """Of this process so far."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


@app.agent(events)
async def dedupe(stream: Any) -> None:
    """Drop repeats, send on by village."""
    async for raw in stream:
        if not began:
            began.extend((time.perf_counter(), cpu_seconds()))
        event = json.loads(raw)
        name = event["source"] + event["id"]
        if seen[name]:
            done(1)
            continue
        seen[name] = 1
        await by_village.send(key=village_of(event), value={"type": event["type"]})


@app.agent(by_village)
async def add_up(stream: Any) -> None:
    """Add up per village and type."""
    async for village, value in stream.items():
        name = f"{village} {value['type']}"
        sums[name] += 1
        if COUNT is None:
            await totals.send(key=village, value=f"{name} {sums[name]}".encode())
        done(0)


def done(which: int) -> None:
    """Count what is through; print and end with the last one."""
    counted[which] += 1
    if sum(counted) == COUNT:
        seconds, spent = time.perf_counter() - began[0], cpu_seconds() - began[1]
        print(json.dumps({"records": COUNT, "seconds": seconds, "cpu_seconds": spent}), flush=True)
        os._exit(0)


if __name__ == "__main__":
    app.finalize()
    worker = faust.Worker(app, loglevel="error", quiet=True)
    worker.execute_from_commandline()
