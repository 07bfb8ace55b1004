"""A poll of several topics takes the oldest records first, from aiokafka's own fetch results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka.consumer.fetcher import FetchError, FetchResult
from aiokafka.errors import KafkaError
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.structs import TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from agents import decoding
from agents.decoding import TolerantPartitionRecords
from agents.time_order import OPEN_BYTES_MAX, OVERDUE_SECONDS, SLICE_RECORDS, TimeOrder, by_time

BIRTHS, RECORDINGS = TopicPartition("births", 0), TopicPartition("recordings", 0)
EVERYTHING = 10**6

Timestamps = Mapping[TopicPartition, Sequence[int]]


class Assignment:
    """What a fetch result asks of a subscription's assignment."""

    active = True

    def __init__(self, partitions: Timestamps) -> None:
        self.states = {tp: State() for tp in partitions}

    def state_value(self, tp: TopicPartition) -> State:
        return self.states[tp]


class State:
    """The position of one partition."""

    paused = False

    def __init__(self) -> None:
        self.position = 0

    def consumed_to(self, position: int) -> None:
        self.position = position


def batch(timestamps: Sequence[int], value: bytes, codec: int) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=codec,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=2**30,
    )
    for number, timestamp in enumerate(timestamps):
        assert builder.append(number, timestamp, None, value, []) is not None
    return bytes(builder.build())


def fetcher_of(partitions: Timestamps, value: bytes = b"-", codec: int = 0) -> Any:
    """A fetcher with these records at hand; it counts how often a partition was used up."""
    told: list[Any] = []
    fetcher = SimpleNamespace(
        _records={}, _wait_consume_future=None, _notify=told.append, told=told, assignment=Assignment(partitions)
    )
    for tp, timestamps in partitions.items():
        refill(fetcher, tp, timestamps, value, codec)
    return fetcher


def refill(fetcher: Any, tp: TopicPartition, timestamps: Sequence[int], value: bytes = b"-", codec: int = 0) -> None:
    """What a fetch brings of a partition that is used up."""
    fetcher.assignment.states[tp].position = 0
    records = MemoryRecords(batch(timestamps, value, codec))
    read = TolerantPartitionRecords(tp, records, [], 0, None, decoding.as_read, True, 0)
    fetcher._records[tp] = FetchResult(tp, assignment=fetcher.assignment, partition_records=read, backoff=0)


def poll(fetcher: Any, order: TimeOrder, records_max: int, now: float = 0.0) -> dict[TopicPartition, list[int]]:
    """The timestamps that a poll brings, all but the fetcher's own first slice."""
    drained: dict[TopicPartition, list[Any]] = {}
    order.oldest_first(fetcher, now)
    order.take(fetcher, drained, None, records_max, now)
    return {tp: [record.timestamp for record in records] for tp, records in drained.items()}


def polls(fetcher: Any, order: TimeOrder, records_max: int) -> list[dict[TopicPartition, list[int]]]:
    """Each poll, until nothing is at hand."""
    found = []
    while fetcher._records:
        found.append(poll(fetcher, order, records_max))
    return found


@given(
    ages=st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=40), min_size=1, max_size=5),
    records_max=st.integers(1, 60),
)
def test_every_record_is_given_out_once_and_in_its_partitions_order(ages: list[list[int]], records_max: int) -> None:
    partitions = {TopicPartition("any", number): timestamps for number, timestamps in enumerate(ages)}
    fetcher = fetcher_of(partitions)
    found = polls(fetcher, TimeOrder(), records_max)
    for tp, timestamps in partitions.items():
        assert [one for poll in found for one in poll.get(tp, [])] == timestamps
        assert fetcher.assignment.states[tp].position == len(timestamps)
    assert max(sum(map(len, poll.values())) for poll in found) <= records_max
    assert len(fetcher.told) == len(partitions), "what is used up is fetched anew"


@given(st.lists(st.lists(st.integers(0, 5), max_size=20), max_size=5))
def test_a_poll_is_read_by_time_and_within_a_moment_as_its_logs_are(ages: list[list[int]]) -> None:
    fetches = [SimpleNamespace(records=tuple(SimpleNamespace(timestamp=age) for age in each)) for each in ages]
    found = by_time(fetches)
    assert [record.timestamp for record, _ in found] == sorted(age for each in ages for age in each)
    for moment in range(6):
        told = [id(record) for fetch in fetches for record in fetch.records if record.timestamp == moment]
        assert [id(record) for record, _ in found if record.timestamp == moment] == told
    assert all(any(record is one for one in fetch.records) for record, fetch in found)


def test_of_a_long_backlog_no_topic_runs_ahead() -> None:
    """Two births to a recording: by number of records the recordings would be over halfway through the births."""
    partitions = {RECORDINGS: range(0, 40_000, 4), BIRTHS: range(0, 40_000, 2)}
    order = TimeOrder()
    reached = dict.fromkeys(partitions, 0)
    for poll in polls(fetcher_of(partitions), order, 2_000):
        reached |= {tp: timestamps[-1] for tp, timestamps in poll.items()}
        assert abs(reached[BIRTHS] - reached[RECORDINGS]) <= 4 * SLICE_RECORDS


def test_the_fetchers_own_answer_begins_with_the_oldest() -> None:
    fetcher, order = fetcher_of({BIRTHS: range(100), RECORDINGS: range(100)}), TimeOrder()
    drained = {BIRTHS: fetcher._records[BIRTHS].getall(10)}
    order.take(fetcher, drained, {BIRTHS}, 10, 0.0)
    order.oldest_first(fetcher, 0.0)
    assert list(fetcher._records) == [RECORDINGS, BIRTHS]


def test_what_is_not_asked_for_and_what_went_wrong_stay() -> None:
    """An error is raised by the fetcher's own answer, before all else: raised here, it would lose the records of this poll."""
    fetcher, order = fetcher_of({BIRTHS: range(10), RECORDINGS: range(10)}), TimeOrder()
    error = TopicPartition("births", 1)
    fetcher._records[error] = FetchError(error=KafkaError(), backoff=0)
    drained: dict[TopicPartition, list[Any]] = {}
    order.take(fetcher, drained, {BIRTHS, error}, EVERYTHING, 0.0)
    assert list(drained) == [BIRTHS]
    order.oldest_first(fetcher, 0.0)
    assert list(fetcher._records) == [error, RECORDINGS]
    with pytest.raises(KafkaError):
        fetcher._records[error].check_raise()


@pytest.mark.parametrize("records_max", [1, 2_000])
def test_nobody_waits_for_ever_behind_records_that_are_always_older(records_max: int) -> None:
    """A topic is filled with events of long ago as fast as they are taken in: what comes now has its turn all the same."""
    live, now = range(10**9, 10**9 + 1000), 0.0
    fetcher, order = fetcher_of({BIRTHS: range(100), RECORDINGS: live}), TimeOrder()
    taken, waited = 0, []
    since = now
    while taken < 20:
        now += OVERDUE_SECONDS / 4
        if BIRTHS not in fetcher._records:
            refill(fetcher, BIRTHS, range(100))
        order.oldest_first(fetcher, now)
        first = next(iter(fetcher._records))
        drained = {first: fetcher._records[first].getall(min(SLICE_RECORDS, records_max))}
        order.take(fetcher, drained, None, records_max, now)
        if found := len(drained.get(RECORDINGS, [])):
            taken += found
            waited.append(now - since)
            since = now
    assert max(waited) <= 2 * OVERDUE_SECONDS


def test_few_large_batches_are_unpacked_at_once() -> None:
    """Each is in memory until its last record is taken: of 24 partitions that may be more than a machine has."""
    value, count = b"-" * 100_000, 200
    partitions = {TopicPartition("any", number): range(count) for number in range(12)}
    fetcher, order = fetcher_of(partitions, value, codec=4), TimeOrder()
    most, taken = 0, 0
    while fetcher._records:
        taken += sum(map(len, poll(fetcher, order, SLICE_RECORDS, now=float(taken)).values()))
        most = max(most, sum(decoding.open_bytes(result) for result in fetcher._records.values()))
    assert taken == count * len(partitions)
    assert count * len(value) < most <= OPEN_BYTES_MAX + 2 * count * len(value)
