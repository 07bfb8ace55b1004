"""Producers that say when every record is safe.

In: records with explicit partitions. Out: `Producer.send_all` and `FencedProducer.publish` return when every record is
acknowledged by all in-sync replicas, in order within a partition; anything else raises LostWrite or Fenced, after which the
process has to end. They fill whole batches (451,000 records/s against 64,500/s with aiokafka's send). Callers: the agents.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Final, NamedTuple, Self

import aiokafka
from aiokafka.errors import KafkaError, ProducerFenced, UnknownError
from aiokafka.producer import sender as aiokafka_sender

from agents.connection import for_aiokafka
from agents.errors import ConfigurationError, Fenced, LostWrite
from agents.settings import Settings

# Well under the broker's limit of 1 MiB for a batch; a single record that is larger gets a batch of its own.
BATCH_BYTES: Final = 512 * 1024
# An idempotent aiokafka producer tries for ever; a write that takes this long is lost for our purposes.
DELIVERY_SECONDS_MAX: Final = 60.0
START_SECONDS_MAX: Final = 60.0
STOP_SECONDS_MAX: Final = 5.0
# Readers of committed records wait this long for a process that died in a transaction and is not started again.
TRANSACTION_SECONDS_MAX: Final = 60.0

# How long aiokafka waits when the broker is still writing the markers of the last transaction. Its 20 ms are longer than
# a whole transaction takes.
aiokafka_sender.BACKOFF_OVERRIDE = 0.002

logger = logging.getLogger("lampit.producer")


class Record(NamedTuple):
    """One record for one partition. A value of None is a tombstone."""

    topic: str
    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp_ms: int | None = None


class Producer:
    """acks=all, idempotent. Not for several tasks at once: order within a partition is the order of calls."""

    def __init__(self, settings: Settings, *, name: str, transactional_id: str | None = None) -> None:
        self._settings = settings
        self._name = name
        self._transactional_id = transactional_id
        self._producer: Any = None

    async def start(self) -> Self:
        """Connect. With a transactional id this fences every older producer that has the same."""
        self._producer = aiokafka.AIOKafkaProducer(
            **for_aiokafka(self._settings),
            client_id=self._name,
            acks="all",
            # The embedded broker knows neither: then a retry may write a record twice, and one worker writes alone.
            enable_idempotence=self._settings.transactions,
            transactional_id=self._transactional_id,
            transaction_timeout_ms=int(TRANSACTION_SECONDS_MAX * 1000),
            compression_type=None if self._settings.compression == "none" else self._settings.compression,
            max_batch_size=BATCH_BYTES,
            request_timeout_ms=30_000,
            linger_ms=0,
        )
        try:
            async with asyncio.timeout(START_SECONDS_MAX):
                await self._producer.start()
        except (KafkaError, TimeoutError) as error:
            await self.stop()
            if isinstance(error, UnknownError) and self._settings.transactions:
                raise ConfigurationError(
                    "This broker has no transactions: set LAMPIT_TRANSACTIONS=false for the embedded broker, "
                    "or use Apache Kafka."
                ) from error
            raise LostWrite(f"no connection to {self._settings.bootstrap_servers}: {type(error).__name__}") from error
        except asyncio.CancelledError:  # the next rebalance comes first
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """Close. Nothing waits in it: every call waits for its own records."""
        producer, self._producer = self._producer, None
        if producer is not None:
            # A fenced producer raises its fatal error here once more, and one without a broker would wait for it.
            with contextlib.suppress(KafkaError, TimeoutError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await producer.stop()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def send_all(self, records: Iterable[Record]) -> None:
        """Return when every record is acknowledged; raise LostWrite or Fenced when one is not, or may not be."""
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                await self._deliver(records)
        except ProducerFenced as error:
            self._settle()
            raise Fenced(f"{self._name}: a newer worker writes here now") from error
        except (KafkaError, TimeoutError, AssertionError) as error:
            self._settle()
            raise LostWrite(f"{self._name}: not acknowledged ({type(error).__name__})") from error

    async def _deliver(self, records: Iterable[Record]) -> None:
        partitions: dict[tuple[str, int], list[Record]] = {}
        for record in records:
            partitions.setdefault((record.topic, record.partition), []).append(record)
        sends = [self._send_partition(topic, partition, rows) for (topic, partition), rows in partitions.items()]
        # All of them, failed or not, so that no failed future is left for the garbage collector to report.
        outcomes = await asyncio.gather(*sends, return_exceptions=True)
        _raise_worst(outcome for outcome in outcomes if isinstance(outcome, BaseException))

    def _settle(self) -> None:
        """Look at the futures aiokafka fails and nobody awaits, or each is reported as never retrieved."""
        accumulator = self._producer._message_accumulator
        waiting = [batch for queue in accumulator._batches.values() for batch in queue]
        futures = [
            f for batch in (*waiting, *accumulator._pending_batches) for f in (batch.future, batch._drain_waiter)
        ]
        if self._transactional_id is not None:
            futures.append(self._producer._txn_manager._transaction_waiter)
        for future in futures:
            if future is not None and future.done() and not future.cancelled():
                future.exception()

    async def _send_partition(self, topic: str, partition: int, records: list[Record]) -> None:
        pending = []
        batch = self._producer.create_batch()
        try:
            for _, _, key, value, headers, timestamp_ms in records:
                if batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers)) is None:
                    pending.append(await self._producer.send_batch(batch, topic, partition=partition))
                    batch = self._producer.create_batch()
                    batch.append(timestamp=timestamp_ms, key=key, value=value, headers=list(headers))
            pending.append(await self._producer.send_batch(batch, topic, partition=partition))
        finally:
            outcomes = await asyncio.gather(*pending, return_exceptions=True)
        _raise_worst(outcome for outcome in outcomes if isinstance(outcome, BaseException))


class FencedProducer(Producer):
    """One transaction a call: all of its records become visible to readers of committed records, or none.

    Starting it fences the producers of older workers with the same `transactional_id`, for ever. With
    `settings.transactions` off (embedded broker, one worker) it sends without a transaction.
    """

    def __init__(self, settings: Settings, *, transactional_id: str) -> None:
        super().__init__(
            settings, name=transactional_id, transactional_id=transactional_id if settings.transactions else None
        )

    async def publish(self, records: Iterable[Record]) -> None:
        """Return when the transaction is committed. Nothing to send: no transaction."""
        rows = list(records)
        if not rows:
            return
        if self._transactional_id is None:
            await self.send_all(rows)
            return
        try:
            async with asyncio.timeout(DELIVERY_SECONDS_MAX):
                await self._producer.begin_transaction()
                await self._deliver(rows)
                await self._producer.commit_transaction()
        except ProducerFenced as error:
            self._settle()
            raise Fenced(f"{self._name}: a newer worker writes here now") from error
        except (KafkaError, TimeoutError, AssertionError) as error:
            # An open transaction holds up readers until its time is over; ending it is a courtesy, not a need. One whose
            # commit is under way cannot be ended: aiokafka says so by an AssertionError.
            with contextlib.suppress(KafkaError, TimeoutError, AssertionError):
                async with asyncio.timeout(STOP_SECONDS_MAX):
                    await self._producer.abort_transaction()
            self._settle()
            raise LostWrite(f"{self._name}: not committed ({type(error).__name__})") from error


def _raise_worst(errors: Iterable[BaseException]) -> None:
    """Being fenced explains the others."""
    found = sorted(errors, key=lambda error: not isinstance(error, ProducerFenced))
    if found:
        raise found[0]
