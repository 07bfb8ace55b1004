"""The two objects of aiokafka that the agents touch Kafka by, over the simulated network.

In: what `agents.producer`, `agents.reading`, `agents.topics` and `agents.driver_thread` ask of an AIOKafkaProducer and an
AIOKafkaConsumer. Out: the same answers and errors. Put in their place by `tests.simulation.world`; the agents' modules run as
they are. A client retries by itself what Kafka's clients retry: a lost answer (the batch is stored once, by its sequence), a
transaction still being completed.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from aiokafka.errors import IllegalStateError, ProducerFenced
from aiokafka.structs import ConsumerRecord, OffsetAndMetadata, TopicPartition

from tests.simulation.broker import ConcurrentTransactions
from tests.simulation.log import PartitionLog
from tests.simulation.network import Network

RETRY_SECONDS: Final = 0.01


class Batch:
    """Records that are sent together; full after a few, so that most calls need several."""

    def __init__(self, records_max: int) -> None:
        """Empty."""
        self.records: list[tuple[bytes | None, bytes | None]] = []
        self._records_max = records_max

    def append(self, *, timestamp: int | None, key: bytes | None, value: bytes | None, headers: list[Any]) -> Any:
        """None when it is full."""
        if len(self.records) >= self._records_max:
            return None
        self.records.append((key, value))
        return len(self.records)

    @property
    def checksum(self) -> int:
        """Of what is in it, for the trace."""
        return zlib.crc32(b"\0".join((key or b"") + b"=" + (value or b"") for key, value in self.records))


class SimulatedProducer:
    """An AIOKafkaProducer."""

    def __init__(
        self,
        network: Network,
        batch_records_max: int,
        before_and_after: Callable[[], None],
        *,
        client_id: str,
        transactional_id: str | None,
        transaction_timeout_ms: int,
        **_: Any,
    ) -> None:
        """Not started. before_and_after: called where a publication begins and where it is done."""
        self._network = network
        self._batch_records_max = batch_records_max
        self._come = before_and_after
        self._name = client_id
        self._transactional_id = transactional_id
        self._timeout_seconds = transaction_timeout_ms / 1000
        self._producer = (-1, -1)
        self._sequences: dict[TopicPartition, int] = {}
        self._in_transaction: set[TopicPartition] | None = None
        self._sends: list[asyncio.Future[Any]] = []
        self._turns: dict[TopicPartition, asyncio.Lock] = {}
        self._fenced = False
        # What agents/producer.py looks at after a failure.
        self._message_accumulator = SimpleNamespace(_batches={}, _pending_batches=set())
        self._txn_manager = SimpleNamespace(_transaction_waiter=None)

    async def start(self) -> None:
        """InitProducerId."""
        broker = self._network.broker

        def begin() -> tuple[int, int]:
            try:
                return broker.begin_producer(self._transactional_id, self._timeout_seconds)
            except ConcurrentTransactions:
                self._network.complete(self._transactional_id or "")
                raise

        self._producer = await self._retried(f"InitProducerId {self._name}", begin)

    async def stop(self) -> None:
        """Wait for what is under way, as aiokafka does."""
        await asyncio.gather(*(send for send in self._sends if not send.done()), return_exceptions=True)

    def create_batch(self) -> Batch:
        """An empty one."""
        return Batch(self._batch_records_max)

    async def send_batch(self, batch: Batch, topic: str, *, partition: int) -> asyncio.Future[Any]:
        """On its way; the future is done when it is acknowledged. To cancel that does not call it back."""
        self._require_not_fenced()
        if self._transactional_id is None:
            self._come()
        elif self._in_transaction is None:
            raise IllegalStateError("no transaction")
        tp = TopicPartition(topic, partition)
        first = self._sequences.get(tp, 0)
        sequence = (first, first + len(batch.records))
        self._sequences[tp] = sequence[1]
        future = self._network.loop.create_future()
        task = asyncio.get_running_loop().create_task(self._send(tp, batch, sequence))
        task.add_done_callback(lambda done: _pass_on(done, future))
        self._sends = [one for one in self._sends if not one.done()]
        self._sends.append(task)
        await asyncio.sleep(0)
        return future

    async def _send(self, tp: TopicPartition, batch: Batch, sequence: tuple[int, int]) -> None:
        network = self._network

        def produce() -> None:
            now, transactional_id = network.loop.now, self._transactional_id
            network.broker.produce(tp, batch.records, now, self._producer, sequence, transactional_id)

        what = f"Produce {self._name} {tp.topic}-{tp.partition} {sequence} {batch.checksum:08x}"
        async with self._turns.setdefault(tp, asyncio.Lock()):  # one in flight a partition, as aiokafka has
            await self._retried(what, produce)

    async def begin_transaction(self) -> None:
        """Kafka hears of it with the first batch."""
        self._require_not_fenced()
        if self._in_transaction is not None:
            raise AssertionError("a transaction is open")
        self._come()
        self._in_transaction = set()

    async def commit_transaction(self) -> None:
        """EndTxn, when every batch is acknowledged."""
        await self._end(commit=True)
        self._come()

    async def abort_transaction(self) -> None:
        """EndTxn."""
        await self._end(commit=False)

    async def _end(self, *, commit: bool) -> None:
        self._require_not_fenced()
        if self._in_transaction is None:
            raise AssertionError("no transaction is open")
        transactional_id = self._transactional_id or ""
        await asyncio.gather(*(send for send in self._sends if not send.done()), return_exceptions=True)

        def end() -> None:
            self._network.broker.end_transaction(transactional_id, self._producer, commit=commit)
            self._network.complete(transactional_id)

        await self._retried(f"EndTxn {self._name} {'commit' if commit else 'abort'}", end)
        self._in_transaction = None

    def _require_not_fenced(self) -> None:
        if self._fenced:
            raise ProducerFenced

    async def _retried(self, what: str, act: Callable[[], Any]) -> Any:
        while True:
            try:
                return await self._network.ask(what, act)
            except ConcurrentTransactions:
                await asyncio.sleep(RETRY_SECONDS)
            except ProducerFenced:
                self._fenced = True
                raise


def _pass_on(done: asyncio.Future[Any], future: asyncio.Future[Any]) -> None:
    error = None if done.cancelled() else done.exception()
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


@dataclass
class Position:
    """Of one assigned partition; lso, highwater: what the last answer said of its last stable offset, and of its end."""

    position: int = -1
    lso: int | None = None
    highwater: int | None = None

    @property
    def has_valid_position(self) -> bool:
        """Whether it was sought."""
        return self.position >= 0


class SimulatedConsumer:
    """An AIOKafkaConsumer: of no group, or of one whose assignments it is told."""

    def __init__(
        self, network: Network, *, group_id: str | None = None, isolation_level: str = "read_committed", **_: Any
    ) -> None:
        """Not started."""
        self._network = network
        self._is_committed = isolation_level == "read_committed"
        self.group_id = group_id
        self.member = ""
        self.generation = -1
        self.states: dict[TopicPartition, Position] = {}

    async def start(self) -> None:
        """Connect."""
        await self._network.ask("Metadata", lambda: None)

    async def stop(self) -> None:
        """Disconnect."""

    @property
    def _subscription(self) -> Any:
        """What agents/driver_thread.py and agents/standby.py look at: aiokafka's own way to the positions."""
        assignment = SimpleNamespace(_tp_state=self.states, state_value=self.states.__getitem__)
        return SimpleNamespace(subscription=SimpleNamespace(assignment=assignment))

    def assign(self, partitions: list[TopicPartition]) -> None:
        """Read these, from wherever they are sought."""
        self.states = {tp: Position() for tp in partitions}

    def assignment(self) -> set[TopicPartition]:
        """The partitions to read."""
        return set(self.states)

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Read on there. What is under way of another position is dropped."""
        if tp not in self.states:
            raise IllegalStateError(f"{tp} is not assigned")
        self.states[tp].position = offset

    async def seek_to_beginning(self, *partitions: TopicPartition) -> None:
        """Nothing here deletes by age: 0."""
        for tp in partitions:
            self.seek(tp, 0)

    async def position(self, tp: TopicPartition) -> int:
        """The next offset."""
        return self.states[tp].position

    def last_stable_offset(self, tp: TopicPartition) -> int | None:
        """As the last answer said."""
        return self.states[tp].lso

    async def beginning_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """0."""
        return await self._network.ask("ListOffsets first", lambda: dict.fromkeys(partitions, 0))

    async def end_offsets(self, partitions: list[TopicPartition]) -> dict[TopicPartition, int]:
        """The last stable offsets; uncommitted: the ends."""
        logs = self._network.broker.logs
        return await self._network.ask("ListOffsets end", lambda: {tp: self._end(logs[tp]) for tp in partitions})

    @property
    def _coordinator(self) -> Any:
        """Who knows the group's offsets."""
        return SimpleNamespace(fetch_committed_offsets=self._committed)

    async def _committed(self, partitions: Iterable[TopicPartition]) -> dict[TopicPartition, OffsetAndMetadata]:
        broker = self._network.broker
        found = await self._network.ask("OffsetFetch", lambda: dict(broker.committed.get(self.group_id or "", {})))
        return {tp: OffsetAndMetadata(found[tp], "") for tp in partitions if tp in found}

    async def commit(self, offsets: Mapping[TopicPartition, Any]) -> None:
        """Refused when the group has gone on without this member."""
        if not offsets.keys() <= self.states.keys():
            raise IllegalStateError("not assigned")
        plain = {tp: said.offset for tp, said in offsets.items()}
        group, member, generation = self.group_id or "", self.member, self.generation
        await self._network.ask(
            f"OffsetCommit {group} {sorted(plain.items())}",
            lambda: self._network.broker.commit(group, member, generation, plain),
            connection=f"{member} to the coordinator of {group}",
        )

    async def getmany(
        self, *partitions: TopicPartition, timeout_ms: int = 0, max_records: int | None = None
    ) -> dict[TopicPartition, list[ConsumerRecord]]:
        """Records, and positions behind them; nothing after `timeout_ms` if there is none."""
        chosen = [tp for tp in partitions or sorted(self.states) if self.states[tp].has_valid_position]
        asked = {tp: (self.states[tp], self.states[tp].position) for tp in chosen}
        most = max_records or 500
        answers = await self._network.ask("Fetch", lambda: {tp: self._read(tp, asked[tp][1], most) for tp in chosen})
        found = {}
        for tp, (records, position, stable, end) in answers.items():
            state, before = asked[tp]
            if self.states.get(tp) is state and state.position == before:
                state.position, state.lso, state.highwater = position, stable, end
                if records:
                    found[tp] = records
        if not found and timeout_ms:
            await asyncio.sleep(timeout_ms / 1000)
        return found

    def _read(self, tp: TopicPartition, position: int, most: int) -> tuple[list[ConsumerRecord], int, int, int]:
        """Records, the position behind them, how far it sees, the end. Markers at the end may be passed over now or later."""
        log = self._network.broker.logs[tp]
        end = self._end(log)
        records = []
        for record in log.committed(position) if self._is_committed else log.uncommitted(position):
            if len(records) == most:
                return records, records[-1].offset + 1, end, log.end_offset
            records.append(record)
        passed = not records or self._network.loop.chance.random() < 0.5
        return records, max(position, end) if passed else records[-1].offset + 1, end, log.end_offset

    def _end(self, log: PartitionLog) -> int:
        """How far this one sees."""
        return log.last_stable_offset if self._is_committed else log.end_offset
