"""The archive worker on one core: a ledger in Kafka → signed Parquet segments in a directory.

In: events, written to `lampit.ledger` as intake would have; ids are random UUIDs, seconds random, the order that of no person:
what compresses badly in a real ledger does here too. Out: events a second from "goes on at" to the manifests that cover all of
them; the same of the writer alone, without Kafka; bytes an event on disk. Beside it: keys and values as they are, by pyarrow.
"""

from __future__ import annotations

import asyncio
import io
import random
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agents import segments
from agents.archive_books import Books
from agents.archive_files import Files
from agents.archive_writer import PartitionWriter
from agents.barrier import day_record
from agents.driver import Fetch
from agents.signing import Signer, make_key
from agents.topics import LEDGER
from bench import expected
from bench.kafka_job import BenchKafka, fill, job, start, wait_for_line
from bench.machine import cpu_seconds, memory_mib, on_cores, wait_until_quiet
from bench.people import events
from bench.results import Figures, Result, round_all, say, shown
from lampit.audit.archive import Archive
from stream.archive import Header
from stream.ledger import encode_record, record_key
from tests.live import Live

PARTITIONS: Final = 4
WORKER_CORE: Final = 0
OTHER_CORES: Final = (1,)
RECEIVED_AT: Final = 1_553_760_000_000_000
FETCH_RECORDS: Final = 2_000
WAIT_SECONDS_MAX: Final = 300.0


class Row(NamedTuple):
    """A record as a fetch holds it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


def measure(count: int, repeats: int, seed: int) -> Result:
    """The ledger once; then the worker into a new directory, the writer alone, and the peer, in turn."""
    parameters = {
        "events": count,
        "repeats": repeats,
        "seed": seed,
        "partitions": PARTITIONS,
        "segment_records": 50_000,
        "cores": "one for the worker, one for the broker",
    }
    mark = ("events_per_second", "at_least", 150_000.0)
    result = Result("archive", parameters, [], "pyarrow, keys and values as they are", [], mark)
    say("making the ledger")
    rows = _ledger(count, seed)
    with (
        on_cores(OTHER_CORES),
        tempfile.TemporaryDirectory(prefix="lampit-bench-") as folder,
        BenchKafka(OTHER_CORES) as kafka,
        job(kafka, Path(folder)) as running,
    ):
        make_key(Path(folder) / "archive.key", Path(folder) / "archive.key.pub")
        asyncio.run(fill(kafka.bootstrap_servers, rows))
        for number in range(repeats):
            result.busy.append(wait_until_quiet())
            figures = _by_worker(running, Path(folder), count, number)
            with on_cores([WORKER_CORE]):
                figures["writer_events_per_second"] = _by_writer(rows, Path(folder) / f"writer-{number}")
                peer = _peer(rows)
            result.repeats.append(round_all(figures))
            result.peer.append(round_all(peer))
            say(
                f"{number + 1} of {repeats}: worker {shown(figures['events_per_second'])}, writer alone "
                f"{shown(figures['writer_events_per_second'])} events/s, {figures['bytes_per_event']:.1f} bytes an event; "
                f"peer {shown(peer['events_per_second'])}, {peer['bytes_per_event']:.1f}"
            )
    return result


def _ledger(count: int, seed: int) -> dict[tuple[str, int], list[tuple[bytes | None, bytes]]]:
    """Records of the ledger by partition; the day last, so that all before it is sealed."""
    chance = random.Random(seed)
    admitted = expected.admitted_events(events(count, seed))
    chance.shuffle(admitted)
    rows: dict[tuple[str, int], list[tuple[bytes | None, bytes]]] = {(LEDGER, n): [] for n in range(PARTITIONS)}
    for place, one in enumerate(admitted):
        identity = uuid.UUID(int=(0x01957C2E << 96) | chance.getrandbits(96), version=4)
        event = msgspec.structs.replace(
            one.event, id=str(identity), time=one.event.time + chance.randrange(36_000) * 1_000_000
        )
        value = encode_record(one.subject, event, RECEIVED_AT + place // 200 * 731_417)
        partition = int((one.subject or "")[:8], 16) % PARTITIONS
        rows[LEDGER, partition].append((record_key(one.subject, event), value))
    for partition in range(PARTITIONS):
        day = day_record(partition, expected.AS_OF)
        rows[LEDGER, partition].append((day.key, day.value or b""))
    return rows


def _by_worker(running: Live, folder: Path, count: int, number: int) -> Figures:
    archive = folder / f"archive-{number}"
    running.settings |= {
        "LAMPIT_ARCHIVE_URL": str(archive),
        "LAMPIT_ARCHIVE_KEY_FILE": str(folder / "archive.key"),
        "LAMPIT_GROUP_PREFIX": f"bench-{number}",
    }
    process = start(running, "archive", f"archive-{number}", WORKER_CORE)
    began = wait_for_line(process, "the archive goes on at 0")
    spent = cpu_seconds(process.popen.pid)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while not _is_done(archive):
        if time.monotonic() > deadline:
            raise TimeoutError("the archive was not written in time")
        time.sleep(0.02)
    seconds = time.monotonic() - began
    spent = cpu_seconds(process.popen.pid) - spent
    memory = memory_mib(process.popen.pid)
    process.stop()
    read = Archive.open(str(archive))
    size = sum(entry.bytes for partition in read.partitions() for entry in read.segments(partition))
    return {
        "events_per_second": count / seconds,
        "seconds": seconds,
        "cpu_seconds_per_million": spent / count * 1_000_000,
        "bytes_per_event": size / count,
        "memory_mib": memory,
    }


def _is_done(archive: Path) -> bool:
    manifests = list(archive.glob("ledger/partition=*/manifest.jsonl"))
    if len(manifests) < PARTITIONS:
        return False
    barrier = Archive.open(str(archive)).barrier()
    return barrier is not None and barrier.day == expected.AS_OF


def _by_writer(rows: dict[tuple[str, int], list[tuple[bytes | None, bytes]]], folder: Path) -> float:
    """Events a second of processor time: the writer on fetches that are already there."""
    signer = Signer(Ed25519PrivateKey.generate())
    spent = 0.0
    count = 0
    for (topic, partition), records in rows.items():
        log = [Row(offset, RECEIVED_AT // 1000, key, value) for offset, (key, value) in enumerate(records)]
        writer = PartitionWriter(Books(Files(str(folder)), Header("bench", topic, partition), signer), 50_000)
        began = time.process_time()
        for begin in range(0, len(log), FETCH_RECORDS):
            some: Any = tuple(log[begin : begin + FETCH_RECORDS])
            writer.add(Fetch(topic, partition, begin, begin + len(some), some, 0))
        spent += time.process_time() - began
        count += len(log)
    return count / spent


def _peer(rows: dict[tuple[str, int], list[tuple[bytes | None, bytes]]]) -> Figures:
    """The same records as Parquet with two columns of bytes."""
    spent, size, count = 0.0, 0, 0
    for records in rows.values():
        for begin in range(0, len(records), 50_000):
            some = records[begin : begin + 50_000]
            sink = io.BytesIO()
            began = time.process_time()
            columns = {
                "key": pa.array([key for key, _ in some], pa.binary()),
                "value": pa.array([value for _, value in some], pa.binary()),
            }
            pq.write_table(
                pa.table(columns),
                sink,
                compression=segments.COMPRESSION,
                compression_level=segments.COMPRESSION_LEVEL,
                use_dictionary=False,
            )
            spent += time.process_time() - began
            size += len(sink.getvalue())
            count += len(some)
    return {"events_per_second": count / spent, "bytes_per_event": size / count}
