"""aiokafka's getmany and json.loads over a topic: nothing counted, nothing kept. Prints records and seconds as JSON."""

from __future__ import annotations

import asyncio
import json
import sys
import time

import aiokafka
import uvloop
from aiokafka.structs import TopicPartition


async def main(servers: str, topic: str, partitions: int) -> None:
    """Read all that is there."""
    consumer = aiokafka.AIOKafkaConsumer(
        bootstrap_servers=servers,
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        isolation_level="read_committed",
        max_poll_records=2000,
    )
    async with consumer:
        assigned = [TopicPartition(topic, number) for number in range(partitions)]
        consumer.assign(assigned)
        ends = await consumer.end_offsets(assigned)
        read, began, spent = 0, time.perf_counter(), time.process_time()
        while [tp for tp in assigned if await consumer.position(tp) < ends[tp]]:
            for records in (await consumer.getmany(timeout_ms=200)).values():
                for record in records:
                    json.loads(record.value)
                read += len(records)
        seconds, cpu_seconds = time.perf_counter() - began, time.process_time() - spent
        print(json.dumps({"records": read, "seconds": seconds, "cpu_seconds": cpu_seconds}))


uvloop.install()
asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
