"""A Kafka to measure on, and quick ways into and out of its topics.

In: events as bytes. Out: topics filled beforehand, a running job, what its topics say. The broker is that of the tests with
Java's full compiler; the processes are those of `lampit run`, started by tests/live.py.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import aiokafka
from aiokafka.structs import TopicPartition

from bench.machine import on_cores
from lampit.broker import spawn
from tests import brokers
from tests.brokers import KafkaBroker
from tests.live import Live, Process

BATCH_BYTES: Final = 512 * 1024
WAIT_SECONDS_MAX: Final = 300.0

Rows = Sequence[tuple[bytes | None, bytes] | tuple[bytes | None, bytes, int]]
"""(key, value) of records, in order, or (key, value, timestamp in milliseconds)."""


class BenchKafka(KafkaBroker):
    """Apache Kafka of one node as it runs in production, as far as Java is concerned; on some cores only, if wanted."""

    def __init__(self, cores: Sequence[int] | None = None) -> None:
        """Not started."""
        super().__init__(heap="1G")
        self._cores = cores

    def _spawn(self, node: int) -> None:
        # The tests' Java stops at the first compiler, for a quick start; here throughput counts.
        java = [word for word in brokers._java(self._heap) if not word.startswith("-XX:TieredStopAtLevel")]
        with on_cores(self._cores):
            log = self._folder / f"{node}.log"
            self._processes[node] = spawn([*java, "kafka.Kafka", str(self._properties(node))], log=log)

    @property
    def pid(self) -> int:
        """Of the one node."""
        return self._processes[1].pid


def job(kafka: KafkaBroker, folder: Path, partitions: int = 4) -> Live:
    """A ledger on the broker, without processes; other settings are the defaults, the day is turned by hand."""
    quiet = {"LAMPIT_SESSION_TIMEOUT_SECONDS": "30", "LAMPIT_HEARTBEAT_SECONDS": "3"}
    return Live(kafka.broker, folder, partitions, settings=quiet)


def start(running: Live, role: str, name: str, core: int | None = None) -> Process:
    """Start a process of the job on one core, or on all."""
    with on_cores(None if core is None else [core]):
        return running.start(role, name)


@asynccontextmanager
async def consumer(servers: str, *, committed: bool = True) -> AsyncIterator[Any]:
    """A consumer of no group."""
    reader = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if committed else "read_uncommitted",
        fetch_max_wait_ms=20,
    )
    async with reader:
        yield reader


async def fill(servers: str, rows: Mapping[tuple[str, int], Rows]) -> None:
    """Write records to topics and partitions in whole batches."""
    producer = aiokafka.AIOKafkaProducer(
        bootstrap_servers=servers, acks="all", enable_idempotence=True, max_batch_size=BATCH_BYTES, linger_ms=0
    )
    async with producer:
        await asyncio.gather(*(_fill(producer, topic, number, some) for (topic, number), some in rows.items()))


async def _fill(producer: Any, topic: str, partition: int, rows: Rows) -> None:
    batch = producer.create_batch()
    for key, value, *when in rows:
        timestamp = when[0] if when else None
        if batch.append(key=key, value=value, timestamp=timestamp) is None:
            await (await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(key=key, value=value, timestamp=timestamp)
    await (await producer.send_batch(batch, topic, partition=partition))


def take_acknowledged(pending: deque[asyncio.Future[Any]]) -> None:
    """Take what is acknowledged from the front; raises where a send failed.

    For who sends and looks at the clock in one process: to wait for all of them at last stops it, for 70,000 half a second.
    """
    while pending and pending[0].done():
        pending.popleft().result()


async def ends(servers: str, topic: str, partitions: int) -> dict[int, int]:
    """The end of each partition's committed log."""
    async with consumer(servers) as reader:
        wanted = [TopicPartition(topic, number) for number in range(partitions)]
        return {tp.partition: int(end) for tp, end in (await reader.end_offsets(wanted)).items()}


async def follow(reader: Any, topic: str, partition: int, offset: int) -> AsyncIterator[list[Any]]:
    """The records of a partition from an offset on, as they come; gives up when nothing ends it in WAIT_SECONDS_MAX."""
    tp = TopicPartition(topic, partition)
    reader.assign([tp])
    reader.seek(tp, offset)
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while time.monotonic() < deadline:
        for records in (await reader.getmany(tp, timeout_ms=200)).values():
            yield records
    raise TimeoutError(f"{topic}-{partition}: waited {WAIT_SECONDS_MAX:.0f} s")


def wait_for_line(process: Process, text: str) -> float:
    """Wait until a process has logged a text; the moment it was seen, by the monotonic clock."""
    deadline = time.monotonic() + WAIT_SECONDS_MAX
    while text not in process.log.read_text(errors="replace"):
        if process.popen.poll() is not None or time.monotonic() > deadline:
            last = process.log.read_text(errors="replace")[-1500:]
            raise RuntimeError(f"{process.role} did not say {text!r}:\n{last}")
        time.sleep(0.002)
    return time.monotonic()


def spread(
    values: Iterable[bytes], targets: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], list[tuple[None, bytes]]]:
    """Records without a key, dealt out in turn."""
    rows: dict[tuple[str, int], list[tuple[None, bytes]]] = {target: [] for target in targets}
    for number, value in enumerate(values):
        rows[targets[number % len(targets)]].append((None, value))
    return rows
