"""Time from sending an event until the country's figure holds it, at a rate at which not every event can be followed.

In: events, sent in whole batches every few milliseconds to the intake topics of a running job, fences on. Out: milliseconds
from the moment at which so many events had been sent until a consumer of committed records read a country's figure that holds
so many. Events of different partitions overtake each other; how many are sent and held is told of all of them together. Beside
it: until so many were acknowledged in the intake topics, from when on they can be read.

`bench.delay` follows each event for itself, and takes more processor time for it than the job.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from agents.topics import COVERAGE, LEDGER
from bench.delay import spread, until_complete, watched
from bench.kafka_job import BATCH_BYTES, BenchKafka, consumer, ends, job, start, take_acknowledged
from bench.machine import cpu_seconds, wait_until_quiet
from bench.people import events
from bench.results import Result, round_all, say
from bench.whole_job import start_counting, wait_until_ready
from lampit.publish import address
from stream.regions import COUNTRY

TICK_SECONDS: Final = 0.02
ENDS_SECONDS: Final = 0.025
"""Between two looks at the ledger's ends, for the notes: each is a request that broker and sender answer beside the job."""

Curve = list[tuple[int, float]]
"""(so many by then, when), ascending by both."""


def measure(rate: int, seconds: int, warm_up: int, seed: int, partitions: int) -> Result:
    """One run: the events of `seconds` are its sample, those of `warm_up` seconds before warm it up."""
    parameters = {
        "events_per_second": rate,
        "seconds": seconds,
        "warm_up_seconds": warm_up,
        "seed": seed,
        "partitions": partitions,
        "processes": "one intake, one ledger, one rollup",
    }
    name = "as many, acknowledged in intake"
    result = Result("latency_loaded", parameters, [], name, [], ("p99_ms", "at_most", 250.0))
    say("making the events")
    lines = list(events(rate * (seconds + warm_up), seed))
    with (
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka() as kafka,
        job(kafka, Path(folder), partitions) as running,
    ):
        processes = [*start_counting(running), start(running, "intake", "intake")]
        wait_until_ready(processes[-1])
        pids = {process.role: process.popen.pid for process in processes} | {"broker": kafka.pid, "bench": os.getpid()}
        result.busy.append(wait_until_quiet())
        say(f"sending {rate:,} events a second for {warm_up} + {seconds} s")
        before, began = {role: cpu_seconds(pid) for role, pid in pids.items()}, time.monotonic()
        sent, seen = asyncio.run(_run(kafka.bootstrap_servers, lines, rate, partitions))
        took = time.monotonic() - began
        spent = {f"{role}_percent": 100 * (cpu_seconds(pid) - before[role]) / took for role, pid in pids.items()}
    result.notes["of_a_core"] = round_all(spent)
    first = rate * warm_up
    result.repeats.append(spread(_delays(sent, seen.coverage, first)))
    result.peer.append(spread(_delays(sent, seen.intake, first)))
    places = {"intake": seen.intake, "ledger": seen.ledger, "coverage": seen.coverage}
    medians = {name: statistics.median(_delays(sent, curve, first)) for name, curve in places.items()}
    result.notes["median_until"] = round_all({f"{name}_ms": 1000 * value for name, value in medians.items()})
    result.notes["sent_per_second"] = round((len(lines) - first) / (sent[-1][1] - _when(sent, first)), 1)
    return result


def _when(curve: Curve, number: int) -> float:
    """When there were so many."""
    return curve[bisect_left(curve, (number, 0.0))][1]


def _delays(sent: Curve, come: Curve, first: int) -> list[float]:
    """Of each event behind the first ones: seconds from one curve to the other."""
    return [_when(come, number) - _when(sent, number) for number in range(first + 1, sent[-1][0] + 1)]


class Seen:
    """How many events had come so far by when, by the monotonic clock of this process, to each place on their way."""

    def __init__(self, before: int) -> None:
        """before: records of the ledger that are no events of this run."""
        self.before = before
        self.intake, self.ledger, self.coverage = ([(0, 0.0)] for _ in range(3))

    def in_coverage(self, record: Any, now: float) -> None:
        """A coverage record came. Intake writes without transactions: its records are all that comes behind what was there."""
        if record.key == COUNTRY.encode():
            reached(self.coverage, sum(json.loads(record.value)["position"].values()) - self.before, now)


def reached(curve: Curve, number: int, now: float) -> None:
    """So many have come by now."""
    if number > curve[-1][0]:
        curve.append((number, now))


async def _run(servers: str, lines: Sequence[bytes], rate: int, partitions: int) -> tuple[Curve, Seen]:
    before = await ends(servers, LEDGER, partitions)
    seen = Seen(sum(before.values()))

    def come() -> int:
        return min(seen.coverage[-1][0], seen.intake[-1][0])

    async with (
        watched(servers, [((COVERAGE,), 1, seen.in_coverage)]),
        _ends_watched(servers, [TopicPartition(LEDGER, number) for number in before], seen.ledger),
    ):
        sent = await _send(servers, lines, rate, partitions, seen.intake)
        await until_complete(lambda: come() >= len(lines), lambda: f"{come():,} of {len(lines):,} events are counted")
    return sent, seen


@asynccontextmanager
async def _ends_watched(servers: str, places: Sequence[TopicPartition], curve: Curve) -> AsyncIterator[None]:
    """Note how many records come to a topic from here on, by its ends: to read them all would be a load of its own."""

    async def watch(reader: Any, before: int) -> None:
        while True:
            await asyncio.sleep(ENDS_SECONDS)
            reached(curve, sum((await reader.end_offsets(places)).values()) - before, time.monotonic())

    async with consumer(servers) as reader:
        watching = asyncio.create_task(watch(reader, sum((await reader.end_offsets(places)).values())))
        yield
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)


async def _send(servers: str, lines: Sequence[bytes], rate: int, partitions: int, acknowledged: Curve) -> Curve:
    """At the rate, all that is due every few milliseconds; what is late is sent at once, and its time counts from then."""
    places = [address(line) for line in lines]
    sent: Curve = [(0, time.monotonic())]
    pending: deque[asyncio.Future[Any]] = deque()
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, linger_ms=0
    )
    async with producer:
        began = time.monotonic()
        while sent[-1][0] < len(lines):
            await asyncio.sleep(TICK_SECONDS)
            done = sent[-1][0]
            due = min(len(lines), int((time.monotonic() - began) * rate))
            batches: dict[tuple[str, int], list[Any]] = {}
            for line, (topic, key) in zip(lines[done:due], places[done:due], strict=True):
                target = batches.setdefault((topic, int(key or b"0") % partitions), [])
                if not target or target[-1].append(key=key, value=line, timestamp=None) is None:
                    target.append(producer.create_batch())
                    target[-1].append(key=key, value=line, timestamp=None)
            sent.append((due, time.monotonic()))
            for topic, partition, batch in [(*place, batch) for place, filled in batches.items() for batch in filled]:
                records = batch.record_count()
                pending.append(await producer.send_batch(batch, topic, partition=partition))
                pending[-1].add_done_callback(
                    lambda _, records=records: reached(acknowledged, acknowledged[-1][0] + records, time.monotonic())
                )
            take_acknowledged(pending)
        await asyncio.gather(*pending)
    return sent
