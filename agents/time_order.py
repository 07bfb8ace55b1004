"""Several topics in the order of time: each poll takes the oldest records that are at hand, and is read in their order.

In: what the fetcher has at hand, and what a poll has taken of it; the fetches of a poll. Out: more of it, up to as many records
as a poll may take; its records with the fetch of each, by timestamp. Called by the driver's thread, and by intake.

A person's events come by several topics. Of a backlog that is read one topic after the other, the recordings of thousands come
before their register entries: the figures are the same at last, but those people are folded twice, and listed with an anomaly
that is taken back a moment later. Kafka Streams chooses among the partitions of a task by the same rule. It is no promise:
a partition whose records are still on their way does not hold up the others, and timestamps are what senders say.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any, Final, Protocol, TypeVar

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import TopicPartition

from agents.decoding import StoredRecord

SLICE_RECORDS: Final = 50
"""So many are taken of one partition before the next one is chosen."""

Drained = dict[TopicPartition, list[Any]]


class _Fetch(Protocol):
    @property
    def records(self) -> tuple[StoredRecord, ...]: ...


Some = TypeVar("Some", bound=_Fetch)


def by_time(fetches: Iterable[Some]) -> list[tuple[StoredRecord, Some]]:
    """The records of a poll, each with its fetch. What has one timestamp stays in the order of the fetches and their logs."""
    return sorted(((record, fetch) for fetch in fetches for record in fetch.records), key=_when)


def _when(row: tuple[StoredRecord, object]) -> int:
    return row[0].timestamp


class TimeOrder:
    """Of one consumer. aiokafka's fetcher gives out all it has of one partition before the next."""

    def __init__(self) -> None:
        """Of no partition anything was taken."""
        self._reached: dict[TopicPartition, int] = {}

    def oldest_first(self, fetcher: Any) -> None:
        """Let the fetcher's next answer begin with the partition that is farthest behind."""
        buffered = fetcher._records
        for tp in sorted(buffered, key=self._behind):
            buffered[tp] = buffered.pop(tp)

    def take(self, fetcher: Any, drained: Drained, active: Collection[TopicPartition] | None, records_max: int) -> None:
        """Add to what the fetcher gave, slice by slice, without waiting for anything. Errors stay for the next poll."""
        for tp, records in drained.items():
            self._reached[tp] = records[-1].timestamp
        room = records_max - sum(map(len, drained.values()))
        at_hand = {
            tp: result
            for tp, result in fetcher._records.items()
            if type(result) is FetchResult and (not active or tp in active)
        }
        while room > 0 and at_hand:
            tp = min(at_hand, key=self._behind)
            result = at_hand[tp]
            records = result.getall(min(SLICE_RECORDS, room))
            if records:
                drained.setdefault(tp, []).extend(records)
                self._reached[tp] = records[-1].timestamp
                room -= len(records)
            if not result.has_more():
                del at_hand[tp], fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)

    def _behind(self, tp: TopicPartition) -> int:
        return self._reached.get(tp, -1)
