"""Intake: raw input to accepted events, without a NIK in them.

In: `lampit.intake.*`. Out: `lampit.ledger` and `lampit.rejected`; every record taken in is in one of them before its offset
is committed. Started by `lampit run intake`, as often as wanted; a repeated write after a crash changes no figure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final

import msgspec
from faust.types import TP

from agents import metrics
from agents.app import App, create_app
from agents.backlog import Backlog
from agents.barrier import LedgerIdentity
from agents.courier import Courier
from agents.decoding import StoredRecord, UndecodableRecord
from agents.driver import Fetch, commit, fetches, positions, reached
from agents.producer import Producer, Record
from agents.settings import Settings
from agents.time_order import by_time
from agents.topics import INTAKE_TOPICS, LEDGER, REJECTED
from schemas.rejection import Reason
from stream.admission import Admitted, admit
from stream.calendar import format_instant
from stream.events import NikChange, OpeningBalance
from stream.ledger import encode_record
from stream.merging import holders, partition_of
from stream.pseudonym import Pseudonymiser
from stream.refusal import Refusal

DELIVERY_SECONDS_MAX: Final = 0.25
"""Also with nothing to send: offsets are committed, lag is measured."""

PAUSE_SECONDS: Final = 0.01
"""Between two deliveries: each is a request with a batch for every partition, and all that follows is paid for each of them."""

COMMIT_SECONDS: Final = 0.25
"""Between two commits: what a process takes in again after a kill changes no figure, and a commit is a write of its own."""

MEASURE_SECONDS: Final = 1.0

WAITING_RECORDS_MAX: Final = 20_000
"""With more than that admitted and not yet acknowledged, intake waits for Kafka."""


class IntakeAgent:
    """One process of the intake group."""

    def __init__(self, settings: Settings, identity: LedgerIdentity, pseudonymise: Pseudonymiser) -> None:
        """Not started; `app` is run by the caller."""
        self._partitions = identity.partitions
        self._pseudonymise = pseudonymise
        self._producer = Producer(settings, name="lampit-intake")
        self._gathered: list[Fetch] = []
        self._waiting: list[Record] = []
        self._admitted: dict[TP, int] = {}
        self._sent: dict[TP, int] = {}
        self._timestamps_ms: dict[TP, int] = {}
        self._delivery = asyncio.Lock()
        self._committed = 0.0
        self._measured = 0.0
        self._backlog = Backlog()
        self.app: App = create_app("intake", settings, revoked=self.revoked, by_time=True, topic_ids=identity.topic_ids)
        self.app.health.require("caught_up", measured=True)
        metrics.build_info()
        self.app.batch_agent(*INTAKE_TOPICS)(self.work)
        self._courier = Courier(self.app, self._deliver, DELIVERY_SECONDS_MAX, PAUSE_SECONDS)

    async def work(self, stream: Any) -> None:
        """The agent: admit or refuse every record and hand it on; the offset follows when it is acknowledged."""
        async with self._delivery:
            await self._producer.start()
        async for fetch in fetches(stream):
            if self._gathered and self._gathered[-1].poll != fetch.poll:  # the rest of that one was taken away
                self._admit()
            self._gathered.append(fetch)
            if len(self._gathered) < fetch.of_poll:
                continue
            self._admit()
            while len(self._waiting) > WAITING_RECORDS_MAX:
                await self._deliver()

    def _admit(self) -> None:
        """Admit or refuse the records of a poll, the oldest first, whatever their topics."""
        began = time.perf_counter()
        self._waiting += self._records(by_time(self._gathered), int(time.time() * 1_000_000))
        for fetch in self._gathered:
            self._admitted[fetch.tp] = fetch.next_offset
            self._timestamps_ms[fetch.tp] = fetch.records[-1].timestamp
        self._gathered = []
        metrics.batch("admit", time.perf_counter() - began)
        self._courier.wake()

    async def _deliver(self, *, last: bool = False) -> None:
        """Send what waits; only what is acknowledged is committed, from time to time and with the last delivery."""
        async with self._delivery:
            records, admitted = self._waiting, self._admitted
            self._waiting, self._admitted = [], {}
            if records:
                began = time.perf_counter()
                await self._producer.send_all(records)
                metrics.batch("send", time.perf_counter() - began)
            self._sent |= admitted
            due = last or time.monotonic() - self._committed >= COMMIT_SECONDS
            if self._sent and due and await commit(self.app, self._sent):
                self._sent = {}
                self._committed = time.monotonic()
        await self._measure()

    async def revoked(self, partitions: frozenset[TP]) -> None:
        """Finish what is in hand; what could not be committed will be taken in again, which changes no figure."""
        if self._gathered:  # the driver takes it for done
            self._admit()
        await self._deliver(last=True)
        self._sent = {}
        self._backlog = Backlog()
        self._measured = time.monotonic()  # an answer still on its way speaks of partitions that are gone
        for tp in partitions:
            self._timestamps_ms.pop(tp, None)
            metrics.forget_position(tp.topic, tp.partition)

    async def _measure(self) -> None:
        asked = time.monotonic()
        if asked - self._measured < MEASURE_SECONDS:
            return
        self._measured = asked
        found, done = await reached(self.app), positions(self.app)
        if asked < self._measured:  # a rebalance came meanwhile, and knows newer partitions and ends
            return
        for tp, one in found.items():
            metrics.position(tp.topic, tp.partition, done.get(tp, 0), one.behind, self._timestamps_ms.get(tp, 0))
        if found.keys() >= done.keys():  # not between two assignments
            why = self._backlog.why_not(found, asked, time.monotonic())
            self.app.health.set("caught_up", why is None, why or "")

    def _records(self, poll: Iterable[tuple[StoredRecord, Fetch]], now: int) -> list[Record]:
        records: list[Record] = []
        accepted: list[Admitted] = []
        for record, fetch in poll:
            if type(record) is UndecodableRecord:
                message = "the record batch cannot be read"
                if record.next_offset > record.offset + 1:
                    message += f"; this stands for all of it from offset {record.offset} to {record.next_offset - 1}"
                refusal = Refusal(Reason.UNKNOWN_CODEC, message, "", None, 0, "")
                records.append(self._rejected(refusal, fetch, record.offset, now))
                continue
            admitted = admit(record.value, self._pseudonymise)
            if isinstance(admitted, Admitted):
                records += self._accepted(admitted, now)
                accepted.append(admitted)
            else:
                records.append(self._rejected(admitted, fetch, record.offset, now))
        metrics.admitted(accepted)
        return records

    def _accepted(self, admitted: Admitted, now: int) -> list[Record]:
        """To the person's partition; a change of NIK to both persons', a balance to every partition."""
        value = encode_record(admitted.subject, admitted.event, now)
        if type(admitted.event) is OpeningBalance:
            key = f"balance|{admitted.event.region}".encode()
            return [Record(LEDGER, partition, key, value) for partition in range(self._partitions)]
        subject = admitted.subject or ""
        if type(admitted.event) is NikChange:
            targets = {partition_of(one, self._partitions) for one in holders(subject, admitted.event)}
            return [Record(LEDGER, partition, subject.encode(), value) for partition in sorted(targets)]
        return [Record(LEDGER, partition_of(subject, self._partitions), subject.encode(), value)]

    def _rejected(self, refusal: Refusal, fetch: Fetch, offset: int, now: int) -> Record:
        metrics.rejected(refusal)
        value = {
            "reason": refusal.reason,
            "message": refusal.message,
            "pointer": refusal.pointer,
            "origin": {"topic": fetch.topic, "partition": fetch.partition, "offset": offset},
            "time": format_instant(now),
            "payload": refusal.payload,
            "length": refusal.length,
            "digest": refusal.digest,
        }
        key = f"{fetch.topic}|{fetch.partition}|{offset}".encode()
        return Record(REJECTED, 0, key, msgspec.json.encode(value))


def build(settings: Settings, identity: LedgerIdentity, pseudonymise: Pseudonymiser) -> App:
    """The app of an intake process."""
    return IntakeAgent(settings, identity, pseudonymise).app
