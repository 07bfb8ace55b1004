"""The Kafka driver under Faust: whole fetches of raw bytes, begun where OUR store stands.

In: an app made by agents/app.py. Out: `fetches(stream)`, `is_current` and `give_up` for the agents; `commit`, `reached`,
`positions` for what runs beside them.
Faust's stock driver pays 70 µs for every record, reads uncommitted, begins at the group's committed offset and commits by
its own accounting, which runs past lost writes. This one hands an agent one `Fetch` per partition and poll, asks
`app.begin` where to begin after every rebalance, and never commits by itself. docs/decisions/ says why. Not in here: stores.

Two things can hand an agent records twice or not at all: what was fetched before a seek and delivered after it, and Faust
dropping fetched records while its flow is stopped. Against the first, every fetch carries the number of the seek it followed,
taken in the thread that seeks; against both, `fetches` checks that each fetch begins where the last one ended.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Any, ClassVar, Final, NamedTuple, cast

import faust
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.transport.drivers import aiokafka as stock
from faust.types import TP
from faust.types.tuples import ConsumerMessage
from mode import Service

from agents.driver_thread import Begin, ConsumerThread, Fetch, Positions
from agents.errors import LampitError, LostRecords
from agents.threads import is_cancelled

__all__ = [
    "Begin",
    "Consumer",
    "Fetch",
    "Positions",
    "RawSchema",
    "Reached",
    "Transport",
    "commit",
    "fetches",
    "lag",
    "positions",
    "reached",
]

WATCH_SECONDS: Final = 1.0
TAKEN_AWAY: Final = "partitions are being taken away: the next assignment says what is begun"


class RawSchema(faust.Schema[Any, Any]):
    """Hands the Fetch through: Faust decodes nothing."""

    def loads_key(self, app: Any, message: Any, **_: Any) -> Any:
        return None

    def loads_value(self, app: Any, message: Any, **_: Any) -> Any:
        return message.value


class Consumer(stock.Consumer):
    """Faust's consumer without its accounting of acks, gaps and commits."""

    _thread: ConsumerThread

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # Where each partition's agent stands: all before it is done.
        self.done: dict[TP, int] = {}
        self._seeking = asyncio.Lock()
        self._beginnings: set[asyncio.Task[Any]] = set()
        self._is_rebalancing = False
        self._waits_for_group = True
        self._in_hand: set[TP] = set()
        self._idle = asyncio.Event()
        self._idle.set()

    def _new_consumer_thread(self) -> ConsumerThread:
        return ConsumerThread(self, loop=self.loop, beacon=self.beacon)

    def _to_message(self, tp: TP, record: Fetch) -> ConsumerMessage:
        return ConsumerMessage(
            record.topic,
            record.partition,
            record.next_offset,
            record.records[-1].timestamp / 1000.0,
            0,
            None,
            None,
            cast(Any, record),
            None,
            -1,
            -1,
            tp,
            generation_id=self.app.consumer_generation_id,
        )

    @Service.task
    async def _watch(self) -> None:
        """What polls see to otherwise, for the times in which Faust asks for none: a rebalance, the first wait, a long `begin`.

        A consumer that has died or is refused ends the process. A member that waits for its group is at work, however long the
        others take; only in that wait. What this process does itself has the poll interval: giving up what is taken away, each
        `begin`, each batch. Where one of these hangs, or the event loop, in which this is, the others take over.
        """
        while not self.should_stop:
            if self._waits_for_group and not self._beginnings:
                self._thread.say_at_work()
            try:
                await self._thread.in_thread(self._thread.require_alive())
            except Exception as error:
                if not self.app.should_stop:
                    await self.app.crash(error)
            await self.sleep(WATCH_SECONDS)

    async def _wait_next_records(self, timeout: float) -> Any:
        """A member without partitions is at work too, though Faust asks for no records then."""
        self._thread.say_at_work()
        records, active = await super()._wait_next_records(timeout)
        # Of what comes back while partitions are being taken away Faust would begin again, and warn that it may not.
        return (None if self._is_rebalancing and not self.flow_active else records), active

    def highwater(self, tp: TP) -> int:
        """Only Faust's monitor asks, and asking for a partition just lost kills the worker."""
        return 0

    async def seek_to_committed(self) -> Any:
        """Faust calls this after every rebalance, and where it threw fetched records away: ask our stores.

        A poll that comes back while partitions are being taken away is such a place. Nothing is begun then: what this process
        had may be another's by now, and nobody would close it again.
        """
        if self._is_rebalancing:
            raise IllegalStateError(TAKEN_AWAY)
        beginning = asyncio.create_task(self._begin())
        self._beginnings.add(beginning)
        try:
            return await beginning
        except asyncio.CancelledError:
            if is_cancelled():
                raise
            raise IllegalStateError(TAKEN_AWAY) from None  # a cancellation would end Faust's fetcher, or its recovery
        finally:
            self._beginnings.discard(beginning)

    async def _begin(self) -> Any:
        assigned = frozenset(TP(*tp) for tp in self.assignment())
        try:
            async with self._seeking:  # both callers can be here at once
                self._thread.say_at_work()
                # Faust's own time limit ends recovery for good, without a word.
                async with asyncio.timeout(self.app.conf.broker_request_timeout * 0.8):
                    # The other caller may have begun all of it: what is done behind a stand that was told would be done again.
                    await self._idle.wait()
                    wanted = await cast(Any, self.app).begin(assigned)
                    if set(wanted) != assigned:
                        raise LampitError("begin() has to name every partition it is asked for, and no other")
                    positions = await self._thread.in_thread(self._thread.begin_at(wanted))
        except IllegalStateError:
            raise  # the assignment changed meanwhile: Faust waits for the next one
        except Exception as error:
            # Faust logs what goes wrong here and goes on at any position.
            await self.app.crash(error)
            raise
        self.done.update(positions)
        cast(Any, self.app).began(assigned)
        # None: Faust is not to drop what lies before offsets it remembers.
        return dict.fromkeys(positions)

    async def _give_up_beginning(self) -> None:
        """Until the next assignment nothing is begun. What was begun by now is there for who is told of what is taken away."""
        self._is_rebalancing = True
        if beginnings := set(self._beginnings):
            for beginning in beginnings:
                beginning.cancel()
            # The group waits no longer than this for a member either.
            await asyncio.wait(beginnings, timeout=self.app.conf.broker_rebalance_timeout)

    def current(self, fetch: Fetch) -> bool:
        """False for what was fetched before the last seek, or reaches an agent while a rebalance or a seek is under way.

        Faust lets the flow go on before a partition that is assigned again has begun again: that one is in nobody's `done`.
        """
        is_sought = self._thread.seeks.get(TopicPartition(*fetch.tp), 0) == fetch.seek and not self._seeking.locked()
        return self.flow_active and is_sought and fetch.tp in self.done

    def take_in_hand(self, fetch: Fetch) -> None:
        expected = self.done.get(fetch.tp)
        if fetch.begin != expected:
            raise LostRecords(
                f"{fetch.topic}-{fetch.partition} continues at offset {fetch.begin}, expected was {expected}"
            )
        self._in_hand.add(fetch.tp)
        self._idle.clear()

    def let_go(self, fetch: Fetch, *, done: bool) -> None:
        if fetch.tp not in self._in_hand:  # it was given up
            return
        if done and self._thread.seeks.get(TopicPartition(*fetch.tp), 0) == fetch.seek:
            self.done[fetch.tp] = fetch.next_offset
        self._in_hand.discard(fetch.tp)
        if not self._in_hand:
            self._idle.set()

    async def on_partitions_revoked(self, revoked: set[TP]) -> None:
        self._waits_for_group = False
        await self._give_up_beginning()
        await super().on_partitions_revoked(revoked)
        # What is assigned again has to be begun again before anything of it reaches an agent.
        for tp in revoked:
            self.done.pop(TP(*tp), None)
        self._waits_for_group = True

    async def on_partitions_assigned(self, assigned: set[TP], generation_id: int = 0) -> None:
        self._is_rebalancing = self._waits_for_group = False
        await super().on_partitions_assigned(assigned, generation_id)
        # Faust seeks nothing then, and nobody would hear that this is all.
        if not assigned and not self.app.should_stop:
            await self.seek_to_committed()

    async def wait_empty(self) -> None:
        """Wait for what the agents have in hand. Faust also waited for fetches that it had itself thrown away."""
        await self._idle.wait()

    def on_buffer_full(self, tp: TP) -> None:
        """A full stream holds up the fetches by itself. Faust takes its partitions out, and with none left sleeps 1 s."""

    def on_buffer_drop(self, tp: TP) -> None:
        """See on_buffer_full."""

    def track_message(self, message: Any) -> None:
        """No accounting: an agent's store says how far it is."""

    def ack(self, message: Any) -> bool:
        return False

    async def _add_gap(self, tp: TP, offset_from: int, offset_to: int) -> None:
        """No accounting: Faust would list every offset of a whole fetch."""

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Never by itself: `driver.commit` does it, after the store."""
        return False

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's guess at stuck streams reads the accounting above; `lag` measures instead."""


class Transport(stock.Transport):
    Consumer: ClassVar[type[Consumer]] = Consumer


def _consumer(app: faust.App) -> Consumer:
    return cast(Consumer, app.consumer)


async def fetches(stream: Any) -> AsyncIterator[Fetch]:
    """The fetches of a stream, in order, none twice and none left out. An agent that raises ends the process.

    Asking for the next one says that this one is in a store, or waits in memory to be delivered before its offset is committed.
    """
    consumer: Consumer | None = None
    async for event in stream.noack().events():
        consumer = consumer or _consumer(event.app)
        fetch = event.value
        if not consumer.current(fetch):
            continue
        consumer.take_in_hand(fetch)
        done = False
        try:
            yield fetch
            done = True
        finally:
            consumer.let_go(fetch, done=done)


def is_current(app: faust.App, fetch: Fetch) -> bool:
    """Whether the fetch in hand is still to be applied: false once its partition is being taken away."""
    return _consumer(app).current(fetch)


def give_up(app: faust.App, fetch: Fetch) -> None:
    """Say that the fetch in hand is not applied; whoever has its partition next fetches it again."""
    _consumer(app).let_go(fetch, done=False)


async def commit(app: faust.App, offsets: Mapping[TP, int]) -> bool:
    """Commit offsets to the group: for lag tools, and for an agent whose only store this is. False: not taken."""
    if not offsets:  # between two assignments a worker has none, and aiokafka refuses that
        return True
    thread = _consumer(app)._thread
    return await thread.in_thread(thread.commit_offsets(offsets))


class Reached(NamedTuple):
    """How far one partition is.

    through: every committed record before it is done. end: of the committed records that can be seen. written: of all there
    are, also of those that an open transaction hides.
    """

    through: int
    end: int
    written: int

    @property
    def behind(self) -> int:
        """Committed records and markers that wait."""
        return max(0, self.end - self.through)


async def reached(app: faust.App) -> dict[TP, Reached]:
    """How far each partition is that is assigned to this process. Those not begun yet are left out.

    Asks the broker, so that ends also move while fetching is stuck.
    """
    consumer = _consumer(app)
    thread = consumer._thread
    ends = await thread.in_thread(thread.ends())
    through = await passed(app)
    return {tp: Reached(through.get(tp, consumer.done.get(tp, 0)), *both) for tp, both in ends.items()}


async def lag(app: faust.App) -> dict[TP, int]:
    """Committed records and markers between what is done and the end of each partition assigned to this process."""
    return {tp: one.behind for tp, one in (await reached(app)).items()}


async def passed(app: faust.App) -> dict[TP, int]:
    """Per begun partition the offset before which every committed record is done.

    It can be beyond what the last fetch said: markers and records of aborted transactions bring no fetch, and with nothing
    handed out and not done the position counts.
    """
    consumer = _consumer(app)
    thread = consumer._thread
    places = await thread.in_thread(thread.places())
    if consumer._seeking.locked():  # nobody knows yet where it will go on
        return {}
    found = {}
    for tp, place in places.items():
        done = consumer.done.get(tp)
        if done is not None and place.seek == thread.seeks.get(TopicPartition(*tp), 0):
            found[tp] = max(done, place.position) if done == place.delivered else done
    return found


def positions(app: faust.App, partitions: Iterable[TP] | None = None) -> dict[TP, int]:
    """The next offset of each partition, as far as its agent is done."""
    done = _consumer(app).done
    return {tp: done[tp] for tp in (done if partitions is None else partitions) if tp in done}
