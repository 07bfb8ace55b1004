"""Intake, ledger worker and roll-up work off a backlog of raw events, beside the job as first written with Faust.

In: events, written to the intake topics before intake starts. Out: events a second from the first record that intake has
written to the ledger until the coverage of the country covers the last one. Fences on, all processes and the broker on all
cores.
"""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from aiokafka.structs import TopicPartition
from kafka import KafkaAdminClient

from agents.topics import COVERAGE, LEDGER
from bench import expected
from bench.kafka_job import WAIT_SECONDS_MAX, BenchKafka, consumer, ends, fill, follow, job, start
from bench.machine import cpu_seconds, peak_memory_mib, wait_until_quiet
from bench.people import events
from bench.results import ROOT, Figures, Result, round_all, say, shown
from lampit.children import end_with_parent
from lampit.publish import address
from stream.regions import COUNTRY
from tests.live import Live, Process, compare

PARTITIONS: Final = 4
SENT_PER_MILLISECOND: Final = 40
"""By the timestamps of a backlog: 40,000 events a second, in the order in which they are made."""

NAIVE_TOPIC: Final = "naive-events"
NAIVE_TOPICS: Final = (NAIVE_TOPIC, "naive-by-village", "naive-seen-changelog", "naive-sums-changelog")


def measure(count: int, workers: int, partitions: int, repeats: int, seed: int, peer_events: int) -> Result:
    """Each repeat has a broker and a ledger of its own."""
    parameters = {
        "events": count,
        "repeats": repeats,
        "seed": seed,
        "partitions": partitions,
        "processes": f"one intake, {workers} ledger, one rollup",
        "published": "before intake starts",
        "measured": "first ledger record to coverage of the last",
        "peer_events": peer_events,
    }
    mark = ("events_per_second", "at_least", 40_000.0)
    result = Result("live", parameters, [], "Faust, two agents, Tables in memory", [], mark, exact=True)
    lines = list(events(count, seed))
    wanted = expected.by_engine(expected.admitted_events(lines))
    for number in range(repeats):
        with (
            tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
            BenchKafka() as kafka,
            job(kafka, Path(folder), partitions) as running,
        ):
            result.busy.append(wait_until_quiet())
            figures, coverage = work_off(running, kafka.pid, lines, workers)
            for process in running.processes:
                process.kill()
            found = compare(wanted, coverage)
            result.exact = result.exact and not found
            result.repeats.append(figures)
            say(f"lampit: {shown(figures['events_per_second'])} events/s, {found[:3] or 'exact'}; now the peer")
            result.peer.append(_naive(kafka.bootstrap_servers, lines[:peer_events]))
        ours, theirs = figures["events_per_second"], result.peer[-1]["events_per_second"]
        say(f"{number + 1} of {repeats}: lampit {shown(ours)}, peer {shown(theirs)} events/s; {found[:3] or 'exact'}")
    return result


def by_topic(lines: Sequence[bytes], partitions: int) -> dict[tuple[str, int], list[tuple[bytes | None, bytes, int]]]:
    """Events in the topics and partitions that producers would send them to, by type and NIK, at the times they would."""
    rows: dict[tuple[str, int], list[tuple[bytes | None, bytes, int]]] = {}
    first = int(time.time() * 1000) - len(lines) // SENT_PER_MILLISECOND
    for number, line in enumerate(lines):
        topic, key = address(line)
        assert key is not None, "made-up events have a NIK"
        at = first + number // SENT_PER_MILLISECOND
        rows.setdefault((topic, int(key) % partitions), []).append((key, line, at))
    return rows


def start_counting(running: Live, workers: int = 1) -> list[Process]:
    """Ledger workers and a roll-up that are ready for the first event; the roll-up is the last."""
    running.turn_day(expected.AS_OF)
    rollup = start(running, "rollup", "rollup")
    ledger = start_workers(running, workers)
    wait_until_ready(rollup)
    return [*ledger, rollup]


def start_workers(running: Live, number: int) -> list[Process]:
    """Ledger workers that are ready, each with as many partitions."""
    workers = [start(running, "ledger", f"ledger-{one}") for one in range(number)]
    for worker in workers:
        wait_until_ready(worker)
    _wait_until_shared_out(workers, running.partitions // number)
    return workers


def _wait_until_shared_out(workers: Sequence[Process], each: int) -> None:
    """Until each worker has as many partitions."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while [_partitions_of(worker) for worker in workers] != [each] * len(workers):
        if time.monotonic() > deadline:
            raise TimeoutError(f"the partitions were not shared out in {WAIT_SECONDS_MAX:.0f} s")
        time.sleep(0.2)


def _partitions_of(worker: Process) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.port}/metrics", timeout=5) as answer:
        return int(answer.read().count(b"\nlampit_position{"))


def wait_until_ready(process: Process) -> None:
    """Wait for its own word that it is."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{process.port}/health/ready", timeout=5).close()
            return
        except (urllib.error.URLError, OSError):
            time.sleep(0.05)
    raise TimeoutError(f"{process.role} was not ready in {WAIT_SECONDS_MAX:.0f} s")


def work_off(running: Live, broker_pid: int, lines: list[bytes], workers: int) -> tuple[Figures, expected.Coverage]:
    """The whole job over events that are in Kafka before intake starts: what it took, and coverage as published."""
    servers = running.broker.bootstrap_servers
    processes = start_counting(running, workers)
    asyncio.run(fill(servers, by_topic(lines, running.partitions)))
    before = asyncio.run(ends(servers, LEDGER, running.partitions))
    processes.append(start(running, "intake", "intake"))
    pids = {"broker": [broker_pid]}
    for process in processes:
        pids.setdefault(process.role, []).append(process.popen.pid)
    return asyncio.run(_until_counted(servers, before, len(lines), pids))


async def _until_counted(
    servers: str, ends_before: Mapping[int, int], count: int, pids: dict[str, list[int]]
) -> tuple[Figures, expected.Coverage]:
    async with consumer(servers) as reader:
        ledger, before = [TopicPartition(LEDGER, number) for number in ends_before], sum(ends_before.values())
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while sum((await reader.end_offsets(ledger)).values()) == before:
            if time.monotonic() > deadline:
                raise TimeoutError("intake wrote nothing")
            await asyncio.sleep(0.005)
        began = time.monotonic()
        spent = {role: _cpu_seconds(each) for role, each in pids.items()}
        coverage: dict[str, Any] = {}
        counted = 0
        async for records in follow(reader, COVERAGE, 0, 0):
            for record in records:
                coverage[record.key.decode()] = json.loads(record.value)
            # Intake writes without transactions: its records are all that comes behind what was there.
            counted = sum(coverage[COUNTRY]["position"].values()) if COUNTRY in coverage else 0
            if counted >= before + count:
                break
    seconds = time.monotonic() - began
    figures = {"events_per_second": count / seconds, "seconds": seconds}
    for role, each in pids.items():
        figures[f"{role}_cpu_seconds_per_million"] = (_cpu_seconds(each) - spent[role]) / count * 1_000_000
        figures[f"{role}_peak_memory_mib"] = sum(map(peak_memory_mib, each))
    return round_all(figures), coverage


def _cpu_seconds(pids: Iterable[int]) -> float:
    """Of all processes of a role together."""
    return sum(map(cpu_seconds, pids))


def _naive(servers: str, lines: list[bytes]) -> Figures:
    admin = KafkaAdminClient(bootstrap_servers=servers)
    admin.create_topics({name: {"num_partitions": PARTITIONS, "replication_factor": 1} for name in NAIVE_TOPICS})
    admin.wait_for_topics(NAIVE_TOPICS)
    admin.close()
    rows: dict[tuple[str, int], list[tuple[bytes | None, bytes]]] = {}
    for line in lines:
        nik = json.loads(line)["data"]["nik"]
        rows.setdefault((NAIVE_TOPIC, int(nik) % PARTITIONS), []).append((nik.encode(), line))
    asyncio.run(fill(servers, rows))
    with tempfile.TemporaryDirectory(prefix="lampit-bench-naive-") as folder:
        naive = ["bench.peers.naive_faust", servers, NAIVE_TOPIC, "naive", folder, "--count", str(len(lines))]
        done = subprocess.run(
            [sys.executable, "-m", *naive],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
            timeout=WAIT_SECONDS_MAX,
            preexec_fn=end_with_parent(signal.SIGKILL),  # it can hang, and then does not hear SIGTERM
        )
    # Faust's worker writes to the terminal around it.
    read = json.loads(done.stdout[done.stdout.index('{"records"') :].splitlines()[0])
    return round_all(
        {
            "events_per_second": read["records"] / read["seconds"],
            "seconds": read["seconds"],
            "cpu_seconds_per_million": read["cpu_seconds"] / read["records"] * 1_000_000,
        }
    )
