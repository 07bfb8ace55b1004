"""Several ledger workers work off a ledger together, beside one alone.

In: events, written to `lampit.ledger` while the workers, ready and with empty stores, are stopped by SIGSTOP. Out: events a
second from the moment they go on until the heads in `lampit.partials` cover all of them. Workers and broker share all cores:
nobody waits for a group to gather, and no worker has a core to itself.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path

from agents.topics import LEDGER, PARTIALS
from bench import expected
from bench.catching_up import PARTITIONS, LedgerRows, ledger_rows, until_covered
from bench.kafka_job import BenchKafka, ends, fill, job
from bench.machine import cpu_seconds, memory_mib, wait_until_quiet
from bench.people import events
from bench.results import Figures, Result, round_all, say, shown
from bench.whole_job import start_workers
from tests.live import Live, compare


def measure(count: int, workers: int, repeats: int, seed: int) -> Result:
    """In turn with several and with one; each time on a broker of its own."""
    parameters = {"events": count, "workers": workers, "repeats": repeats, "seed": seed, "partitions": PARTITIONS}
    mark = ("events_per_second", "at_least", 110_000.0)
    result = Result("workers", parameters, [], "one worker, the same way", [], mark, exact=True)
    say("making the ledger")
    admitted = expected.admitted_events(events(count, seed))
    wanted = expected.by_engine(admitted)
    rows = ledger_rows(admitted)
    del admitted
    for number in range(repeats):
        for several, found in ((workers, result.repeats), (1, result.peer)):
            with (
                tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
                BenchKafka() as kafka,
                job(kafka, Path(folder)) as running,
            ):
                result.busy.append(wait_until_quiet())
                figures, coverage = _work_off(running, several, count, rows)
            differences = compare(wanted, coverage)
            result.exact = result.exact and not differences
            found.append(figures)
            each = shown(figures["events_per_second"])
            say(f"{number + 1} of {repeats}, {several} workers: {each} events/s; {differences[:3] or 'exact'}")
    return result


def _work_off(running: Live, workers: int, count: int, rows: LedgerRows) -> tuple[Figures, expected.Coverage]:
    servers = running.broker.bootstrap_servers
    processes = start_workers(running, workers)
    after = asyncio.run(ends(servers, PARTIALS, 1))[0]
    for process in processes:
        process.pause()
    asyncio.run(fill(servers, rows))
    targets = asyncio.run(ends(servers, LEDGER, PARTITIONS))
    spent = [cpu_seconds(process.popen.pid) for process in processes]
    began = time.monotonic()
    for process in processes:
        process.resume()
    records = asyncio.run(until_covered(servers, after, targets))
    seconds = time.monotonic() - began
    used = sum(cpu_seconds(one.popen.pid) - before for one, before in zip(processes, spent, strict=True))
    figures = {
        "events_per_second": count / seconds,
        "seconds": seconds,
        "cpu_seconds_per_million": used / count * 1_000_000,
        "memory_max_mib": max(memory_mib(process.popen.pid) for process in processes),
    }
    for process in processes:
        process.kill()
    return round_all(figures), expected.from_partials(records)
