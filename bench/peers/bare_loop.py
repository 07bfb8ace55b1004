"""The job of the peers as one loop without an engine: RocksDB batches with the offsets inside, and absolute totals.

In: servers, topic of events, name of the run, folder for the store. Out: NAME-by-village, NAME-totals. Both stages are in this
one process. Stage 1 writes what it has seen, its totals and its offsets in one batch and only then sends the totals of its
partition, so that a crash in between is closed by sending all of them again at the next start. Stage 2 keeps the last total of
each partition in memory, reads its topic from the beginning at each start, and publishes the sums over partitions. There is one
process and no fence: two of them would be wrong. Runs until it is killed.
"""

from __future__ import annotations

import asyncio
import json
import sys
import zlib
from collections.abc import Iterable
from typing import Any, Final

import aiokafka
import uvloop
from aiokafka.structs import TopicPartition
from rocksdict import Options, Rdict, WriteBatch

from bench.village_sums import village_of

PARTITIONS: Final = 4
RECORDS_MAX: Final = 2000
SERVERS, EVENTS, NAME, FOLDER = sys.argv[1:5]
BY_VILLAGE: Final = f"{NAME}-by-village"
TOTALS: Final = f"{NAME}-totals"

Rows = Iterable[tuple[bytes, bytes]]


def consumer() -> Any:
    """Of no group: where to begin is known by the store."""
    return aiokafka.AIOKafkaConsumer(
        bootstrap_servers=SERVERS, enable_auto_commit=False, max_poll_records=RECORDS_MAX, fetch_max_wait_ms=50
    )


async def send(producer: Any, topic: str, rows: Rows) -> None:
    """Write records by their key, in whole batches, and wait until the broker has them."""
    batches: dict[int, Any] = {}
    sent = []
    for key, value in rows:
        partition = zlib.crc32(key) % PARTITIONS
        batch = batches.get(partition)
        if batch is None or batch.append(key=key, value=value, timestamp=None) is None:
            if batch is not None:
                sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = batches[partition] = producer.create_batch()
            batch.append(key=key, value=value, timestamp=None)
    for partition, batch in batches.items():
        sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)


def rows_of(partition: int, totals: dict[str, int], names: Iterable[str]) -> Rows:
    """What stage 1 tells stage 2: the total of one of its partitions so far, by village and type."""
    for name in names:
        yield name.partition(" ")[0].encode(), f"{partition} {name} {totals[name]}".encode()


def fold(store: Any, tp: TopicPartition, records: list[Any], totals: dict[str, int]) -> set[str]:
    """Make a fetch durable: ids, totals and the offset together; the names whose totals changed."""
    batch = WriteBatch(raw_mode=True)
    changed: set[str] = set()
    events: dict[bytes, dict[str, Any]] = {}
    for record in records:
        event = json.loads(record.value)
        events.setdefault(f"id {event['source']} {event['id']}".encode(), event)
    ids = list(events)
    for name, known in zip(ids, store.get(ids), strict=True):
        if known is None:
            event = events[name]
            batch.put(name, b"")
            where = f"{village_of(event)} {event['type']}"
            totals[where] = totals.get(where, 0) + 1
            changed.add(where)
    for where in changed:
        batch.put(f"total {tp.partition} {where}".encode(), str(totals[where]).encode())
    batch.put(f"offset {tp.partition}".encode(), str(records[-1].offset + 1).encode())
    store.write(batch)
    return changed


async def drop_repeats(producer: Any, store: Any) -> None:
    """Stage 1."""
    totals: dict[int, dict[str, int]] = {number: {} for number in range(PARTITIONS)}
    for key, value in store.items(from_key=b"total "):
        if key.startswith(b"total "):
            _, partition, where = key.decode().split(" ", 2)
            totals[int(partition)][where] = int(value)
    for number, known in totals.items():
        await send(producer, BY_VILLAGE, rows_of(number, known, known))
    async with consumer() as reader:
        assigned = [TopicPartition(EVENTS, number) for number in range(PARTITIONS)]
        reader.assign(assigned)
        for tp in assigned:
            reader.seek(tp, int(store.get(f"offset {tp.partition}".encode()) or 0))
        while True:
            for tp, records in (await reader.getmany(timeout_ms=200)).items():
                known = totals[tp.partition]
                changed = fold(store, tp, records, known)
                await send(producer, BY_VILLAGE, rows_of(tp.partition, known, changed))


async def add_up(producer: Any) -> None:
    """Stage 2."""
    parts: dict[tuple[str, str], int] = {}
    sums: dict[str, int] = {}
    async with consumer() as reader:
        assigned = [TopicPartition(BY_VILLAGE, number) for number in range(PARTITIONS)]
        reader.assign(assigned)
        for tp in assigned:
            reader.seek(tp, 0)
        while True:
            changed: set[str] = set()
            for records in (await reader.getmany(timeout_ms=200)).values():
                for record in records:
                    partition, where, total = _parts(record.value.decode())
                    sums[where] = sums.get(where, 0) + total - parts.get((partition, where), 0)
                    parts[partition, where] = total
                    changed.add(where)
            rows = ((where.partition(" ")[0].encode(), f"{where} {sums[where]}".encode()) for where in changed)
            await send(producer, TOTALS, rows)


def _parts(text: str) -> tuple[str, str, int]:
    partition, _, rest = text.partition(" ")
    where, _, total = rest.rpartition(" ")
    return partition, where, int(total)


async def main() -> None:
    """Both stages."""
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    producer = aiokafka.AIOKafkaProducer(bootstrap_servers=SERVERS, acks="all", enable_idempotence=True)
    async with producer:
        await asyncio.gather(drop_repeats(producer, Rdict(FOLDER, options)), add_up(producer))


uvloop.install()
asyncio.run(main())
