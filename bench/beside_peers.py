"""Lampit beside its peers on one machine: the same events, the same job in two stages, every village checked.

In: events, in Kafka before anybody starts, in one topic that all peers read; Lampit reads them from its intake topics. Out: for
each engine events a second from its first record between the stages until the last total can be read (read committed), what
that cost, and in how many villages it is wrong; if wanted, also after a kill -9 halfway. All engines in turn on all cores, on
one broker. bench/README.md says what each peer does and does not do.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from kafka import KafkaAdminClient

from agents.topics import COVERAGE
from bench import expected
from bench.kafka_job import BenchKafka, consumer, fill, follow, job, start
from bench.machine import wait_until_quiet
from bench.peer_run import EVENTS, FEW_EVENTS, PEERS, Peer, PeerError, Run, watch
from bench.people import events
from bench.results import ROOT, Figures, PeerRow, Result, round_all, say, shown
from bench.village_sums import sums_of
from bench.whole_job import PARTITIONS, by_topic, start_counting, work_off
from stream.regions import COUNTRY
from tests.brokers import delete_topics, topics
from tests.live import Live, compare

LAMPIT: Final = "lampit"
NEAREST: Final = "kafka_streams_exactly_once"
"""The one whose guarantee is nearest to Lampit's: the figure beside it in the table of all benchmarks."""
WORKERS: Final = 2
"""Ledger workers of Lampit; a peer has a thread for each core too."""


def measure(count: int, repeats: int, seed: int, peer_events: int, only: Collection[str], kill: bool) -> Result:
    """Every engine once a repeat, each time another one first; afterwards, if wanted, each is killed once."""
    chosen = [name for name in PEERS if not only or name in only]
    parameters = {
        "events": count,
        "repeats": repeats,
        "seed": seed,
        "partitions": PARTITIONS,
        "peers": chosen,
        "peer_events": peer_events,
        "kill": kill,
        "published": "before the engine starts",
        "measured": "first record between the stages to the last total readable",
    }
    mark = ("events_per_second", "at_least", 40_000.0)
    result = Result("peers", parameters, [], "Kafka Streams, exactly-once", [], mark, exact=True)
    result.notes = {"versions": _versions()}
    say("making the events")
    lines = list(events(count, seed))
    wanted, few_wanted = sums_of(lines), sums_of(lines[:peer_events])
    regions = expected.by_engine(expected.admitted_events(lines))
    rows = {LAMPIT: PeerRow("Lampit", "exactly once in effect")}
    for name in chosen:
        few = min(peer_events, count) if PEERS[name].slow else None
        rows[name] = PeerRow(PEERS[name].title, PEERS[name].guarantee, few)
        rows[name].failure = _make(PEERS[name])
    with BenchKafka() as kafka:
        _fill(kafka.bootstrap_servers, lines, peer_events)
        order = [name for name, row in rows.items() if row.failure is None]
        for number in range(repeats + int(kill)):
            killed = number == repeats
            result.busy.append(wait_until_quiet())
            for name in _turned(order, number):
                if rows[name].failure is not None:
                    continue
                say(f"{name}, {'killed halfway' if killed else f'{number + 1} of {repeats}'}")
                if name == LAMPIT:
                    figures, wrong = _lampit(kafka, lines, regions, killed)
                else:
                    sums = few_wanted if PEERS[name].slow else wanted
                    figures, wrong = _peer(kafka, name, number, sums, rows[name].events or count, killed, rows[name])
                _note(rows[name], figures, wrong, killed)
    ours = rows[LAMPIT]
    result.repeats = ours.repeats
    result.peer = rows[NEAREST].repeats if NEAREST in rows else []
    result.exact = not any(ours.wrong) and not ours.wrong_after_kill
    result.rows = list(rows.values())
    return result


def _turned(order: list[str], number: int) -> list[str]:
    """Another one is first each time: the broker is slower at first."""
    at = number % len(order)
    return order[at:] + order[:at]


def _note(row: PeerRow, figures: Figures, wrong: int | None, killed: bool) -> None:
    if wrong is None:
        return
    if killed:
        row.wrong_after_kill = wrong
    else:
        row.repeats.append(figures)
        row.wrong.append(wrong)
    rate = "" if killed else f"{shown(figures['events_per_second'])} events/s, "
    say(f"  {rate}{f'{wrong} villages or regions WRONG' if wrong else 'exact'}")


def _versions() -> dict[str, str]:
    """Of the engines that are not in this Python's environment, as they are asked for."""
    asked_for = {
        "kafka-streams": ("kafka_streams/pom.xml", r"<artifactId>kafka-streams</artifactId>\s*<version>(.+)</version>"),
        "quixstreams": ("quixstreams/requirements.lock", r"(?m)^quixstreams==(\S+)"),
    }
    sources = ROOT / "bench" / "peers"
    found = {name: re.search(pattern, (sources / path).read_text()) for name, (path, pattern) in asked_for.items()}
    return {name: match.group(1) for name, match in found.items() if match}


def _make(peer: Peer) -> str | None:
    """Fetch and build what it needs; why that cannot be done, or None."""
    if peer.made_by is None:
        return None
    done = subprocess.run(
        [ROOT / "scripts" / "peers", peer.made_by],
        stdout=sys.stderr,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHON": sys.executable},
    )
    if done.returncode == 0:
        return None
    say(done.stderr)
    return (done.stderr.strip().splitlines() or ["scripts/peers failed."])[-1]


def _create(servers: str, names: Iterable[str]) -> None:
    wanted = {name: {"num_partitions": PARTITIONS, "replication_factor": 1} for name in names}
    admin = KafkaAdminClient(bootstrap_servers=servers)
    try:
        admin.create_topics(wanted)
        admin.wait_for_topics(list(wanted))
    finally:
        admin.close()


def _fill(servers: str, lines: list[bytes], peer_events: int) -> None:
    """All events once, and the first of them once more for those that are slow."""
    _create(servers, (EVENTS, FEW_EVENTS))
    rows: dict[tuple[str, int], list[tuple[bytes | None, bytes]]] = {}
    for topic, some in ((EVENTS, lines), (FEW_EVENTS, lines[:peer_events])):
        for line in some:
            nik = json.loads(line)["data"]["nik"]
            rows.setdefault((topic, int(nik) % PARTITIONS), []).append((nik.encode(), line))
    asyncio.run(fill(servers, rows))


def _clear(servers: str) -> None:
    """Leave nothing of an engine but the events."""
    delete_topics(servers, topics(servers) - {EVENTS, FEW_EVENTS})


def _lampit(
    kafka: BenchKafka, lines: list[bytes], regions: expected.Coverage, killed: bool
) -> tuple[Figures, int | None]:
    """The whole job as `live` measures it, on this broker; a region is wrong when any of its figures is."""
    figures: Figures = {}
    with tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder, job(kafka, Path(folder)) as running:
        if killed:
            coverage = _lampit_killed(running, lines)
        else:
            found, coverage = work_off(running, kafka.pid, lines, WORKERS)
            figures = _as_one(found)
        for process in running.processes:
            process.kill()
    _clear(kafka.bootstrap_servers)
    return figures, len({line.partition(" ")[0] for line in compare(regions, coverage)})


def _as_one(found: Figures) -> Figures:
    """The figures of all processes as those of one engine."""
    roles = ("intake", "ledger", "rollup")
    return round_all(
        {
            "events_per_second": found["events_per_second"],
            "seconds": found["seconds"],
            "cpu_seconds_per_million": sum(found[f"{role}_cpu_seconds_per_million"] for role in roles),
            "broker_cpu_seconds_per_million": found["broker_cpu_seconds_per_million"],
            "peak_memory_mib": sum(found[f"{role}_peak_memory_mib"] for role in roles),
        }
    )


def _lampit_killed(running: Live, lines: list[bytes]) -> expected.Coverage:
    """All processes are killed at once and started again on their stores."""
    servers = running.broker.bootstrap_servers
    start_counting(running, WORKERS)
    asyncio.run(fill(servers, by_topic(lines, PARTITIONS)))
    start(running, "intake", "intake")
    asyncio.run(_until_covered(servers, len(lines) // 2))
    killed = list(running.processes)
    for process in killed:
        process.kill()
    for process in killed:
        start(running, process.role, process.name)
    return running.wait_until_counted(expected.AS_OF)


async def _until_covered(servers: str, count: int) -> None:
    async with consumer(servers) as reader:
        async for records in follow(reader, COVERAGE, 0, 0):
            for record in records:
                if record.key == COUNTRY.encode() and sum(json.loads(record.value)["position"].values()) >= count:
                    return


def _peer(
    kafka: BenchKafka, name: str, number: int, wanted: Mapping[str, int], count: int, killed: bool, row: PeerRow
) -> tuple[Figures, int | None]:
    """One run; what keeps it from the end is noted in its row, and it is not tried again."""
    servers, peer = kafka.bootstrap_servers, PEERS[name]
    run_name = f"{name.replace('_', '-')}-{number}"
    _create(servers, (f"{run_name}-{end}" for end in ("by-village", "totals", *peer.own_topics)))
    with tempfile.TemporaryDirectory(prefix="lampit-bench-", ignore_cleanup_errors=True) as folder:
        run = Run(peer, servers, run_name, Path(folder), wanted, count)
        run.start()
        try:
            figures, totals = asyncio.run(watch(run, kafka.pid, killed))
        except PeerError as error:
            row.failure = str(error)
            say(f"  {error}")
            return {}, None
        finally:
            run.kill()
            _clear(servers)
    return figures, totals.wrong_villages(wanted)
