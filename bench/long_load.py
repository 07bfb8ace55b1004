"""The whole job under a steady load for an hour: what each process holds in memory, and whether that stays.

In: events, sent to the intake topics at a steady rate. Out: resident memory of intake, ledger worker and roll-up over time; how
much more each holds at the end than a sixth of the time after the beginning. Then every region is compared with the engine.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import aiokafka

from agents.topics import LEDGER
from bench import expected
from bench.kafka_job import BenchKafka, ends, job, start
from bench.machine import memory_mib
from bench.people import events
from bench.results import Figures, Result, round_all, say
from bench.whole_job import PARTITIONS, start_counting, wait_until_ready
from lampit.publish import address
from stream.regions import COUNTRY
from tests.live import Live, Process, compare

SAMPLE_SECONDS: Final = 5.0
SETTLED: Final = 1 / 6
"""Of the time: until then caches fill and code is loaded."""
SAY_SECONDS: Final = 60.0

Samples = dict[str, list[float]]
"""By process, MiB, one every SAMPLE_SECONDS."""


def measure(minutes: int, rate: int, seed: int) -> Result:
    """One run; a repeat would take as long again."""
    parameters = {
        "minutes": minutes,
        "events_per_second": rate,
        "seed": seed,
        "partitions": PARTITIONS,
        "processes": "one intake, one ledger, one rollup",
    }
    name = "the same processes when a sixth of the time is over"
    result = Result("memory", parameters, [], name, [], ("memory_max_mib", "at_most", 300.0))
    lines = list(events(minutes * 60 * rate, seed))
    with (
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka() as kafka,
        job(kafka, Path(folder)) as running,
    ):
        processes = {
            process.role: process for process in (*start_counting(running), start(running, "intake", "intake"))
        }
        wait_until_ready(processes["intake"])
        before = sum(asyncio.run(ends(kafka.bootstrap_servers, LEDGER, PARTITIONS)).values())
        say(f"sending {rate} events a second for {minutes} minutes")
        samples = asyncio.run(_load(kafka.bootstrap_servers, lines, rate, processes))
        coverage = _counted(running, before, len(lines))
    result.exact = not compare(expected.by_engine(expected.admitted_events(lines)), coverage)
    settled, last = (_window(samples, share) for share in (SETTLED, 1.0))
    result.repeats.append(_figures(last) | {"memory_max_mib": max(map(max, samples.values()))})
    result.peer.append(_figures(settled))
    per_minute = round(60 / SAMPLE_SECONDS)
    result.notes["mib_by_minute"] = {
        role: [round(statistics.median(found[at : at + per_minute]), 1) for at in range(0, len(found), per_minute)]
        for role, found in samples.items()
    }
    return result


def _window(samples: Samples, until: float) -> dict[str, float]:
    """The median of each process over the tenth of the time that ends there."""
    found = {}
    for role, values in samples.items():
        end = max(1, round(len(values) * until))
        found[role] = statistics.median(values[max(0, end - max(1, len(values) // 10)) : end])
    return found


def _figures(memory: Mapping[str, float]) -> Figures:
    named = {f"{role}_memory_mib": value for role, value in memory.items()}
    return round_all(named | {"memory_max_mib": max(memory.values())})


async def _load(servers: str, lines: Sequence[bytes], rate: int, processes: Mapping[str, Process]) -> Samples:
    samples: Samples = {role: [] for role in processes}
    sampling = asyncio.create_task(_sample(processes, samples))
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=servers, acks="all", enable_idempotence=True, linger_ms=5)
    pending: list[Awaitable[Any]] = []
    async with producer:
        began = said = time.monotonic()
        for number, line in enumerate(lines):
            wait = began + number / rate - time.monotonic()
            if wait > 0:
                await asyncio.sleep(wait)
            topic, key = address(line)
            pending.append(await producer.send(topic, line, key=key))
            if time.monotonic() - said >= SAY_SECONDS:
                said = time.monotonic()
                await asyncio.gather(*pending)
                pending.clear()
                now = ", ".join(f"{role} {values[-1]:.0f}" for role, values in samples.items() if values)
                say(f"{number + 1:,} of {len(lines):,} events sent; MiB: {now}")
        await asyncio.gather(*pending)
    sampling.cancel()
    await asyncio.gather(sampling, return_exceptions=True)
    return samples


async def _sample(processes: Mapping[str, Process], samples: Samples) -> None:
    while True:
        for role, process in processes.items():
            samples[role].append(memory_mib(process.popen.pid))
        await asyncio.sleep(SAMPLE_SECONDS)


def _counted(running: Live, before: int, count: int) -> expected.Coverage:
    """Every region, once the country's record covers all events."""

    def covered() -> bool:
        country = running.coverage().get(COUNTRY)
        return country is not None and sum(country["position"].values()) >= before + count

    running.wait_until(covered, "coverage of all events")
    return running.coverage()
