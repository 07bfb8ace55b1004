"""One ledger worker on one core reads a whole ledger into an empty store, beside a consumer that does nothing with it.

In: events, written to `lampit.ledger` as intake would have. Out: events a second from the moment the first partition begins
until the heads in `lampit.partials` cover all of them. The broker has the other core.

The events of a life come one after the other, as from a register's export, so that most people are folded once. Beside that,
as a note: the same events mixed, where each comes in another batch than the others of its person and is folded with them.
"""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from agents.barrier import day_record
from agents.topics import LEDGER, PARTIALS
from bench import expected
from bench.kafka_job import BenchKafka, consumer, ends, fill, follow, job, start, wait_for_line
from bench.machine import cpu_seconds, forget_children, memory_mib, on_cores, run_python, wait_until_quiet
from bench.people import events
from bench.results import Figures, Result, medians, round_all, say, shown
from stream.admission import Admitted
from stream.ledger import encode_record, record_key
from tests.live import Live, compare

PARTITIONS: Final = 4
WORKER_CORE: Final = 0
OTHER_CORES: Final = (1,)
RECEIVED_AT: Final = 1_553_760_000_000_000

LedgerRows = dict[tuple[str, int], list[tuple[bytes | None, bytes]]]
"""(key, value) of records, by topic and partition."""


def measure(count: int, repeats: int, seed: int) -> Result:
    """The ledger once, then worker and peer in turn over it; each worker begins with an empty store."""
    parameters = {
        "events": count,
        "repeats": repeats,
        "seed": seed,
        "partitions": PARTITIONS,
        "cores": "one for the worker, one for the broker",
        "day_record": "before the events",
    }
    mark = ("events_per_second", "at_least", 60_000.0)
    result = Result("catch_up", parameters, [], "aiokafka getmany and json.loads", [], mark, exact=True)
    say("making the ledger")
    admitted = expected.admitted_events(events(count, seed))
    wanted = expected.by_engine(admitted)
    result.repeats, result.peer = _repeated(result, repeats, admitted, wanted)
    say("the same events, mixed")
    random.Random(seed).shuffle(admitted)
    mixed, beside = _repeated(result, repeats, admitted, wanted)
    result.notes["mixed"] = {"figures": medians(mixed), "peer": medians(beside)}
    return result


def _repeated(
    result: Result, repeats: int, admitted: list[Admitted], wanted: expected.Coverage
) -> tuple[list[Figures], list[Figures]]:
    """The worker's figures and the peer's, in turn over one ledger; whether all was exact goes to the result."""
    ours: list[Figures] = []
    theirs: list[Figures] = []
    with (
        on_cores(OTHER_CORES),
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka(OTHER_CORES) as kafka,
        job(kafka, Path(folder)) as running,
    ):
        asyncio.run(fill(kafka.bootstrap_servers, ledger_rows(admitted)))
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            figures, coverage = _catch_up(running, len(admitted), number)
            ours.append(figures)
            theirs.append(_peer(kafka.bootstrap_servers))
            found = compare(wanted, coverage)
            result.exact = result.exact and not found
            speeds = f"lampit {shown(ours[-1]['events_per_second'])}, peer {shown(theirs[-1]['events_per_second'])}"
            say(f"{number + 1} of {repeats}: {speeds} events/s; {found[:3] or 'exact'}")
    return ours, theirs


def ledger_rows(admitted: list[Admitted]) -> LedgerRows:
    """Records of the ledger by partition, the day first."""
    rows: LedgerRows = {}
    for partition in range(PARTITIONS):
        day = day_record(partition, expected.AS_OF)
        rows[LEDGER, partition] = [(day.key, day.value or b"")]
    for one in admitted:
        value = encode_record(one.subject, one.event, RECEIVED_AT)
        partition = int((one.subject or "")[:8], 16) % PARTITIONS
        rows[LEDGER, partition].append((record_key(one.subject, one.event), value))
    return rows


def _catch_up(running: Live, count: int, number: int) -> tuple[Figures, expected.Coverage]:
    servers = running.broker.bootstrap_servers
    targets = asyncio.run(ends(servers, LEDGER, PARTITIONS))
    after = asyncio.run(ends(servers, PARTIALS, 1))[0]
    process = start(running, "ledger", f"ledger-{number}", WORKER_CORE)
    began = wait_for_line(process, "begins at 0 of")
    spent = cpu_seconds(process.popen.pid)
    records = asyncio.run(until_covered(servers, after, targets))
    seconds = time.monotonic() - began
    spent = cpu_seconds(process.popen.pid) - spent
    figures = {
        "events_per_second": count / seconds,
        "seconds": seconds,
        "cpu_seconds_per_million": spent / count * 1_000_000,
        "memory_mib": memory_mib(process.popen.pid),
    }
    process.stop()
    return round_all(figures), expected.from_partials(records)


async def until_covered(servers: str, after: int, targets: dict[int, int]) -> list[Any]:
    """Partials published from an offset on, until each partition's head covers its target."""
    found: list[Any] = []
    heads = dict.fromkeys(targets, 0)
    async with consumer(servers) as reader:
        async for records in follow(reader, PARTIALS, 0, after):
            found += records
            for record in records:
                if record.key.startswith(b"head|"):
                    head = json.loads(record.value)
                    heads[head["partition"]] = head["offset"]
            # A target may count a transaction's marker behind the last record; there is none in a filled ledger.
            if all(heads[partition] >= end for partition, end in targets.items()):
                return found
    return found


def _peer(servers: str) -> Figures:
    forget_children()
    done = run_python(["-m", "bench.peers.plain_consumer", servers, LEDGER, str(PARTITIONS)], WORKER_CORE)
    read = json.loads(done.output)
    return round_all(
        {
            "events_per_second": read["records"] / read["seconds"],
            "seconds": read["seconds"],
            "cpu_seconds_per_million": read["cpu_seconds"] / read["records"] * 1_000_000,
        }
    )
