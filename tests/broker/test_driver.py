"""The driver under Faust, on real Kafka and on the embedded broker, in processes of its own."""

from __future__ import annotations

import asyncio
import json
import shutil
import signal
import threading
import time
from itertools import groupby
from pathlib import Path

import aiokafka
import pytest
from aiokafka.structs import TopicPartition

from agents.settings import load_settings
from agents.topics import Topic, ensure_topics
from tests.broker.workers import (
    PATIENT_SESSION_SECONDS,
    SHUTDOWN_SECONDS,
    Expected,
    Worker,
    applied,
    assert_contiguous,
    json_lines,
    wait_for,
)
from tests.brokers import Broker
from tests.conftest import KAFKA_FIRST

PARTITIONS = 4
POLL_SECONDS = 1.0
"""Faust's, where there is nothing to fetch."""

FETCHES_MAX = 16
"""Eight wait for the agent, a few are on their way."""

BEGUN = {str(("begin", [0])), str(("begin", []))}
CODECS = (None, "gzip", "snappy", "lz4", "zstd")
PATIENT = {"session_timeout_seconds": PATIENT_SESSION_SECONDS}


def make_topic(broker: Broker, name: str, partitions: int = PARTITIONS) -> str:
    settings = load_settings(bootstrap_servers=broker.bootstrap_servers, transactions=broker.transactions)
    ensure_topics(settings, [Topic(name, partitions, "delete")])
    return name


async def committed(broker: Broker, topic: str) -> dict[int, int | None]:
    consumer = aiokafka.AIOKafkaConsumer(bootstrap_servers=broker.bootstrap_servers, group_id="lampit.driver")
    await consumer.start()
    try:
        return {p: await consumer.committed(TopicPartition(topic, p)) for p in range(PARTITIONS)}
    finally:
        await consumer.stop()


@pytest.mark.parametrize("broker", KAFKA_FIRST, indirect=True)
def test_whole_fetches_in_order_from_where_the_store_stands(broker: Broker, tmp_path: Path) -> None:
    """Every codec, an idle partition, restart, a deleted store, a failing agent: one topic, four worker starts."""
    topic = make_topic(broker, "whole-fetches")
    expected = Expected()
    for codec in CODECS:
        asyncio.run(expected.send(broker, topic, [0, 1, 2], 4000, codec=codec))

    # Patient: a commit that a rebalance refuses is made good by nobody, when nothing comes any more.
    with Worker(broker, tmp_path, "first", [topic], settings=PATIENT) as worker:
        worker.wait_caught_up(PARTITIONS)
        expected.assert_applied(worker.store)
        assert sum(len(rows) for rows in applied(worker.store).values()) < 200, "a fetch holds many records"
        begun = [json.loads(line) for line in (worker.store / "begun").read_text().splitlines()]
        assert {partition for _, partition, _ in begun} == set(range(PARTITIONS)), "the idle partition is begun too"

        # Live, and to the partition that was idle.
        asyncio.run(expected.send(broker, topic, [3], 20))
        wait_for(lambda: 3 in applied(worker.store), "records of the idle partition")
        worker.wait_caught_up(PARTITIONS)
        assert worker.terminate() == 0, f"it ends by itself, not because {SHUTDOWN_SECONDS} s are over"
    expected.assert_applied(worker.store)
    ends = asyncio.run(committed(broker, topic))
    assert ends == {p: rows[-1]["next"] for p, rows in applied(worker.store).items()}

    # The group is committed at the end; the store is gone: all of it again.
    shutil.rmtree(worker.store)
    with Worker(broker, tmp_path, "second", [topic], settings=PATIENT) as worker:
        worker.wait_caught_up(PARTITIONS)
        expected.assert_applied(worker.store)
        assert worker.terminate() == 0

    # The group is committed BEHIND an older store: the store counts, both ways.
    older = tmp_path / "older"
    shutil.copytree(worker.store, older)
    for file in older.iterdir():
        if file.name.isdigit():
            file.write_text("".join(file.read_text().splitlines(keepends=True)[:1]))
    asyncio.run(expected.send(broker, topic, [0], 500))

    # An agent that raises: the process ends, the fetch is neither in the store nor committed, and no payload is shown.
    before = asyncio.run(committed(broker, topic))
    with Worker(broker, tmp_path, "failing", [topic], store=worker.store, fail_at=before[0]) as failing:
        assert failing.wait_exit() == 1
    assert applied(worker.store)[0][-1]["next"] == before[0]
    assert asyncio.run(committed(broker, topic)) == before
    log = failing.log.read_text()
    assert "ending: ValueError" in log and "driver_worker.py" in log
    assert "1605024203190001" not in log

    with Worker(broker, tmp_path, "third", [topic], store=older) as worker:
        worker.wait_caught_up(PARTITIONS)
        expected.assert_applied(older)


def test_join_and_kill_under_load_skip_and_repeat_nothing(kafka: Broker, tmp_path: Path) -> None:
    """Two workers on one store, records all the while; the first is killed. (The embedded broker is for one worker.)"""
    topic = make_topic(kafka, "takeover")
    expected = Expected()
    stop = threading.Event()

    def send_on() -> None:
        while not stop.is_set():
            asyncio.run(expected.send(kafka, topic, list(range(PARTITIONS)), 400))

    store = tmp_path / "store"
    # Patient: a worker that had no time for its heartbeats would give its partitions up, and get them again.
    options = {"store": store, "fetch_seconds": 0.02, "settings": PATIENT}

    def last_workers() -> set[str]:
        return {rows[-1]["worker"] for rows in applied(store).values()}

    sender = threading.Thread(target=send_on)
    sender.start()
    try:
        with Worker(kafka, tmp_path, "one", [topic], **options) as one:
            wait_for(lambda: store.exists() and len(applied(store)) == PARTITIONS, "the first worker applies")
            with Worker(kafka, tmp_path, "two", [topic], **options) as two:
                wait_for(lambda: last_workers() == {"one", "two"}, "the second worker has its share")
                page = wait_for(lambda: one.get("/lag"), "lag of the first worker")
                assert len(page) == PARTITIONS // 2
                one.process.kill()
                wait_for(lambda: last_workers() == {"two"}, "the second worker has all")
                stop.set()
                sender.join()
                two.wait_caught_up(PARTITIONS)
                assert two.terminate() == 0
    finally:
        stop.set()
        sender.join()
    expected.assert_applied(store)
    changes = {p: [name for name, _ in groupby(row["worker"] for row in rows)] for p, rows in applied(store).items()}
    assert all(names == ["one", "two"] for names in changes.values()), "sticky: a partition moves once at most"


def test_what_is_taken_away_is_not_begun_again_before_the_next_assignment(kafka: Broker, tmp_path: Path) -> None:
    """A poll that comes back during a rebalance asks where to begin; it got what had just been closed opened again."""
    topic = make_topic(kafka, "taken-away", 1)
    store = tmp_path / "store"

    def calls(name: str) -> list[tuple[str, list[int]]]:
        return [(what, partitions) for who, what, partitions in json_lines(store / "calls") if who == name]

    def times(name: str) -> list[float]:
        return [at for who, _, at in json_lines(store / "clock") if who == name]

    options, go_on = {"group": "taken-away", "settings": PATIENT}, tmp_path / "go-on"
    with (
        Worker(kafka, tmp_path, "one", [topic], **options) as one,
        Worker(kafka, tmp_path, "two", [topic], **options) as two,
        Worker(kafka, tmp_path, "three", [topic], starts_at=str(go_on), **options),
    ):
        wait_for(lambda: calls("three"), "a third one that could join at once")
        wait_for(
            lambda: one.ready() and two.ready() and {str(calls(name)[-1]) for name in ("one", "two")} == BEGUN,
            "one has the partition, and the other one has heard that it has none",
        )
        active, idle = (one, two) if calls("one")[-1] == ("begin", [0]) else (two, one)
        name = active.log.stem
        before = len(calls(name))
        # The group waits for this one as long as its session lasts: a worker joins and a poll comes back in less.
        idle.process.send_signal(signal.SIGSTOP)
        go_on.touch()
        wait_for(lambda: ("revoked", [0]) in calls(name)[before:], "the partition to be taken away")
        while len(since := calls(name)[before:]) == 1:
            is_ready = active.ready()
            if len(calls(name)) == before + 1:
                assert not is_ready, "it has no partitions, and has not heard that it is to have none"
        assert [what for what, _ in since[:2]] == ["revoked", "assigned"]
        revoked_at, assigned_at = times(name)[before : before + 2]
        assert assigned_at - revoked_at > POLL_SECONDS, "no poll came back in this rebalance"
        wait_for(lambda: ("begin", calls(name)[before + 1][1]) in calls(name)[before:], "what is assigned to begin")
        wait_for(active.ready, "it to be ready again")


def test_an_agent_that_stands_still_holds_up_the_fetches(kafka: Broker, tmp_path: Path) -> None:
    """What is fetched and not yet handled is a few fetches, however much waits in the log: all else would be memory."""
    topic = make_topic(kafka, "back-pressure", 1)
    asyncio.run(Expected().send(kafka, topic, [0], 4_000))
    with Worker(kafka, tmp_path, "stuck", [topic], settings={"max_poll_records": 20}, fetch_seconds=600) as worker:
        seen: list[int] = []

        def stands_still() -> bool:
            """The same for three seconds, and more than nothing."""
            seen.append((worker.get("/fetched") or {}).get("0", 0))
            time.sleep(1.0)
            return seen[-1] > 0 and seen[-4:] == [seen[-1]] * 4

        wait_for(stands_still, "the worker to fetch no more")
        assert 0 < seen[-1] <= 20 * FETCHES_MAX


def test_a_store_beyond_the_log_and_a_failing_begin_end_the_process(kafka: Broker, tmp_path: Path) -> None:
    topic = make_topic(kafka, "beyond")
    asyncio.run(Expected().send(kafka, topic, [0], 10))
    store = tmp_path / "store"
    store.mkdir()
    (store / "0").write_text(json.dumps({"next": 11, "crc": 0}) + "\n")
    with (
        Worker(kafka, tmp_path, "beyond", [topic], store=store) as beyond,
        Worker(kafka, tmp_path, "failing", [topic], group="other", begin_fails=True) as failing,
    ):
        assert beyond.wait_exit() == 1
        assert failing.wait_exit() == 1
    assert "LogMismatch: beyond-0 holds offsets 0 to 10, the store goes on at 11" in beyond.log.read_text()
    assert "ending: ValueError" in failing.log.read_text() and "1605024203190001" not in failing.log.read_text()


def test_markers_and_aborted_records_are_passed_over(kafka: Broker, tmp_path: Path) -> None:
    """Read committed; caught up though the last offset of the log is a marker that never comes as a record."""
    topic = make_topic(kafka, "markers")

    async def send(abort: bool, count: int) -> None:
        producer = aiokafka.AIOKafkaProducer(bootstrap_servers=kafka.bootstrap_servers, transactional_id="markers")
        await producer.start()
        await producer.begin_transaction()
        for number in range(count):
            await producer.send_and_wait(topic, b"%d" % number, partition=0)
        await (producer.abort_transaction() if abort else producer.commit_transaction())
        await producer.stop()

    asyncio.run(send(abort=False, count=3))
    asyncio.run(send(abort=True, count=5))
    with Worker(kafka, tmp_path, "markers", [topic]) as worker:
        worker.wait_caught_up(PARTITIONS)
        assert [row["records"] for row in applied(worker.store)[0]] == [3]
        asyncio.run(send(abort=True, count=2))
        worker.wait_caught_up(PARTITIONS)
        asyncio.run(send(abort=False, count=1))
        wait_for(lambda: len(applied(worker.store)[0]) == 2, "the committed record")
        worker.wait_caught_up(PARTITIONS)
        assert_contiguous(worker.store)
        # 3, marker, 5, marker, 2, marker, then the record at 13.
        assert applied(worker.store)[0][-1]["first"] == 13


def test_without_a_store_the_group_goes_on_at_what_it_committed(kafka: Broker, tmp_path: Path) -> None:
    topic = make_topic(kafka, "stateless")
    expected = Expected()
    asyncio.run(expected.send(kafka, topic, [0, 1], 100))
    # Patient: what is not committed in time because of a rebalance is fetched again.
    options = {"stateless": True, "group": "stateless", "settings": PATIENT}
    with Worker(kafka, tmp_path, "first", [topic], **options) as worker:
        worker.wait_caught_up(PARTITIONS)
        assert worker.terminate() == 0
    asyncio.run(expected.send(kafka, topic, [0, 1], 100))
    with Worker(kafka, tmp_path, "second", [topic], **options) as worker:
        worker.wait_caught_up(PARTITIONS)
        expected.assert_applied(worker.store)
