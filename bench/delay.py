"""Time from sending an event until a subscriber can read the country's figure that holds it, at a steady rate.

In: events, sent one by one to the intake topics of a running job, fences on. Out: milliseconds from the call of send until the
coverage record of the country whose position covers the event's place in the ledger came to a consumer that reads committed
records. Beside it: until the very same record came to such a consumer of the intake topic, which is the broker's own floor.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import tempfile
import time
from bisect import bisect_left
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from agents.topics import COVERAGE, INTAKE_TOPICS, LEDGER, PARTIALS
from bench.kafka_job import BenchKafka, consumer, ends, job, start, take_acknowledged
from bench.machine import wait_until_quiet
from bench.people import events
from bench.results import Figures, Result, round_all, say
from bench.whole_job import PARTITIONS, start_counting, wait_until_ready
from lampit.publish import address
from stream.regions import COUNTRY

SETTLE_SECONDS_MAX: Final = 30.0

Place = tuple[tuple[str, ...], int, Callable[[Any, float], None]]
"""(topics, their partitions, what notes a record of them and when it came)."""


class Seen:
    """When what was seen, by the monotonic clock of this process."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.sent: dict[str, float] = {}
        self.in_intake: dict[str, float] = {}
        self.ledger_at: dict[str, float] = {}
        self.in_ledger: dict[str, tuple[int, int]] = {}
        self.heads = _positions()
        self.covered = _positions()

    def intake(self, record: Any, now: float) -> None:
        """A record of an intake topic came."""
        self.in_intake[_id(record)] = now

    def ledger(self, record: Any, now: float) -> None:
        """A record of the ledger came."""
        self.ledger_at[_id(record)] = now
        self.in_ledger[_id(record)] = (record.partition, record.offset + 1)

    def partial(self, record: Any, now: float) -> None:
        """A record of the partials came."""
        if record.key.startswith(b"head|"):
            head = json.loads(record.value)
            _note(self.heads[head["partition"]], head["offset"], now)

    def coverage(self, record: Any, now: float) -> None:
        """A coverage record came."""
        if record.key == COUNTRY.encode():
            for partition, position in json.loads(record.value)["position"].items():
                _note(self.covered[int(partition)], position, now)

    def covered_at(self, name: str) -> float | None:
        """When the country's figure held an event; None while it does not."""
        return self._reached(name, self.covered)

    def stages(self, names: list[str]) -> Figures:
        """Median milliseconds from the place before: in intake, in the ledger, in the partials, in the coverage."""
        places: list[dict[str, float]] = [
            self.sent,
            self.in_intake,
            self.ledger_at,
            {name: self._reached(name, self.heads) or 0.0 for name in names},
            {name: self.covered_at(name) or 0.0 for name in names},
        ]
        labels = ("intake_ms", "ledger_ms", "partials_ms", "coverage_ms")
        spent = {
            label: [1000 * (after[name] - before[name]) for name in names]
            for label, (before, after) in zip(labels, pairwise(places), strict=True)
        }
        return round_all({label: statistics.median(values) for label, values in spent.items()})

    def _reached(self, name: str, positions: dict[int, list[tuple[int, float]]]) -> float | None:
        if name not in self.in_ledger:
            return None
        partition, position = self.in_ledger[name]
        known = positions[partition]
        found = bisect_left(known, (position, 0.0))
        return known[found][1] if found < len(known) else None

    def complete(self) -> bool:
        """Whether the last of every event sent is counted."""
        return all(self.covered_at(name) is not None and name in self.in_intake for name in self.sent)


def _positions() -> dict[int, list[tuple[int, float]]]:
    return {number: [(0, 0.0)] for number in range(PARTITIONS)}


def _note(known: list[tuple[int, float]], position: int, now: float) -> None:
    if position > known[-1][0]:
        known.append((position, now))


def _id(record: Any) -> str:
    name: str = json.loads(record.value)["id"]
    return name


def measure(rate: int, seconds: int, warm_up: int, seed: int) -> Result:
    """One run: the events of `seconds` are its sample, those of `warm_up` seconds before warm it up."""
    parameters = {
        "events_per_second": rate,
        "seconds": seconds,
        "warm_up_seconds": warm_up,
        "seed": seed,
        "partitions": PARTITIONS,
        "processes": "one intake, one ledger, one rollup",
    }
    result = Result("latency", parameters, [], "the same records, readable in intake", [], ("p99_ms", "at_most", 150.0))
    wanted = rate * (seconds + warm_up)
    lines = list(dict.fromkeys(events(wanted + wanted // 50 + 10, seed)))[:wanted]
    with (
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka() as kafka,
        job(kafka, Path(folder)) as running,
    ):
        start_counting(running)
        wait_until_ready(start(running, "intake", "intake"))
        result.busy.append(wait_until_quiet())
        say(f"sending {rate} events a second for {seconds} s")
        seen = asyncio.run(_run(kafka.bootstrap_servers, lines, rate))
    names = list(seen.sent)[rate * warm_up :]
    counted = [(seen.covered_at(name) or 0.0) - seen.sent[name] for name in names]
    floor = [seen.in_intake[name] - seen.sent[name] for name in names]
    result.repeats.append(spread(counted))
    result.peer.append(spread(floor))
    took = max(seen.sent[name] for name in names) - seen.sent[names[0]]
    result.notes["median_of_stage"] = seen.stages(names)
    slowest = sorted(zip(counted, names, strict=True))[-max(1, len(names) // 100) :]
    result.notes["median_of_stage_of_the_slowest_hundredth"] = seen.stages([name for _, name in slowest])
    result.notes["sent_per_second"] = round((len(names) - 1) / took, 1)
    return result


def spread(seconds: list[float]) -> Figures:
    """Milliseconds that half, 90, 99 and 99.9 % of them stay below, and the longest."""
    cuts = statistics.quantiles(seconds, n=1000, method="inclusive")
    found = {
        "p50_ms": cuts[499],
        "p90_ms": cuts[899],
        "p99_ms": cuts[989],
        "p999_ms": cuts[998],
        "max_ms": max(seconds),
    }
    return round_all({name: 1000 * value for name, value in found.items()})


async def _run(servers: str, lines: list[bytes], rate: int) -> Seen:
    seen = Seen()
    places = [
        (INTAKE_TOPICS, PARTITIONS, seen.intake),
        ((LEDGER,), PARTITIONS, seen.ledger),
        ((PARTIALS,), 1, seen.partial),
        ((COVERAGE,), 1, seen.coverage),
    ]

    def missing() -> int:
        return sum(seen.covered_at(name) is None for name in seen.sent)

    async with watched(servers, places):
        await _send(servers, lines, rate, seen)
        await until_complete(seen.complete, lambda: f"{missing()} of {len(seen.sent)} events are not counted")
    return seen


@asynccontextmanager
async def watched(servers: str, places: Sequence[Place]) -> AsyncIterator[None]:
    """Note every record that comes to these topics from here on, with the moment."""
    begun = [asyncio.Event() for _ in places]
    watching = [asyncio.create_task(_watch(servers, *one, event)) for one, event in zip(places, begun, strict=True)]
    await asyncio.gather(*(event.wait() for event in begun))
    yield
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)


async def until_complete(is_complete: Callable[[], bool], waiting: Callable[[], str]) -> None:
    """Until all has been seen. waiting: what is told where that takes too long."""
    deadline = time.monotonic() + SETTLE_SECONDS_MAX
    while not is_complete():
        if time.monotonic() > deadline:
            raise TimeoutError(f"after {SETTLE_SECONDS_MAX:.0f} s {waiting()}")
        await asyncio.sleep(0.1)


async def _watch(
    servers: str,
    topics: tuple[str, ...],
    partitions: int,
    note: Callable[[Any, float], None],
    begun: asyncio.Event,
) -> None:
    """`begun` is set once no record can be missed."""
    places = [TopicPartition(topic, number) for topic in topics for number in range(partitions)]
    after: dict[TopicPartition, int] = {}
    for topic in topics:
        found = await ends(servers, topic, partitions)
        after |= {TopicPartition(topic, number): end for number, end in found.items()}
    async with consumer(servers) as reader:
        reader.assign(places)
        for place, end in after.items():
            reader.seek(place, end)
        begun.set()
        while True:
            for records in (await reader.getmany(timeout_ms=100)).values():
                now = time.monotonic()
                for record in records:
                    note(record, now)


async def _send(servers: str, lines: list[bytes], rate: int, seen: Seen) -> None:
    """At the rate, evenly; what is late is sent at once, and its time counts from when it was sent."""
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=0)
    pending: deque[asyncio.Future[Any]] = deque()
    async with producer:
        began = time.monotonic() + 0.1
        for number, line in enumerate(lines):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            topic, key = address(line)
            seen.sent[json.loads(line)["id"]] = time.monotonic()
            pending.append(await producer.send(topic, line, key=key))
            take_acknowledged(pending)
        await asyncio.gather(*pending)
