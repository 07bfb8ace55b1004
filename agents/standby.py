"""Warm copies of partitions that other workers count, so that a takeover finds a store that is nearly at the end.

In: LAMPIT_STANDBY_PARTITIONS, which partitions are this worker's own. Out: stores at the place where `begin` looks for them.
Called by `agents.ledger`. A copy is applied by the same desk as a live partition, with a producer that is never started and
an end that is never reached: it publishes nothing and fences nobody. What it would have published stays due in its store.

A copy yields to the worker's own partitions: nothing is read while they are behind, and never more than half of the time is
used. Nothing that goes wrong with a copy ends the process: it is closed, and begun again after a while; one that is
damaged, or that its log does not go on from any more, is set aside and built anew, from a snapshot or the log.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any, Final

from aiokafka.errors import OffsetOutOfRangeError
from aiokafka.structs import TopicPartition

from agents import decoding, metrics
from agents.app import App
from agents.damage import noting_damage
from agents.desk import Desk
from agents.driver import Fetch
from agents.errors import LampitError, LogMismatch, LostRecords
from agents.reading import reader
from agents.settings import Settings
from agents.snapshots import Until
from agents.store import Store
from agents.stores import Stores
from agents.threads import is_cancelled
from agents.topics import LEDGER
from agents.turns import in_turns

logger = logging.getLogger("lampit.ledger")

RECORDS_MAX: Final = 500
"""In one go: some 10 ms in which nothing else runs."""

PAUSE_SECONDS: Final = 0.2
RETRY_SECONDS: Final = 10.0
WAIT_MILLISECONDS: Final = 500


class Standby:
    """The copies of one process."""

    def __init__(
        self,
        app: App,
        settings: Settings,
        stores: Stores,
        desk: Callable[[int, Store], Desk],
        is_free: Callable[[], bool],
    ) -> None:
        """Starts and ends with the app. is_free: whether the worker's own partitions leave time.

        live: this worker's own partitions; None until they are known.
        """
        self.live: set[int] | None = None
        self._app = app
        self._settings = settings
        self._stores = stores
        self._desk = desk
        self._is_free = is_free
        self._desks: dict[int, Desk] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._opening: dict[int, asyncio.Task[None]] = {}
        self._retry_at: dict[int, float] = {}
        if settings.standby_numbers:
            app.task(self._run)

    async def leave(self, partitions: set[int]) -> None:
        """These are this worker's own now: close their copies, once no work is under way on them.

        A copy that is still fetched is given up: it has no time limit, and its files are there for `begin` to go on with.
        """
        self.live = partitions
        for partition in partitions & self._opening.keys():
            self._opening[partition].cancel()
        for partition in partitions & self._settings.standby_numbers:
            async with self._lock(partition):
                await self._close(partition)

    async def _run(self) -> None:
        try:
            while not self._app.should_stop:
                try:
                    async with reader(
                        self._settings,
                        fetch_max_wait_ms=WAIT_MILLISECONDS,
                        value_deserializer=decoding.as_read,
                        # A shorter log read from its beginning would be applied on top of what is not in it any more.
                        auto_offset_reset="none",
                    ) as consumer:
                        await self._follow(consumer)
                except Exception as error:
                    logger.warning("warm copies stand still for %.0f s: %s", RETRY_SECONDS, error)
                    await self._close_all()  # the log may be another one when it can be read again: opening them looks
                    await asyncio.sleep(RETRY_SECONDS)
        finally:
            await self._close_all()

    async def _follow(self, consumer: Any) -> None:
        """Open what is to be copied, read, apply."""
        reading: dict[int, Desk] = {}
        while not self._app.should_stop:
            if self.live is None or not self._is_free():
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            await self._open_missing()
            if reading != self._desks:
                reading = dict(self._desks)
                consumer.assign([TopicPartition(LEDGER, number) for number in reading])
                for number, desk in reading.items():
                    consumer.seek(TopicPartition(LEDGER, number), desk.meta.next_offset)
            if not reading:
                await asyncio.sleep(PAUSE_SECONDS)
                continue
            try:
                found = await consumer.getmany(timeout_ms=WAIT_MILLISECONDS, max_records=RECORDS_MAX)
            except OffsetOutOfRangeError as error:
                for tp, offset in error.args[0].items():
                    missing = LogMismatch(f"the log has nothing at offset {offset} (any more)")
                    await self._give_up(reading[tp.partition], missing)
                continue
            # What follows on these records: before anything else is awaited.
            positions = {tp: _position(consumer, tp) for tp in found}
            for tp, records in found.items():
                desk = reading[tp.partition]
                undecodable = decoding.is_any_undecodable(records)
                fetch = Fetch(LEDGER, tp.partition, records[0].offset, positions[tp], tuple(records), 0, undecodable)
                await self._apply(desk, fetch)
            for number in self._desks.keys() & reading.keys():
                self._measure(consumer, number)

    async def _open_missing(self) -> None:
        for partition in sorted(self._settings.standby_numbers - self._desks.keys()):
            if time.monotonic() < self._retry_at.get(partition, 0.0):
                continue
            async with self._lock(partition):
                if not self._is_copy(partition):
                    continue
                self._opening[partition] = opening = asyncio.create_task(self._open(partition))
                try:
                    await opening
                except asyncio.CancelledError:
                    if is_cancelled():
                        raise
                    logger.info("partition %d: its warm copy is left before it was there", partition)
                finally:
                    del self._opening[partition]

    async def _open(self, partition: int) -> None:
        """Begin a copy. A task of its own, so that `leave` can end it."""
        try:
            store = await self._stores.open(partition, Until())
            try:
                self._desks[partition] = desk = self._desk(partition, store)
            except BaseException:
                store.close()
                raise
            logger.info("partition %d: a warm copy begins at %d", partition, desk.meta.next_offset)
        except Exception as error:
            self._failed(partition, error)

    async def _apply(self, desk: Desk, fetch: Fetch) -> None:
        """Apply a fetch, if the desk is still a copy; then leave the worker as much time as that took."""
        async with self._lock(desk.partition):
            if self._desks.get(desk.partition) is not desk:
                return
            began = time.perf_counter()
            try:
                if fetch.begin < desk.meta.next_offset:
                    raise LostRecords(f"records from {fetch.begin} on came again, expected was {desk.meta.next_offset}")
                fetch.require_decodable()
                with noting_damage(desk.store.path):
                    events = await in_turns(desk.steps(fetch), lambda: self._is_copy(desk.partition))
                if events is None:
                    await self._close(desk.partition)  # it would go on behind what it did not apply
            except Exception as error:
                await self._close(desk.partition)
                self._failed(desk.partition, error)
        await asyncio.sleep(time.perf_counter() - began)

    async def _give_up(self, desk: Desk, why: LampitError) -> None:
        """Close a copy that cannot go on, if it is one still. Who opens its store next holds it against the log."""
        async with self._lock(desk.partition):
            if self._desks.get(desk.partition) is desk:
                await self._close(desk.partition)
                self._failed(desk.partition, why)

    def _is_copy(self, partition: int) -> bool:
        """Whether it is still one of others' partitions, of which a copy is kept."""
        return self.live is not None and partition not in self.live

    def _failed(self, partition: int, error: Exception) -> None:
        self._retry_at[partition] = time.monotonic() + RETRY_SECONDS
        logger.warning("partition %d: its warm copy is begun again in %.0f s: %s", partition, RETRY_SECONDS, error)

    def _measure(self, consumer: Any, partition: int) -> None:
        end = consumer.last_stable_offset(TopicPartition(LEDGER, partition))
        if end is not None:
            # With all records applied, what is left up to the end are markers of transactions.
            position = _position(consumer, TopicPartition(LEDGER, partition))
            metrics.standby(partition, max(0, end - max(self._desks[partition].meta.next_offset, position)))

    async def _close(self, partition: int) -> None:
        desk = self._desks.pop(partition, None)
        if desk is not None:
            await desk.close()
            metrics.forget_standby(partition)

    async def _close_all(self) -> None:
        for partition in list(self._desks):
            async with self._lock(partition):
                await self._close(partition)

    def _lock(self, partition: int) -> asyncio.Lock:
        return self._locks.setdefault(partition, asyncio.Lock())


def _position(consumer: Any, tp: TopicPartition) -> int:
    """Reading it is no await, as `consumer.position()` would be."""
    found: int = consumer._subscription.subscription.assignment.state_value(tp).position
    return found
