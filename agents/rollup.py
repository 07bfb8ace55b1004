"""The roll-up: partial figures of all partitions to coverage records of all regions.

In: `lampit.partials`, from its beginning at every takeover (it is compacted: one record per region and partition). Out:
`lampit.coverage`, gauges, the view. Started by `lampit run rollup`; the topic has one partition, so of several processes
one is active and the others wait for it in the group. What an older one still writes is refused by the fence.

Whole batches: partials wait until their partition's head closes the batch, and nothing is given out while the partitions
stand on different days.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date
from typing import Any, Final

import msgspec
from faust.types import TP

from agents import metrics
from agents.app import App, create_app
from agents.backlog import Backlog
from agents.barrier import LedgerIdentity
from agents.closings import Closings, TakenOver
from agents.courier import Courier
from agents.driver import Fetch, Positions, Reached, commit, fetches, passed, reached
from agents.epochs import is_to_come, not_the_epochs
from agents.other_days import Kept, KnownBy, NotAnswered, Turns, ask
from agents.producer import FencedProducer, Record
from agents.reading import end_offset
from agents.settings import Settings
from agents.topics import COVERAGE, PARTIALS
from agents.turns import in_turns, listed
from agents.upstream import Upstream
from agents.view import View
from stream import closing_parts, coverage
from stream.batches import Batches
from stream.partials import HeadRecord, decode, newest_epoch
from stream.reference import Reference
from stream.regions import COUNTRY, TRANSIT
from stream.rollup import Partial, Rollup

TICK_SECONDS: Final = 0.5
PAUSE_SECONDS: Final = 0.008
"""As in `agents.ledger`."""
MEASURE_SECONDS: Final = 1.0

NOT_YET: Final = "the ledger workers have not come to the epoch of these settings yet"

_encode = msgspec.json.Encoder().encode


class RollupAgent:
    """The roll-up of one process."""

    def __init__(self, settings: Settings, identity: LedgerIdentity, reference: Reference) -> None:
        """Not started; `app` is run by the caller."""
        self.settings = settings
        self.identity = identity
        self.reference = reference
        self.view = View()
        self._producer: FencedProducer | None = None
        self._delivery = asyncio.Lock()
        self._adding = asyncio.Lock()
        self._answers: Turns[View] = Turns()
        self._measured = 0.0
        self._backlog = Backlog()
        self.app: App = create_app(
            "rollup", settings, begin=self.begin, revoked=self.revoked, topic_ids=identity.topic_ids
        )
        self._upstream = Upstream(self.app, settings, identity.partitions, self._counted)
        self._reset(0)
        self.app.health.require("caught_up", "all_partitions", measured=True)
        metrics.build_info()
        self.app.batch_agent(PARTIALS)(self.work)
        self._courier = Courier(self.app, self._deliver, TICK_SECONDS, PAUSE_SECONDS)
        self._closer = Courier(self.app, self._close, TICK_SECONDS)

    def _reset(self, caught_up_at: int) -> None:
        self._rollup = self._empty()
        periods = self.identity.rules.periods
        self._closings = None if periods is None else Closings(self.settings, self.identity, periods, self.reference)
        self._other_days = Kept()
        self._batches = Batches(self._rollup)
        self._caught_up_at = caught_up_at
        self._next_offset = 0
        self._given_out = False
        self._waits_in: int | None = None
        self._as_of: date | None = None
        self._last_timestamp_ms = 0
        self._upstream.forget()

    async def begin(self, partitions: frozenset[TP]) -> Positions:
        """Fence the older roll-up, then read the partials from their beginning."""
        if not partitions:
            return {}
        async with self._delivery:
            await self._drop_producer()
            self._producer = FencedProducer(self.settings, transactional_id=f"{self.identity.ledger_id}-rollup")
            await self._producer.start()
            self._reset(await end_offset(self.settings, PARTIALS, 0))
        return dict.fromkeys(partitions, 0)

    async def revoked(self, partitions: frozenset[TP]) -> None:
        """Another process is the active one now: figures shown here would grow old. Without a producer nothing is given out."""
        if partitions:
            async with self._delivery:
                await self._drop_producer()
                self._reset(0)
                self.view.clear()

    async def _drop_producer(self) -> None:
        producer, self._producer = self._producer, None
        if producer is not None:
            await producer.stop()

    async def work(self, stream: Any) -> None:
        """The agent: add up whole batches; what changed is given out beside it."""
        async for fetch in fetches(stream):
            fetch.require_decodable()
            async with self._adding:
                began = time.perf_counter()
                self.add(fetch)
            metrics.batch("roll_up", time.perf_counter() - began)
            self._courier.wake()
            await asyncio.sleep(0)  # let the courier have its turn between two long batches

    async def _deliver(self) -> None:
        if not self.caught_up and (await passed(self.app)).get(TP(PARTIALS, 0), 0) >= self._caught_up_at:
            self._caught_up_at = self._next_offset  # behind the last record are markers, which bring no fetch
        await self._require_epoch()
        async with self._delivery:
            await self._give_out()
        if time.monotonic() - self._measured >= MEASURE_SECONDS:
            self._measured = time.monotonic()
            if self._next_offset:
                await commit(self.app, {TP(PARTIALS, 0): self._next_offset})
            await self._measure()

    async def _close(self) -> None:
        """Close the months of the days that turned; what another roll-up has taken over is left to it."""
        closings = self._closings
        if closings is None or not self._is_active():
            return

        def is_wanted() -> bool:
            return closings is self._closings and self._is_active()

        async def publish(records: Iterable[Record]) -> None:
            async with self._delivery:
                if self._producer is None or not is_wanted():
                    raise TakenOver
                await self._producer.publish(records)

        with suppress(TakenOver):
            await closings.close(publish, is_wanted)

    def add(self, fetch: Fetch) -> None:
        """Apply the batches that a fetch closes."""
        for record in fetch.records:
            if record.key is None or record.value is None:
                continue
            part = closing_parts.decode(record.key, record.value)
            if part is not None:
                if self._closings is not None:
                    self._closings.add(part)
                continue
            figures = decode(record.key, record.value)
            if self._batches.add(figures):
                # The country's record says how far the count is, also when nothing moved.
                self._rollup.touch(COUNTRY)
            if isinstance(figures, HeadRecord) and self._closings is not None:
                self._closings.head(figures)
        self._next_offset = fetch.next_offset
        self._last_timestamp_ms = fetch.records[-1].timestamp if fetch.records else self._last_timestamp_ms

    @property
    def _heads(self) -> Mapping[int, HeadRecord]:
        """The latest head of each partition."""
        return self._batches.heads

    def _counted(self) -> Mapping[int, int]:
        """How far the figures of each partition are, once they are all in."""
        return {number: head.offset for number, head in self._heads.items()} if self.caught_up else {}

    @property
    def caught_up(self) -> bool:
        """Whether all that was there at the takeover is applied."""
        return self._next_offset >= self._caught_up_at

    def _is_active(self) -> bool:
        """Whether what is found here may be published."""
        return self._producer is not None and self.caught_up and not self._are_others(self._heads)

    def _are_others(self, heads: Mapping[int, HeadRecord]) -> bool:
        """Whether figures are of other settings, or another region reference: nothing made of them here is right."""
        _, settings = newest_epoch(heads.values())
        return bool(settings - {self.identity.settings_name})

    async def _require_epoch(self) -> None:
        """Raise where the ledger has come to an epoch of other settings; where one of these is begun, its workers may be at
        their stores yet."""
        epoch, _ = newest_epoch(self._heads.values())
        if self.caught_up and self._are_others(self._heads) and self._waits_in != epoch:
            offsets = {number: head.offset for number, head in self._heads.items()}
            if not await is_to_come(self.settings, self.identity, offsets):
                raise not_the_epochs()
            self._waits_in = epoch

    @property
    def day(self) -> date | None:
        """The day all partitions have reached; None while one is missing or they differ in day or epoch."""
        reached = {(head.day, head.epoch) for head in self._heads.values()}
        return reached.pop()[0] if len(reached) == 1 and len(self._heads) == self.identity.partitions else None

    def _not_there(self) -> list[int]:
        """The partitions that have not reached the day, in the epoch, of the furthest one."""
        reached = {number: (head.epoch, head.day) for number, head in self._heads.items()}
        furthest = max(reached.values(), default=None)
        numbers = range(self.identity.partitions)
        return [number for number in numbers if number not in reached or reached[number] != furthest]

    async def _give_out(self) -> None:
        async with self._adding:
            day = self.day
            if day is None or self._producer is None or not self._is_active():
                return
            records = await self._changed(day)
        if not records:
            return
        began = time.perf_counter()
        encoded = await in_turns(listed(Record(COVERAGE, 0, one["region"].encode(), _encode(one)) for one in records))
        await self._producer.publish(encoded or ())
        metrics.batch("publish", time.perf_counter() - began)
        self._given_out, self._as_of = True, day
        self.view.update(records, self._rollup.has_ended)

    async def _changed(self, day: date) -> list[dict[str, Any]]:
        """The records to be given out; in turns, because a country's take seconds, in which nothing may be added."""
        if not self._given_out or self._as_of != day:
            # A new day is in every record. After a takeover every region with a part is given out in any case, but not the
            # codes that ended since: the one before may have given them out with people in them.
            self._rollup.all_dirty()
        return await in_turns(listed(self._stamped(self._rollup, self._heads, day))) or []

    def _stamped(self, rollup: Rollup, heads: Mapping[int, HeadRecord], day: date) -> Iterator[dict[str, Any]]:
        """The changed records of a day, with how far the count is."""
        number = day.toordinal()
        names = coverage.Names(self.reference, number)
        stamp = {
            "epoch": max(head.epoch for head in heads.values()),
            "position": {str(partition): head.offset for partition, head in sorted(heads.items())},
        }
        return ({**coverage.record(region, figure, names), **stamp} for region, figure in rollup.each_changed(number))

    async def on_day(self, day: date) -> View:
        """The figures of any day, past or to come, as known now; NotAnswered while that cannot be had, or too many ask."""
        if day == self._as_of:
            return self.view
        kept = self._other_days.get(day, self._known_by)
        return kept or await self._answers.get(day, lambda: self._other_day(day))

    async def _other_day(self, day: date) -> View:
        known_by, rollup, view = self._known_by, self._empty(), View()
        answer = await ask(day, self._heads, self.identity.partitions, rollup)
        if self._are_others(answer.heads):
            raise NotAnswered(f"The figures cannot be had: {NOT_YET}.")
        view.update(await in_turns(listed(self._stamped(rollup, answer.heads, day))) or ())
        self._other_days.add(day, known_by, view)
        return view

    @property
    def _known_by(self) -> KnownBy:
        return tuple(sorted((number, head.offset) for number, head in self._heads.items()))

    def _empty(self) -> Rollup:
        rollup = Rollup(self.identity.rules.stale_after_days, self.reference.places)
        rollup.apply(0, TRANSIT, Partial())
        return rollup

    async def _measure(self) -> None:
        """Measure, and say whether the figures are those of now."""
        asked = time.monotonic()
        found: Mapping[TP, Reached] = await reached(self.app)
        why = self._why_not(found, self._backlog.why_not(found, asked, time.monotonic()))
        self.app.health.set("caught_up", why is None, why or "")
        missing = self._not_there()
        self.app.health.set("all_partitions", not missing, f"partitions {missing} have no head of this day yet")
        behind = sum(one.behind for one in found.values())
        metrics.position(PARTIALS, 0, self._next_offset, behind, self._last_timestamp_ms)

    def _why_not(self, found: Mapping[TP, Reached], waiting: str | None) -> str | None:
        """Why the figures shown are not those of now; None where they are."""
        if not found:
            return "another process is the active roll-up"
        if self.caught_up and self._are_others(self._heads):
            return NOT_YET
        if not (self.caught_up and self._given_out):
            return "figures are being added up"
        waiting = waiting or self._upstream.why_not()
        return None if waiting is None else f"figures are behind the log: {waiting}"


def build(settings: Settings, identity: LedgerIdentity, reference: Reference) -> RollupAgent:
    """The roll-up; its `app` is to be run, its `view` to be shown."""
    return RollupAgent(settings, identity, reference)
