"""Look at single places of a log, beside the group's own reading.

In: a topic, a partition, an offset. Out: its end, the record there, or the newest record of every key. Called by the ledger
worker when it takes a partition over, to see whether the log is still the one its store was made from, and by the roll-up.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import aiokafka
from aiokafka.structs import ConsumerRecord, TopicPartition

from agents.connection import closed, for_aiokafka
from agents.settings import Settings

READ_SECONDS_MAX: Final = 30.0


@asynccontextmanager
async def reader(settings: Settings, **options: Any) -> AsyncIterator[Any]:
    """A consumer of no group that reads committed records. options: of aiokafka, besides or in place of these."""
    consumer = aiokafka.AIOKafkaConsumer(
        **for_aiokafka(settings),
        **{
            "enable_auto_commit": False,
            "isolation_level": "read_committed",
            "auto_offset_reset": "earliest",
            "fetch_max_wait_ms": 50,
            **options,
        },
    )
    try:  # `async with` would leave one open that cannot start
        await consumer.start()
        yield consumer
    finally:
        await closed(consumer.stop())


async def end_offset(settings: Settings, topic: str, partition: int) -> int:
    """The end of the committed log."""
    async with reader(settings) as consumer:
        tp = TopicPartition(topic, partition)
        return int((await consumer.end_offsets([tp]))[tp])


async def record_at(settings: Settings, topic: str, partition: int, offset: int) -> ConsumerRecord | None:
    """The record at an offset; None where there is none (any more)."""
    async with reader(settings) as consumer:
        tp = TopicPartition(topic, partition)
        first = (await consumer.beginning_offsets([tp]))[tp]
        end = (await consumer.end_offsets([tp]))[tp]
        if not first <= offset < end:
            return None
        consumer.assign([tp])
        consumer.seek(tp, offset)
        async with asyncio.timeout(READ_SECONDS_MAX):
            while await consumer.position(tp) < end:
                for records in (await consumer.getmany(tp, timeout_ms=200, max_records=1)).values():
                    return records[0] if records[0].offset == offset else None
    return None


async def next_record(consumer: Any, tp: TopicPartition, start: int, end: int) -> tuple[int, bool]:
    """The first committed record between two offsets, and True; the offset behind the last marker and False without one.

    consumer: a `reader` that reads nothing else.
    """
    consumer.assign([tp])
    consumer.seek(tp, start)
    while (position := await consumer.position(tp)) < end:
        for records in (await consumer.getmany(tp, timeout_ms=200, max_records=1)).values():
            return records[0].offset, True
    return position, False


async def newest(
    settings: Settings, topic: str, partition: int, *, since: int = 0, uncommitted: bool = False
) -> AsyncIterator[ConsumerRecord]:
    """The committed records of a topic from an offset on, oldest first: of a compacted one the last of each key counts.

    uncommitted: all there are, to the very end. Behind an open transaction committed ones are hidden; among these are also
    those of that one, and of aborted ones: the last one of a key may never count.
    """
    async with reader(settings, isolation_level="read_uncommitted" if uncommitted else "read_committed") as consumer:
        tp = TopicPartition(topic, partition)
        consumer.assign([tp])
        consumer.seek(tp, max(since, (await consumer.beginning_offsets([tp]))[tp]))
        end = (await consumer.end_offsets([tp]))[tp]
        # The embedded broker names the beginning of the last batch for the end: read on until there is nothing.
        is_more = not settings.transactions
        while is_more or await consumer.position(tp) < end:
            found = await consumer.getmany(tp, timeout_ms=200)
            for record in found.get(tp, ()):
                yield record
            is_more = bool(found) and not settings.transactions
