"""What offices send while the faults happen: seeded events, at an even pace, by producers of every codec.

In: a seed, brokers. Out: a thread that sends; what was sent, and where each record was acknowledged. A record that is not
acknowledged is sent again, as an office would; that it may then be there twice changes no figure.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from contextlib import suppress
from random import Random
from typing import Any, Final

import aiokafka
from aiokafka.errors import KafkaError

from agents.topics import INTAKE_TOPICS
from bench.people import events
from tests.bad_input import ALL as BAD
from tests.broker.test_live import case_events, scenario_events
from tests.families import changes_of_nik

CODECS: Final = (None, "gzip", "snappy", "lz4", "zstd")
CHUNKS: Final = 25
SENT_TWICE_OF: Final = 20
FAMILY: Final = 5
ACKNOWLEDGED_SECONDS_MAX: Final = 20.0
STOP_SECONDS_MAX: Final = 2.0
RECORD_BYTES_MAX: Final = 8 * 1024 * 1024

Payload = bytes | None
Place = tuple[str, int, int]


def payloads(seed: int, people_events: int) -> tuple[list[bytes], list[Payload]]:
    """(what is sent before the faults, what is sent during them); the second with bad and oversized records among it.

    Both have a half of all stories; NIKs are changed in chains of families during the faults only.
    """
    chance = Random(seed)
    stories = [json.dumps(event).encode() for event in case_events() + scenario_events()]
    chance.shuffle(stories)
    lives = list(events(people_events, seed))
    half, few = len(stories) // 2, len(lives) // 5
    during: list[Payload] = [*stories[half:], *lives[few:], *_families(lives)]
    during += [bad.payload for bad in BAD]
    during += chance.sample(during, len(during) // SENT_TWICE_OF)
    chance.shuffle(during)
    return stories[:half] + lives[:few], during


def _families(lives: list[bytes]) -> list[bytes]:
    """Changes of NIK that chain a fifth of the people together, five by five."""
    return _changes(_niks(lives)[: len(lives) // 8])


def more_changes_of_nik(seed: int, people_events: int, number: int) -> list[bytes]:
    """Of the same people two families more; number: none has been given before in this run."""
    lives = list(events(people_events, seed))
    others = _niks(lives)[len(lives) // 8 :]
    begin = number * 2 * FAMILY % (len(others) - 2 * FAMILY)
    return _changes(others[begin : begin + 2 * FAMILY], f"m{number}-")


def _niks(lives: list[bytes]) -> list[str]:
    return sorted({json.loads(line)["data"]["nik"] for line in lives})


def _changes(niks: list[str], prefix: str = "") -> list[bytes]:
    changes = changes_of_nik(niks, FAMILY)
    return [json.dumps({**change, "id": prefix + change["id"]}).encode() for change in changes]


class Flow:
    """Sends payloads in chunks, one every `pause_seconds`, from a thread of its own."""

    def __init__(
        self, bootstrap_servers: str, sent: list[Payload], seed: int, *, partitions: int, pause_seconds: float
    ) -> None:
        """Not begun."""
        self.sent = sent
        self.acknowledged: dict[Place, Payload] = {}
        self.failed: BaseException | None = None
        self._bootstrap_servers = bootstrap_servers
        self._partitions = partitions
        self._pause_seconds = pause_seconds
        self._chance = Random(seed)
        self._done = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Begin to send."""
        self._thread.start()

    @property
    def share(self) -> float:
        """How much of it is acknowledged: 0 to 1. Raises what stopped the sending."""
        if self.failed is not None:
            raise self.failed
        return self._done / max(1, len(self.sent))

    def stop(self) -> None:
        """Send no more."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        try:
            asyncio.run(self._send())
        except BaseException as error:
            self.failed = error

    async def _send(self) -> None:
        size = len(self.sent) // CHUNKS + 1
        producers: dict[str | None, Any] = {}
        try:
            for number, begin in enumerate(range(0, len(self.sent), size)):
                due = time.monotonic() + self._pause_seconds
                waiting = self.sent[begin : begin + size]
                codec = CODECS[number % len(CODECS)]
                while waiting and not self._stopped.is_set():
                    with suppress(KafkaError):  # no broker answers yet: try again
                        if codec not in producers:
                            producers[codec] = await self._producer(codec)
                        waiting = await self._send_chunk(producers[codec], waiting)
                    if waiting and codec in producers:
                        await _stop(producers.pop(codec))
                if self._stopped.is_set():
                    return
                await asyncio.sleep(max(0.0, due - time.monotonic()))
        finally:
            for producer in producers.values():
                await _stop(producer)

    async def _producer(self, codec: str | None) -> Any:
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=self._bootstrap_servers,
            compression_type=codec,
            acks="all",
            enable_idempotence=True,
            max_request_size=RECORD_BYTES_MAX,
            request_timeout_ms=10_000,
        )
        try:
            await producer.start()
        except BaseException:
            await _stop(producer)
            raise
        return producer

    async def _send_chunk(self, producer: Any, chunk: list[Payload]) -> list[Payload]:
        """Send; what was not acknowledged."""
        futures = []
        for payload in chunk:
            topic, partition = self._chance.choice(INTAKE_TOPICS), self._chance.randrange(self._partitions)
            # A key, because a record of a topic with neither key nor value is nothing aiokafka sends.
            futures.append(await producer.send(topic, payload, key=b"any", partition=partition))
        await asyncio.wait(futures, timeout=ACKNOWLEDGED_SECONDS_MAX)
        lost: list[Payload] = []
        for payload, future in zip(chunk, futures, strict=True):
            # An idempotent producer of aiokafka can wait for ever for a broker that lost its requests.
            error = future.exception() if future.done() and not future.cancelled() else TimeoutError()
            if isinstance(error, (KafkaError, TimeoutError)):
                lost.append(payload)
                continue
            stored = future.result()
            self.acknowledged[stored.topic, stored.partition, stored.offset] = payload
            self._done += 1
        return lost


async def _stop(producer: Any) -> None:
    """Close it; what it still waits for is sent again by the next one."""
    with suppress(KafkaError, TimeoutError):
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await producer.stop()
