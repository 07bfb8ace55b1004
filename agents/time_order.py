"""Several topics in the order of time: each poll takes the oldest records that are at hand, and is read in their order.

In: what the fetcher has at hand, and what a poll has taken of it; the fetches of a poll. Out: more of it, up to as many records
as a poll may take; its records with the fetch of each, by timestamp. Called by the driver's thread, and by intake.

A person's events come by several topics. Of a backlog that is read one topic after the other, the recordings of thousands come
before their register entries: the figures are the same at last, but those people are folded twice, and listed with an anomaly
that is taken back a moment later. Kafka Streams chooses among the partitions of a task by the same rule. It is no promise:
a partition whose records are still on their way does not hold up the others, and timestamps are what senders say. So nobody
waits for ever behind timestamps that are always older, and no more than a few large batches are open at once.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, Protocol, TypeVar

from aiokafka.consumer.fetcher import FetchResult
from aiokafka.structs import TopicPartition

from agents.decoding import StoredRecord, open_bytes

SLICE_RECORDS: Final = 50
"""So many are taken of one partition before the next one is chosen."""

OVERDUE_SECONDS: Final = 1.0
"""What waits at hand that long behind older records has its turn, of a quarter of a poll."""

OPEN_BYTES_MAX: Final = 32 * 1024 * 1024
"""Of unpacked batches, which are in memory until their last record is taken: with more, no other one is begun."""

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
        self._waits_since: dict[TopicPartition, float] = {}

    def oldest_first(self, fetcher: Any, now: float) -> None:
        """Let the fetcher's next answer begin with the partition whose turn it is. Errors come first: they end the process."""
        at_hand = _at_hand(fetcher, None)
        self._waits_since = {tp: self._waits_since.get(tp, now) for tp in at_hand}
        begun, buffered = _begun_enough(at_hand), fetcher._records
        for tp in sorted(at_hand, key=lambda tp: (tp not in begun, self._turn(tp, now))):
            buffered[tp] = buffered.pop(tp)

    def take(
        self, fetcher: Any, drained: Drained, active: Collection[TopicPartition] | None, records_max: int, now: float
    ) -> None:
        """Add to what the fetcher gave, slice by slice, without waiting for anything. Errors stay for the next poll."""
        for tp, records in drained.items():
            self._served(tp, records, now)
        room = records_max - sum(map(len, drained.values()))
        at_hand = _at_hand(fetcher, active)
        while room > 0 and at_hand:
            tp = min(_begun_enough(at_hand), key=lambda tp: self._turn(tp, now))
            most = max(SLICE_RECORDS, records_max // 4) if self._is_overdue(tp, now) else SLICE_RECORDS
            result = at_hand[tp]
            records = result.getall(min(most, room))
            if records:
                drained.setdefault(tp, []).extend(records)
                room -= len(records)
                self._served(tp, records, now)
            if not result.has_more():
                del at_hand[tp], fetcher._records[tp]
                fetcher._notify(fetcher._wait_consume_future)

    def _served(self, tp: TopicPartition, records: list[Any], now: float) -> None:
        self._reached[tp] = records[-1].timestamp
        self._waits_since[tp] = now

    def _turn(self, tp: TopicPartition, now: float) -> tuple[bool, int]:
        """The lowest comes first: what waits too long, then what is farthest behind."""
        return not self._is_overdue(tp, now), self._reached.get(tp, -1)

    def _is_overdue(self, tp: TopicPartition, now: float) -> bool:
        return now - self._waits_since.get(tp, now) > OVERDUE_SECONDS


def _at_hand(fetcher: Any, active: Collection[TopicPartition] | None) -> dict[TopicPartition, Any]:
    return {
        tp: result
        for tp, result in fetcher._records.items()
        if type(result) is FetchResult and (not active or tp in active)
    }


def _begun_enough(at_hand: Mapping[TopicPartition, Any]) -> Mapping[TopicPartition, Any]:
    """All of them; while more is unpacked than may be, those of which it is."""
    if sum(open_bytes(result) for result in at_hand.values()) <= OPEN_BYTES_MAX:
        return at_hand
    return {tp: result for tp, result in at_hand.items() if open_bytes(result)}
