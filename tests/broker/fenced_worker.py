"""A process for test_producer.py: publishes a batch for every line on stdin, says how it went on stdout."""

from __future__ import annotations

import asyncio
import sys

from agents.errors import Fenced, LampitError
from agents.producer import FencedProducer, Record
from agents.settings import load_settings


async def main(servers: str, topic: str) -> int:
    settings = load_settings(bootstrap_servers=servers)
    async with FencedProducer(settings, transactional_id="fenced-0") as producer:
        print("started", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            try:
                await producer.publish([Record(topic, 0, b"zombie", line.encode()) for _ in range(10)])
            except Fenced:
                print("fenced", flush=True)
                return 3
            except LampitError as error:
                print(f"lost {error}", flush=True)
                return 4
            print("published", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(*sys.argv[1:])))
