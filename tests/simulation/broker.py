"""A Kafka in memory: logs, transactions and groups, as state that answers at once.

In: requests of clients, in the order in which they reach it. Out: answers, or the errors of aiokafka that stand for Kafka's.
Nothing waits in here and nothing is by chance: when a request arrives, and how long its answer takes, is up to
`tests.simulation.network`. Called by `tests.simulation.clients`.

| guarantee (Kafka's words) | here |
| --- | --- |
| one live producer a transactional.id: InitProducerId bumps the epoch, which fences the older (KIP-98) | `begin_producer` |
| what it left open is aborted first, what it committed is completed first (KIP-98) | `begin_producer` |
| a batch of a fenced epoch, or outside an open transaction, is refused (KIP-98, KIP-890) | `produce` |
| EndTxn decides at once; the markers follow by partition: readers may see one half first (KIP-98) | `write_marker` |
| a transaction open for too long is aborted, and its producer fenced (KIP-98) | `expire` |
| offsets inside a transaction are of the group's generation (KIP-447) | not used: the agents' stores hold the offsets |
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aiokafka.errors import ProducerFenced
from aiokafka.structs import TopicPartition

from tests.simulation.groups import Group
from tests.simulation.log import PartitionLog, Sequence


class ConcurrentTransactions(Exception):
    """The last transaction of this id is still being completed: a client asks again."""


@dataclass
class Coordinated:
    """What the coordinator knows of one transactional.id. state: empty, ongoing, committed, aborted (markers under way)."""

    producer: int
    epoch: int = -1
    state: str = "empty"
    partitions: dict[TopicPartition, None] = field(default_factory=dict)
    began_at: float = 0.0
    timeout_seconds: float = 60.0


class Broker:
    """All topics, transactions and groups."""

    def __init__(self, topics: Mapping[str, int]) -> None:
        """Topics with their number of partitions, empty."""
        self.logs = {
            TopicPartition(topic, number): PartitionLog(topic, number)
            for topic, partitions in topics.items()
            for number in range(partitions)
        }
        self.groups: dict[str, Group] = {}
        self.committed: dict[str, dict[TopicPartition, int]] = {}
        self.transactions: dict[str, Coordinated] = {}
        self._producers = 0

    def log(self, topic: str, partition: int = 0) -> PartitionLog:
        """One partition."""
        return self.logs[TopicPartition(topic, partition)]

    def partitions(self, topic: str) -> list[TopicPartition]:
        """Those of a topic."""
        return [tp for tp in self.logs if tp.topic == topic]

    # Producers.

    def begin_producer(self, transactional_id: str | None, timeout_seconds: float) -> tuple[int, int]:
        """InitProducerId: (producer id, epoch). With a transactional id every older producer of it is fenced."""
        if transactional_id is None:
            self._producers += 1
            return self._producers, 0
        known = self.transactions.get(transactional_id)
        if known is None:
            self._producers += 1
            known = self.transactions[transactional_id] = Coordinated(self._producers)
        if known.state == "ongoing":
            known.epoch += 1
            known.state = "aborted"
        if known.state != "empty":
            raise ConcurrentTransactions
        known.epoch += 1
        known.timeout_seconds = timeout_seconds
        for log in self.logs.values():
            log.forget_sequence(known.producer)
        return known.producer, known.epoch

    def produce(
        self,
        tp: TopicPartition,
        records: list[Any],
        now: float,
        producer: tuple[int, int],
        sequence: Sequence,
        transactional_id: str | None,
    ) -> None:
        """AddPartitionsToTxn and Produce."""
        if transactional_id is not None:
            known = self._of(transactional_id, producer)
            if known.state in ("committed", "aborted"):
                raise ConcurrentTransactions
            if known.state == "empty":
                known.state, known.began_at = "ongoing", now
            known.partitions[tp] = None
        timestamp_ms = timestamp(now)
        self.logs[tp].append(records, timestamp_ms, producer[0], sequence, transactional_id is not None)

    def end_transaction(self, transactional_id: str, producer: tuple[int, int], *, commit: bool) -> None:
        """EndTxn: from here on it is decided. An answer that was lost is given again."""
        known = self._of(transactional_id, producer)
        if known.state == "ongoing":
            known.state = "committed" if commit else "aborted"

    def write_marker(self, transactional_id: str) -> bool:
        """Write the next marker of a decided transaction; whether there was one to write."""
        known = self.transactions[transactional_id]
        if known.state not in ("committed", "aborted"):
            return False
        if known.partitions:
            tp = next(iter(known.partitions))
            del known.partitions[tp]
            self.logs[tp].end(known.producer, known.state)
        if not known.partitions:
            known.state = "empty"
        return True

    def expire(self, now: float) -> None:
        """Abort what has been open for too long."""
        for known in self.transactions.values():
            if known.state == "ongoing" and now - known.began_at > known.timeout_seconds:
                known.epoch += 1
                known.state = "aborted"

    def _of(self, transactional_id: str, producer: tuple[int, int]) -> Coordinated:
        known = self.transactions[transactional_id]
        if producer != (known.producer, known.epoch):
            raise ProducerFenced
        return known

    # Groups.

    def group(self, name: str) -> Group:
        """A group, made when it is first asked for."""
        return self.groups.setdefault(name, Group())

    def commit(self, group: str, member: str, generation: int, offsets: Mapping[TopicPartition, int]) -> None:
        """OffsetCommit of a member; of any other generation than the present one it is refused."""
        self.group(group).require(member, generation)
        self.committed.setdefault(group, {}).update(offsets)


FIRST_SECOND = 1_570_700_000
"""The virtual clock begins on 10 October 2019, so that the days of the workload are not ahead of the broker's."""


def timestamp(now: float) -> int:
    """A virtual time as milliseconds since 1970."""
    return int((FIRST_SECOND + now) * 1000)
