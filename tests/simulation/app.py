"""What is between Faust and the agents' code, over the simulated Kafka: the stand-in for `agents.app.App` and for Faust.

In: what an agent registers (`create_app(begin=…, revoked=…)`, `batch_agent`, `task`). Out: calls as Faust makes them, in its
order, and whole fetches in between. Faust itself runs a second loop in a second thread and reads the wall clock, so it cannot
be run deterministically; what lies above it (agents) and beside it (the logic of `agents.driver` and `agents.driver_thread`:
seeks, positions, what is in hand, rebalances, commits, lag) is the real code. Called by `tests.simulation.world`.

| what Faust 0.15.3 does | here |
| --- | --- |
| revoked: it stops the flow, throws away what waits, waits for what is in hand, tells the app | `partitions_revoked` |
| from then to the next assignment the consumer still has its old one | `_stay_a_member` |
| a poll that comes back to a stopped flow, even an empty one, seeks; nobody cancels that (`Consumer.getmany`) | `_fetch` |
| recovery seeks after an assignment, and is cancelled by the next one, no sooner (`Recovery._wait`) | `partitions_assigned` |
| with an empty assignment it seeks nothing (`Recovery._resume_streams`) | `_begin` |
| both take an `IllegalStateError` calmly; a seek that ends as cancelled would end the fetcher | `_begin`, `_fetch` |
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from random import Random
from types import SimpleNamespace
from typing import Any, Final

from aiohttp import web
from aiokafka.errors import IllegalStateError
from aiokafka.structs import TopicPartition
from faust.types import TP
from faust.utils.tracing import noop_span

from agents import app as real
from agents import driver
from agents.driver_thread import ConsumerThread, Fetch
from agents.health import Health
from tests.simulation.clients import Position, SimulatedConsumer
from tests.simulation.groups import REBALANCE_SECONDS
from tests.simulation.loop import OWNER, Owner
from tests.simulation.network import Network

HEARTBEAT_SECONDS: Final = 1.0
STREAM_FETCHES_MAX: Final = 8
IDLE_SECONDS: Final = (0.05, 1.0)
"""Between two fetches where there is nothing: so that some batches are single records, and some are many."""


class Thread(ConsumerThread):
    """The driver's side of the consumer. Its calls cross to another thread and back: two places to be interrupted at."""

    def __init__(self, app: App, consumer: SimulatedConsumer) -> None:
        """Without Faust's."""
        self.app = app  # type: ignore[assignment]
        self.log = logging.getLogger("simulated")  # type: ignore[assignment]
        self.settings = app.settings
        self.seeks: dict[TopicPartition, int] = {}
        self.delivered: dict[TopicPartition, int] = {}
        self._polls = 0
        self._simulated = consumer

    def _ensure_consumer(self) -> Any:
        return self._simulated

    async def in_thread(self, call: Coroutine[Any, Any, Any]) -> Any:
        """As one step of the other thread."""
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            call.close()  # or Python warns that it was never awaited
            raise
        result = await call
        await asyncio.sleep(0)
        return result

    def say_at_work(self) -> None:
        """The simulated group asks for heartbeats only."""

    async def fetch(self, records_max: int) -> list[Fetch]:
        """As `_fetch_records` of the real one makes them: positions are read without an await behind the records."""
        consumer = self._simulated
        fetches = []
        polled = await consumer.getmany(max_records=records_max)
        self._polls += 1
        for tp, records in polled.items():
            state = consumer.states[tp]
            begin = self.delivered.get(tp, records[0].offset)
            self.delivered[tp] = state.position
            fetch = Fetch(
                tp.topic,
                tp.partition,
                begin,
                state.position,
                tuple(records),
                seek=self.seeks.get(tp, 0),
                behind=max(0, (state.lso or 0) - state.position),
                poll=self._polls,
                of_poll=len(polled),
            )
            fetches.append(fetch)
        return fetches


class Consumer(driver.Consumer):
    """The driver's side of the app: the real checks of what is current, in hand and done."""

    def __init__(self, app: App, consumer: SimulatedConsumer) -> None:
        """Without Faust's."""
        self.app = app  # type: ignore[assignment]
        self.flow_active = False
        self.done: dict[TP, int] = {}
        self._seeking = asyncio.Lock()
        self._beginnings: set[asyncio.Task[Any]] = set()
        self._is_rebalancing = False
        self._in_hand: set[TP] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._thread = Thread(app, consumer)
        self._simulated = consumer
        # For Faust's own part in the calls of a rebalance.
        self.diag = SimpleNamespace(set_flag=lambda flag: None, unset_flag=lambda flag: None)  # type: ignore[assignment]
        self._active_partitions: set[TP] = set()
        self._paused_partitions: set[TP] = set()
        for name in ("_gap", "_acked", "_acked_index", "_read_offset", "_committed_offset"):
            setattr(self, name, {})
        self._on_partitions_revoked = app.partitions_revoked
        self._on_partitions_assigned = app.partitions_assigned

    def assignment(self) -> set[TP]:
        """Faust's kind of them."""
        return {TP(*tp) for tp in self._simulated.assignment()}


class Stream:
    """What an agent iterates over: fetches that wait to be processed."""

    def __init__(self, app: App) -> None:
        """Empty."""
        self._app = app
        self.waiting: asyncio.Queue[Fetch] = asyncio.Queue(STREAM_FETCHES_MAX)

    def noack(self) -> Stream:
        """Faust's way to say that it is not to keep account."""
        return self

    async def events(self) -> AsyncIterator[Any]:
        """One fetch after the other."""
        while True:
            yield SimpleNamespace(app=self._app, value=await self.waiting.get())

    def clear(self) -> None:
        """At a rebalance what waits is thrown away."""
        while not self.waiting.empty():
            self.waiting.get_nowait()


class App:
    """What the agents use of `agents.app.App`, made by `create_app` of the world."""

    begin = real.App.begin
    began = real.App.began
    _tell_assigned = real.App._tell_assigned
    _tell_revoked = real.App._tell_revoked

    def __init__(
        self,
        name: str,
        settings: Any,
        *,
        network: Network,
        end: Callable[[Owner, BaseException | None], None],
        begin: Callable[[frozenset[TP]], Awaitable[Any]] | None = None,
        assigned: Callable[[frozenset[TP]], Awaitable[None]] | None = None,
        revoked: Callable[[frozenset[TP]], Awaitable[None]] | None = None,
        by_time: bool = False,
        topic_ids: Mapping[str, str],
    ) -> None:
        """Not running. by_time: no matter here, where polls bring what chance has it. topic_ids: nothing is made anew here."""
        self.settings = settings
        self.topic_ids = topic_ids
        self.health = Health()
        self.on_begin, self.on_assigned, self.on_revoked = begin, assigned, revoked
        self.conf = SimpleNamespace(broker_request_timeout=60.0, broker_rebalance_timeout=REBALANCE_SECONDS)
        self.web = SimpleNamespace(web_app=SimpleNamespace(router=web.UrlDispatcher()))
        self.should_stop = False
        self._end = end
        self._network = network
        self._chance: Random = network.loop.chance
        self._group = f"{settings.group_prefix}.{name}"
        self._simulated = SimulatedConsumer(network, group_id=self._group)
        self._simulated.member = OWNER.get().name
        self.consumer = Consumer(self, self._simulated)
        self._stream = Stream(self)
        self._topics: tuple[str, ...] = ()
        self._work: Callable[[Any], Awaitable[None]] | None = None
        self._tasks: list[Callable[[], Awaitable[None]]] = []
        self._recovery: asyncio.Task[None] | None = None

    # What an agent calls.

    def batch_agent(self, *topics: str) -> Callable[[Callable[[Any], Awaitable[None]]], Any]:
        """Register the agent."""
        self._topics = topics

        def register(work: Callable[[Any], Awaitable[None]]) -> None:
            self._work = work

        return register

    @property
    def agent(self) -> Any:
        """Whose app this is."""
        return self._work.__self__  # type: ignore[union-attr]

    def task(self, run: Callable[[], Awaitable[None]]) -> None:
        """Run beside the agent."""
        self._tasks.append(run)

    async def crash(self, error: BaseException) -> None:
        """End the process, here and now."""
        self.end(error)
        await self._network.silence()

    def end(self, error: BaseException | None) -> None:
        """The process is no more."""
        self._end(OWNER.get(), error)

    # What Faust does.

    async def run(self) -> None:
        """Until it is stopped."""
        assert self._work is not None
        await self._simulated.start()
        for call in (self._work(self._stream), *(run() for run in self._tasks), self._fetch(), self._stay_a_member()):
            asyncio.get_running_loop().create_task(self._guarded(call))

    async def _guarded(self, call: Awaitable[Any]) -> None:
        try:
            await call
        except Exception as error:
            self.end(error)

    async def stop(self) -> None:
        """As at a SIGTERM: let go of everything, leave the group, end."""
        self.should_stop = True
        if self._recovery is not None:
            self._recovery.cancel()
        if assigned := self.consumer.assignment():
            await self.partitions_revoked(assigned)
        group, member = self._network.broker.group(self._group), self._simulated.member
        await self._network.ask("LeaveGroup", lambda: group.leave(member, self._network.loop.now))
        self.end(None)

    def _start_span_from_rebalancing(self, _: str) -> Any:
        return noop_span()

    def on_rebalance_return(self) -> None:
        """Faust counts here."""

    async def _let_go(self) -> None:
        """As the consumer's thread does it."""
        await self.consumer.on_partitions_revoked(self.consumer.assignment())
        self.consumer._thread.delivered.clear()

    async def partitions_revoked(self, revoked: set[TP]) -> None:
        """Faust's order: stop the flow, wait for what is in hand, tell the app."""
        if self.consumer.assignment():
            self.consumer.flow_active = False
            self._stream.clear()
            await self.consumer.wait_empty()
        await self._tell_revoked(self, revoked)

    async def partitions_assigned(self, assigned: set[TP], _: int = 0) -> None:
        """Faust's order: recovery begins anew, and with it ends what it was at; tell the app."""
        if self._recovery is not None:
            self._recovery.cancel()
        self._recovery = asyncio.get_running_loop().create_task(self._guarded(self._begin()))
        await self._tell_assigned(self, assigned)

    async def _stay_a_member(self) -> None:
        member, group, now = self._simulated.member, self._network.broker.group(self._group), self._network.loop.time
        while not self.should_stop:
            await self._let_go()
            await self._network.ask("JoinGroup", lambda: group.join(member, now()))
            while (said := await self._network.ask("SyncGroup", lambda: group.assigned(member, now()))) is None:
                await asyncio.sleep(0.1)
            if self.should_stop:
                return
            generation, partitions = said
            self._simulated.generation = generation
            self._simulated.states = {tp: Position() for tp in partitions}
            await self.consumer.on_partitions_assigned({TP(*tp) for tp in partitions}, generation)
            while await self._network.ask("Heartbeat", lambda n=generation: group.heartbeat(member, n, now())):
                await asyncio.sleep(HEARTBEAT_SECONDS)
                if self.should_stop:
                    return

    async def _begin(self) -> None:
        """Ask where to begin; at times both of Faust's callers do, and at times Faust lets the flow go on before the answer."""
        if self.consumer.assignment():
            self.consumer.flow_active = self._chance.random() < 0.2
            calls = [self.consumer.seek_to_committed() for _ in range(1 + (self._chance.random() < 0.2))]
            try:
                await asyncio.gather(*calls)
            except IllegalStateError:
                return  # the next assignment is on its way
        self.consumer.flow_active = True

    async def _fetch(self) -> None:
        while not self.should_stop:
            if not self.consumer.flow_active:
                await asyncio.sleep(self._chance.choice(IDLE_SECONDS))
                continue
            fetches = await self.consumer._thread.fetch(self._chance.choice((1, 3, 20, 200)))
            await asyncio.sleep(0)  # from the consumer's thread to the app's
            if not fetches:  # a poll waits that long for records
                await asyncio.sleep(self._chance.choice(IDLE_SECONDS))
            if not self.consumer.flow_active and not self.should_stop:
                with suppress(Exception):  # Faust logs it
                    await self.consumer.seek_to_committed()
                continue
            for fetch in fetches:
                await self._stream.waiting.put(fetch)
