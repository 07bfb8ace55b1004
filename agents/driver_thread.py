"""The thread of the Kafka driver: it owns the aiokafka consumer, its positions and the seeks.

In: calls from agents/driver.py, which runs in the event loop of the app. Out: `Fetch` values, each with the number of the
seek it followed. What reads or moves positions runs in this thread, without awaiting between the two.
Not in here: agents, stores, Faust's flow. Caller: agents/driver.py.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import aiokafka
from aiokafka.consumer.subscription_state import SubscriptionState
from aiokafka.coordinator.assignors.sticky.sticky_assignor import StickyPartitionAssignor
from aiokafka.errors import IllegalStateError, KafkaError, NoOffsetForPartitionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.transport.drivers import aiokafka as stock
from faust.types import TP

from agents import decoding
from agents.connection import closed, for_aiokafka
from agents.decoding import StoredRecord, UndecodableRecord
from agents.errors import LogMismatch, UndecodableRecords
from agents.pacing import Pace
from agents.refusals import refusals_told
from agents.settings import Settings
from agents.time_order import SLICE_RECORDS, TimeOrder

decoding.install()


@contextmanager
def _poll_under_way(subscription: Any) -> Iterator[None]:
    """In place of aiokafka's own, to which a poll that failed or was cut short is one under way for ever.

    Its member was never taken for hung any more, and would have kept its partitions whatever happened.
    """
    subscription._fetch_count += 1
    try:
        yield
    finally:
        subscription._fetch_count -= 1
        if subscription._fetch_count == 0:
            subscription._last_fetch_ended = time.monotonic()


cast(Any, SubscriptionState).fetch_context = _poll_under_way

FETCH_BYTES_MAX: Final = 24 * 1024 * 1024
COMMIT_SECONDS_MAX: Final = 10.0
LEAVE_SECONDS_MAX: Final = 5.0
"""Of leaving the group, which lets others take over at once."""

Result = TypeVar("Result")
Positions = Mapping[TP, int | None]
Begin = Callable[[frozenset[TP]], Awaitable[Positions]]


@dataclass(frozen=True, slots=True)
class Fetch:
    """What one poll brought of one partition: all committed records from `begin` up to, not including, `next_offset`.

    The offsets can have gaps (transaction markers, compaction): go on at `next_offset`, not behind the last record.
    behind: offsets that the broker had committed beyond `next_offset` when it was last asked.
    poll: the number of the poll, which brought so many of these (`of_poll`), each of another partition.
    """

    topic: str
    partition: int
    begin: int
    next_offset: int
    records: tuple[StoredRecord, ...]
    seek: int
    undecodable: bool = False
    behind: int = 0
    poll: int = 0
    of_poll: int = 1

    @property
    def tp(self) -> TP:
        return TP(self.topic, self.partition)

    def require_decodable(self) -> None:
        """For agents that cannot go on without a record: raise where one cannot be read."""
        for record in self.records if self.undecodable else ():
            if isinstance(record, UndecodableRecord):
                raise UndecodableRecords(
                    f"{self.topic}-{self.partition} cannot be read from offset {record.offset} on: {record.error}"
                )


@dataclass(frozen=True, slots=True)
class Place:
    """Where a partition stands: its position, the one behind the last fetch, the number of its seek, the ends as last told.

    end: of the committed records that can be seen. written: of all records, also of those behind an open transaction.
    """

    position: int
    delivered: int
    seek: int
    end: int | None
    written: int | None


class ConsumerThread(stock.AIOKafkaConsumerThread):
    """Owns the aiokafka consumer. What touches positions runs in this thread, without awaiting between read and use."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.seeks: dict[TopicPartition, int] = {}
        self.delivered: dict[TopicPartition, int] = {}
        self.settings: Settings = cast(Any, self.app).settings
        self._order = TimeOrder()
        self._polls = 0
        self._pace = Pace(self.settings.fetch_wait_milliseconds, time.monotonic())

    def _create_worker_consumer(self, transport: Any) -> aiokafka.AIOKafkaConsumer:
        conf = self.app.conf
        # Sticky, because a partition that moves is a store that is built again. aiokafka keeps what was assigned on the
        # class: with a class of its own, two groups in one process do not mix.
        self._assignor = type("StickyAssignor", (StickyPartitionAssignor,), {})
        return aiokafka.AIOKafkaConsumer(
            client_id=conf.broker_client_id,
            group_id=conf.id,
            group_instance_id=conf.consumer_group_instance_id,
            **for_aiokafka(self.settings),
            partition_assignment_strategy=[self._assignor],
            enable_auto_commit=False,
            # An offset outside the log is an error to show, not a reason to begin anywhere else.
            auto_offset_reset="none",
            max_poll_records=conf.broker_max_poll_records,
            max_poll_interval_ms=int(conf.broker_max_poll_interval * 1000),
            max_partition_fetch_bytes=conf.consumer_max_fetch_size,
            # Of all partitions together: what is fetched and not yet handed out is memory.
            fetch_max_bytes=FETCH_BYTES_MAX,
            # A quiet partition is fetched again only when the broker answers for the others: this is its delay.
            fetch_max_wait_ms=self.settings.fetch_wait_milliseconds,
            request_timeout_ms=int(max(60.0, self.settings.session_timeout_seconds + 5.0) * 1000),
            check_crcs=True,
            value_deserializer=decoding.as_read,
            session_timeout_ms=int(conf.broker_session_timeout * 1000),
            rebalance_timeout_ms=int(conf.broker_rebalance_timeout * 1000),
            heartbeat_interval_ms=int(conf.broker_heartbeat_interval * 1000),
            isolation_level="read_committed",
            metadata_max_age_ms=conf.consumer_metadata_max_age_ms,
            connections_max_idle_ms=conf.consumer_connections_max_idle_ms,
        )

    async def on_thread_stop(self) -> None:
        await closed(super().on_thread_stop(), LEAVE_SECONDS_MAX)

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        await super().on_partitions_revoked(revoked)
        self.delivered.clear()

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        # aiokafka leaves this call out; without it a worker that comes back late disputes partitions on even terms.
        cast(Any, self._assignor).on_generation_assignment(generation_id)
        await super().on_partitions_assigned(assigned, generation_id)

    async def in_thread(self, call: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine in the consumer's loop. Faust's queue has two workers: a fetch in wait would hold up the rest."""
        try:
            answer = asyncio.run_coroutine_threadsafe(call, self.thread_loop)
        except RuntimeError:
            call.close()
            if self.thread_loop.is_closed():  # by a stop, which cancels whoever asks a moment later
                raise asyncio.CancelledError from None
            raise
        with refusals_told(self.settings, self.app.conf.id):
            return await asyncio.wrap_future(answer)

    async def getmany(self, active_partitions: set[TP] | None, timeout: float) -> Any:
        consumer = self._ensure_consumer()
        return await self.in_thread(
            self._fetch_records(consumer, active_partitions, timeout, consumer._max_poll_records)
        )

    async def _fetch_records(
        self, consumer: Any, active_partitions: Any, timeout: float | None = None, max_records: int | None = None
    ) -> dict[TopicPartition, list[Fetch]]:
        _require_alive(consumer)
        fetcher = consumer._fetcher
        many = max_records or consumer._max_poll_records
        by_time = cast(Any, self.app).by_time
        if by_time:
            self._order.oldest_first(fetcher, time.monotonic())
        try:
            at_first = min(SLICE_RECORDS, many) if by_time else many
            drained: Any = await super()._fetch_records(consumer, active_partitions, timeout, at_first)
        except NoOffsetForPartitionError:
            return {}  # a partition just assigned and not begun yet: `begin_at` is on its way
        now = time.monotonic()
        if by_time and drained:
            self._order.take(fetcher, drained, active_partitions, many, now)
        self._pace.polled(fetcher, sum(map(len, drained.values())), now)
        self._polls += 1
        # No await from here on: the positions below are those after exactly these records.
        assignment = consumer._subscription.subscription.assignment
        fetches = {}
        for tp, records in drained.items():
            state = assignment.state_value(tp)
            next_offset = state.position
            begin = self.delivered.get(tp, records[0].offset)
            self.delivered[tp] = next_offset
            fetch = Fetch(
                tp.topic,
                tp.partition,
                begin,
                next_offset,
                tuple(records),
                seek=self.seeks.get(tp, 0),
                undecodable=decoding.is_any_undecodable(records),
                behind=max(0, (state.lso or 0) - next_offset),
                poll=self._polls,
                of_poll=len(drained),
            )
            fetches[tp] = [fetch]
        return fetches

    async def require_alive(self) -> None:
        """What a poll looks at first, for the times in which nothing is polled."""
        consumer: Any = self._consumer
        if consumer is not None and consumer._coordinator is not None:  # it has started
            _require_alive(consumer)

    def say_at_work(self) -> None:
        """aiokafka takes a member that asks for no records for hung: after the poll interval it leaves its group, for good."""

        def say() -> None:
            if self._consumer is not None:
                with self._consumer._subscription.fetch_context():
                    pass

        with suppress(RuntimeError):  # of a loop that a stop has closed
            self.thread_loop.call_soon_threadsafe(say)  # in the thread, where fetches say the same

    async def begin_at(self, wanted: Positions) -> dict[TP, int]:
        """Seek every partition: to the offset wanted, else to the committed one, else to the beginning."""
        consumer = self._ensure_consumer()
        partitions = [TopicPartition(*tp) for tp in wanted]
        if not partitions:
            return {}
        own = [TopicPartition(*tp) for tp, offset in wanted.items() if offset is None]
        committed_offsets = await self._committed(own)
        # After the others: a process that was stopped in between would take what the group has done since for a log made anew.
        first, end = await asyncio.gather(consumer.beginning_offsets(partitions), consumer.end_offsets(partitions))
        positions: dict[TP, int] = {}
        for tp, offset in wanted.items():
            key = TopicPartition(*tp)
            if offset is None:
                committed = committed_offsets.get(key)
                if committed is not None and committed < first[key]:
                    self.log.warning(
                        "%s: offsets %d to %d expired before they were read", tp, committed, first[key] - 1
                    )
                offset = max(first[key], committed or 0)  # noqa: PLW2901
            # The embedded broker gives the last batch's first offset for the end: too low to judge by.
            if offset < first[key] or (offset > end[key] and self.settings.transactions):
                raise LogMismatch(
                    f"{tp.topic}-{tp.partition} holds offsets {first[key]} to {end[key]}, the store goes on at {offset}: "
                    "the topic was made anew or belongs to another cluster."
                )
            positions[tp] = offset
        for tp, offset in positions.items():
            key = TopicPartition(*tp)
            consumer.seek(key, offset)
            self.seeks[key] = self.seeks.get(key, 0) + 1
            self.delivered[key] = offset
        return positions

    async def _committed(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The group's offset of each, where there is one and it is of the topic that is there now."""
        found: dict[TopicPartition, int] = {}
        for key, one in (await self._ensure_consumer()._coordinator.fetch_committed_offsets(partitions)).items():
            topic_id = self._topic_id(key.topic)
            if one.metadata and topic_id and one.metadata != topic_id:
                self.log.warning("%s was made anew since offset %d of it was done: begun at its first", key, one.offset)
            elif one.offset >= 0:
                found[key] = one.offset
        return found

    def _topic_id(self, topic: str) -> str:
        """As it was at the start of this process; empty where the brokers give none."""
        ids: Mapping[str, str] = cast(Any, self.app).topic_ids
        return ids.get(topic, "")

    async def commit_offsets(self, offsets: Mapping[TP, int]) -> bool:
        """Commit, each with its topic's id; false when the group does not take it (a rebalance is under way, or was)."""
        said = {
            TopicPartition(*tp): OffsetAndMetadata(offset, self._topic_id(tp.topic)) for tp, offset in offsets.items()
        }
        try:
            # aiokafka tries for as long as the coordinator is away, and all deliveries would wait behind it.
            async with asyncio.timeout(COMMIT_SECONDS_MAX):
                await self._ensure_consumer().commit(said)
        except (KafkaError, IllegalStateError, TimeoutError) as error:
            self.log.warning("commit refused: %s", type(error).__name__)
            return False
        return True

    async def places(self) -> dict[TP, Place]:
        """Where each begun partition stands, as of one moment."""
        subscription = self._ensure_consumer()._subscription.subscription
        if subscription is None or subscription.assignment is None:
            return {}
        found = {}
        for tp, state in subscription.assignment._tp_state.items():
            # Reading it is no await: `consumer.position()` would wait for a seek that a rebalance may never make.
            if state.has_valid_position and tp in self.delivered:
                seek = self.seeks.get(tp, 0)
                found[TP(*tp)] = Place(state.position, self.delivered[tp], seek, state.lso, state.highwater)
        return found

    async def ends(self) -> dict[TP, tuple[int, int]]:
        """Per begun partition: the end of the committed records that can be seen, and that of all records.

        Between the two is what an open transaction hides: its own records, and committed ones of others.
        """
        consumer = self._ensure_consumer()
        partitions = sorted(consumer.assignment())
        if not partitions:
            return {}
        ends = await consumer.end_offsets(partitions)
        # The embedded broker tells the true end only with a fetch.
        known = {
            tp: place
            for tp, place in (await self.places()).items()
            if place.end is not None or self.settings.transactions
        }
        found = {}
        for tp in partitions:
            if (place := known.get(TP(*tp))) is not None:
                end = max(ends[tp], place.end or 0)
                found[TP(*tp)] = (end, max(end, place.written or 0) if self.settings.transactions else end)
        return found


def _require_alive(consumer: Any) -> None:
    """Faust goes round the checks of aiokafka's own getmany: a dead fetcher or coordinator looked like a quiet topic."""
    if not consumer._closed:
        consumer._coordinator.check_errors()
        if consumer._fetcher.error_future.done():
            consumer._fetcher.error_future.result()
