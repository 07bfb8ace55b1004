"""The ledger worker: folds accepted events into figures, one desk per assigned partition.

In: `lampit.ledger`. Out: stores, snapshots of them, `lampit.partials`, `lampit.anomalies`. Started by `lampit run ledger`,
as often as there are partitions; Kafka shares them out.

A partition begins where its store stands; without one, where a snapshot does (`agents.stores`). Until it has applied what was
in the log when it was taken over it publishes nothing; then it publishes what changed, once, and goes on live.
"""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import date
from functools import partial
from typing import Any, Final, cast

from aiokafka.errors import IllegalStateError
from faust.types import TP

from agents import given_out, metrics
from agents.app import App, create_app
from agents.backlog import Backlog
from agents.barrier import LedgerIdentity, day_record, today
from agents.courier import Courier
from agents.damage import noting_damage
from agents.desk import Desk
from agents.driver import Fetch, Positions, commit, fetches, give_up, is_current, passed, reached
from agents.health import Web
from agents.other_days import add_route
from agents.producer import FencedProducer
from agents.reading import end_offset
from agents.saving import Saver
from agents.settings import Settings
from agents.snapshots import Until
from agents.standby import Standby
from agents.store import Store
from agents.stores import Stores
from agents.topics import LEDGER
from agents.turns import in_turns
from stream.reference import Reference

logger = logging.getLogger("lampit.ledger")

TICK_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.008
"""Between two publications: the broker writes the marker of the last one meanwhile, and asks who comes sooner to wait. That
more gathers for each where much comes is the fetches' part (`agents.pacing`)."""

PUBLISH_SECONDS_MAX: Final = 0.25
"""With more waiting in the log, publish that often, not after every batch: each time costs a transaction."""

BEHIND_RECORDS: Final = 1_000
"""With that many waiting in a partition, the figures of now matter less than those of soon."""

FETCH_SECONDS_MAX: Final = 180.0
"""Of snapshots at a takeover: the group waits for this worker's next fetch of records for 300 s (`agents.app`)."""

OPENED_AT_ONCE: Final = 8
"""Partitions at a takeover. Each has a few connections of its own while it is opened."""

NEVER: Final = 2**62
"""No log has so many records."""

MEASURE_SECONDS: Final = 1.0
"""Also of commits: the group's offsets are for lag tools, the store says where to begin."""


class LedgerAgent:
    """The desks of one process."""

    def __init__(self, settings: Settings, identity: LedgerIdentity, reference: Reference) -> None:
        """Not started; `app` is run by the caller."""
        self.settings = settings
        self.identity = identity
        self.reference = reference
        self.desks: dict[int, Desk] = {}
        self._locks: dict[int, asyncio.Lock] = {}
        self._waiting = False
        self._applied: dict[int, int] = {}
        self._backlog = Backlog()
        self._published = 0.0
        self._measured = 0.0
        self._day_sent: dict[int, int] = {}
        self.app: App = create_app(
            "ledger",
            settings,
            begin=self.begin,
            assigned=self.assigned,
            revoked=self.revoked,
            topic_ids=identity.topic_ids,
        )
        self.app.health.require("caught_up", measured=True)
        metrics.build_info()
        self.app.batch_agent(LEDGER)(self.work)
        add_route(cast(Web, self.app.web).web_app.router, self._on_day)
        self._courier = Courier(self.app, self._deliver, TICK_SECONDS, PAUSE_SECONDS)
        self._stores = Stores(settings, identity)
        self._standby = Standby(self.app, settings, self._stores, self._copy, self._is_free)
        if self._stores.snapshots is not None:
            Saver(
                self.app,
                self._stores.snapshots,
                settings.snapshot_seconds,
                self.desks,
                self._lock,
                self._stores.path,
                identity.settings_digest,
            )

    async def begin(self, partitions: frozenset[TP]) -> Positions:
        """Open the stores of the partitions now ours; say where each goes on."""
        numbers = {tp.partition for tp in partitions}
        await self._release(set(self.desks) - numbers)
        await self._standby.leave(numbers)
        await self._open_all(sorted(numbers - self.desks.keys()))
        if not self.desks.keys() >= numbers:
            raise IllegalStateError("a partition was taken away while another one was opened")
        return {tp: self.desks[tp.partition].meta.next_offset for tp in partitions}

    async def revoked(self, partitions: frozenset[TP]) -> None:
        """Close what is taken away; what stays is opened again by the next `begin`."""
        await self._release({tp.partition for tp in partitions})

    async def _release(self, partitions: set[int]) -> None:
        """All at once: without a broker each waits for seconds, and the group waits a minute for all of them."""
        await asyncio.gather(*(self._release_one(partition) for partition in partitions & self.desks.keys()))

    async def _release_one(self, partition: int) -> None:
        async with self._lock(partition):
            desk = self.desks.pop(partition, None)
            if desk is None:  # released meanwhile: a stop and a rebalance can come at once
                return
            await desk.close()
            metrics.forget_partition(LEDGER, partition)
            self._waiting = False  # what waits there is not ours

    async def assigned(self, partitions: frozenset[TP]) -> None:
        """Keep copies of the others; of these no longer, `begin` comes for them."""
        self._standby.live = {tp.partition for tp in partitions}

    async def _open_all(self, partitions: list[int]) -> None:
        """Several at once: nearly all of it is waiting for the broker's answers."""
        until = Until(time.monotonic() + FETCH_SECONDS_MAX)
        places = asyncio.Semaphore(OPENED_AT_ONCE)
        regions = given_out.Regions(self.settings)

        async def opened(partition: int) -> None:
            async with places:
                self.desks[partition] = await self._open(partition, until, regions)

        try:
            async with asyncio.TaskGroup() as tasks:
                for partition in partitions:
                    tasks.create_task(opened(partition))
        except BaseExceptionGroup as errors:  # the first is why the others were given up
            raise errors.exceptions[0] from None

    async def _open(self, partition: int, until: Until, regions: given_out.Regions) -> Desk:
        """Fence older owners first; then nobody else can publish what the store is opened for."""
        producer = self._producer(partition)
        await producer.start()
        store: Store | None = None
        try:
            store = await self._stores.open(partition, until)
            end = await end_offset(self.settings, LEDGER, partition)
            stands_at = 0 if store.meta is None else store.meta.next_offset
            is_doubtful = store.meta is not None and store.meta.is_doubtful
            lists = await given_out.lists(self.settings, partition) if stands_at < end or is_doubtful else {}
            if store.meta is None or is_doubtful:
                store.mark_due(subject for subject, is_any in lists.items() if is_any or is_doubtful)
            if not store.speaks_for_others:
                # It is made anew, of a ledger that may be another, and have nobody of a region that people were given out of.
                store.speak_for(sorted(await regions.of(partition)))
        except BaseException:  # also when the next rebalance comes first
            if store is not None:
                store.close()
            await producer.stop()
            raise
        desk = self._desk(partition, store, producer, end, given_out=lists.keys())
        logger.info("partition %d: begins at %d of %d", partition, desk.meta.next_offset, end)
        return desk

    def _producer(self, partition: int) -> FencedProducer:
        return FencedProducer(self.settings, transactional_id=f"{self.identity.ledger_id}-{partition}")

    def _desk(self, partition: int, store: Store, producer: FencedProducer, end: int, **more: Any) -> Desk:
        rules, name = self.identity.rules, self.settings.reached_at
        with noting_damage(store.path):
            return Desk(partition, store, producer, self.identity, rules, self.reference, name, end, **more)

    def _copy(self, partition: int, store: Store) -> Desk:
        """A desk that applies and never publishes: its producer is not started, and it never has caught up."""
        producer = self._producer(partition)
        return self._desk(partition, store, producer, NEVER)

    def _is_free(self) -> bool:
        """Whether nothing of this worker's own partitions waits."""
        return not self._waiting and all(desk.caught_up for desk in self.desks.values())

    async def work(self, stream: Any) -> None:
        """The agent: apply every fetch to its store; what that changed is published beside it."""
        async for fetch in fetches(stream):
            fetch.require_decodable()
            desk = self.desks[fetch.partition]
            began = time.perf_counter()
            events = await self._apply(desk, fetch)
            if events is None:
                give_up(self.app, fetch)
                continue
            metrics.batch("apply", time.perf_counter() - began)
            metrics.counted(fetch, events, desk.received_at if desk.caught_up else None)
            self._waiting = fetch.behind >= BEHIND_RECORDS
            self._courier.wake()
            await asyncio.sleep(0)  # let the courier have its turn between two long batches

    async def _apply(self, desk: Desk, fetch: Fetch) -> int | None:
        """The number of events; None where the partition was taken away before all was applied, then nothing is."""
        with noting_damage(desk.store.path):
            return await in_turns(desk.steps(fetch), lambda: is_current(self.app, fetch))

    async def _deliver(self) -> None:
        """Publish what is due, all partitions at once; commit and measure from time to time."""
        if not all(desk.caught_up for desk in self.desks.values()):
            through = await passed(self.app)
            for number, desk in self.desks.items():
                desk.pass_through(through.get(TP(LEDGER, number), 0))
        now = time.monotonic()
        if not self._waiting or now - self._published >= PUBLISH_SECONDS_MAX:
            self._published = now
            await asyncio.gather(*(self._publish(partition) for partition in list(self.desks)))
        if now - self._measured >= MEASURE_SECONDS:
            self._measured = now
            await commit(self.app, {TP(LEDGER, number): desk.meta.next_offset for number, desk in self.desks.items()})
            await self._measure()

    async def _publish(self, partition: int) -> None:
        async with self._lock(partition):
            desk = self.desks.get(partition)
            if desk is None or not desk.caught_up:
                return
            desk.require_epoch()
            if desk.due:
                began = time.perf_counter()
                with noting_damage(desk.store.path):
                    await desk.publish()
                metrics.batch("publish", time.perf_counter() - began)
            await self._turn_day(desk)

    async def _on_day(self, day: date) -> list[bytes]:
        """What this worker's partitions hold on another day, each as of one offset; one that is taken away is left out."""
        lines: list[bytes] = []
        for partition in sorted(self.desks):
            desk = self.desks.get(partition)
            if desk is not None and desk.caught_up and not desk.epoch_differs:
                with noting_damage(desk.store.path):
                    lines += await in_turns(desk.on_day(day), partial(self._has, desk)) or ()
            await asyncio.sleep(0)
        return lines

    def _has(self, desk: Desk) -> bool:
        return self.desks.get(desk.partition) is desk

    async def _turn_day(self, desk: Desk) -> None:
        if self.settings.day_source != "clock":
            return
        day = today()
        number = day.toordinal()
        if (desk.meta.day or 0) < number and self._day_sent.get(desk.partition) != number:
            self._day_sent[desk.partition] = number
            await desk.producer.publish([day_record(desk.partition, day)])

    async def _measure(self) -> None:
        asked = time.monotonic()
        found = await reached(self.app)
        why = self._backlog.why_not(found, asked, time.monotonic())
        late = [partition for partition, desk in self.desks.items() if self._is_late(desk)]
        if late:
            why = f"partitions {late} are behind the log"
        self.app.health.set("caught_up", why is None, why or "")
        for partition, desk in self.desks.items():
            one = found.get(TP(LEDGER, partition))
            behind = 0 if one is None else one.behind
            metrics.position(LEDGER, partition, desk.meta.next_offset, behind, desk.last_timestamp_ms)
            if desk.meta.day is not None:
                metrics.business_day(partition, desk.meta.day)
            done = 1.0 if desk.caught_up_at <= 0 else min(1.0, desk.meta.next_offset / desk.caught_up_at)
            metrics.recovery(partition, done)

    def _is_late(self, desk: Desk) -> bool:
        """Whether the figures given out are not those of now: what was applied a measure ago has to be out by now.

        Behind a takeover all that was there then, whatever a measure before it saw.
        """
        before = max(self._applied.get(desk.partition, 0), desk.caught_up_at)
        self._applied[desk.partition] = desk.meta.next_offset
        unpublished = desk.meta.day is not None and (desk.meta.published_through < before or desk.lists_wait)
        return not desk.caught_up or unpublished

    def _lock(self, partition: int) -> asyncio.Lock:
        return self._locks.setdefault(partition, asyncio.Lock())


def build(settings: Settings, identity: LedgerIdentity, reference: Reference) -> App:
    """The app of a ledger worker."""
    return LedgerAgent(settings, identity, reference).app
