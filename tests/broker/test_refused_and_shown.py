"""Bad input is refused one by one and nothing else suffers; what the topic says, the gauge and the page say too."""

from __future__ import annotations

import asyncio
import json
import re
import urllib.request
from collections import Counter
from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

import aiokafka

from agents.decoding import BATCH_BYTES_MAX
from agents.topics import INTAKE_TOPICS, REJECTED
from bench.people import events
from stream.coverage import percent
from tests.bad_input import ALL
from tests.brokers import Broker
from tests.live import Live, Process
from tests.wire import NIK, OTHER_NIK

DAY = date(2019, 3, 28)
REGION = "16.09"
CASE = Path(__file__).parent.parent / "scenarios" / "cases" / "opening-balance-seed-okus" / "events.jsonl"


def test_bad_input_among_good(empty_broker: Broker, tmp_path: Path) -> None:
    """Each bad input gives one rejection with reason, pointer and origin, and one count; the good ones are all counted."""
    good = [json.loads(line) for line in events(300, seed=11)]
    with Live(empty_broker, tmp_path) as live:
        intake = live.start("intake")
        live.start("ledger")
        live.start("rollup")
        live.turn_day(DAY)
        topic = INTAKE_TOPICS[-1]
        expected = {}
        with live.producer() as producer:
            for number, bad in enumerate(ALL):
                sent = producer.send(topic, bad.payload, key=b"the same partition")
                live.sent.append(good[number])
                producer.send(topic, json.dumps(good[number]).encode(), key=b"the same partition")
                origin = sent.get(timeout=90)
                expected[f"{topic}|{origin.partition}|{origin.offset}"] = (bad.reason.value, bad.pointer)
        live.publish(good[len(ALL) :])
        assert not live.differences(DAY, live.wait_until_counted(DAY))
        rejected = {record.key.decode(): json.loads(record.value) for record in live.read(REJECTED)}
        assert {key: (one["reason"], one["pointer"]) for key, one in rejected.items()} == expected
        for key, one in rejected.items():
            assert "|".join(str(part) for part in one["origin"].values()) == key
        counted = {
            reason: float(value)
            for reason, value in re.findall(
                r'lampit_events_total\{outcome="rejected",reason="(\w+)",type=""\} ([0-9.]+)', page(intake, "/metrics")
            )
        }
        assert counted == Counter(bad.reason.value for bad in ALL)
        told = "\n".join(record.value.decode() for record in live.read(REJECTED)) + page(intake, "/metrics")
        told += "".join(process.log.read_text() for process in live.processes)
        assert NIK not in told
        assert OTHER_NIK not in told


async def send_in_one_batch(servers: str, topic: str, values: Iterable[bytes]) -> int:
    """To partition 0, in a batch of their own; the offset of the first."""
    async with aiokafka.AIOKafkaProducer(
        bootstrap_servers=servers, compression_type="zstd", max_batch_size=2 * BATCH_BYTES_MAX
    ) as producer:
        batch = producer.create_batch()
        for value in values:
            assert batch.append(key=None, value=value, timestamp=None) is not None
        metadata = await (await producer.send_batch(batch, topic, partition=0))
        return int(metadata.offset)


def test_each_record_of_a_batch_that_unpacks_to_very_much_is_refused(kafka: Broker, tmp_path: Path) -> None:
    """Some kilobytes on the wire; what comes before and behind it is taken in."""
    before, behind = (json.loads(line) for line in events(2, seed=11))
    large = [bytes(BATCH_BYTES_MAX // 2 + 1), b"{}", bytes(BATCH_BYTES_MAX // 2)]
    topic = INTAKE_TOPICS[-1]
    with Live(kafka, tmp_path) as live:
        live.start("intake")
        live.start("ledger")
        live.start("rollup")
        live.turn_day(DAY)
        found = []
        for values in ([json.dumps(before).encode()], large, [json.dumps(behind).encode()]):
            found.append(asyncio.run(send_in_one_batch(kafka.bootstrap_servers, topic, values)))
        live.sent += [before, behind]
        assert not live.differences(DAY, live.wait_until_counted(DAY))
        rejected = [json.loads(record.value) for record in live.read(REJECTED)]
        assert found == [found[0], found[0] + 1, found[0] + 4]
        assert [(one["reason"], one["origin"]) for one in rejected] == [
            ("unknown_codec", {"topic": topic, "partition": 0, "offset": offset})
            for offset in range(found[1], found[2])
        ]


def test_every_event_moves_topic_gauge_and_page_alike(empty_broker: Broker, tmp_path: Path) -> None:
    """OKU Selatan opens at 270,764 / 213,572 / 78.88 %; then each event moves all three by exactly its effect."""
    steps = [(270_764, 213_572), (270_763, 213_571), (270_763, 213_572), (270_764, 213_573)]
    sent = [json.loads(line) for line in CASE.read_text().splitlines()]
    with Live(empty_broker, tmp_path) as live:
        live.start("intake")
        live.start("ledger")
        rollup = live.start("rollup")
        live.turn_day(DAY)
        for event, (obliged, recorded) in zip(sent, steps, strict=True):
            live.publish([event])
            record = live.wait_until_counted(DAY)[REGION]
            assert (record["obliged"]["total"], record["recorded"]["total"]) == (obliged, recorded)
            live.wait_until(lambda record=record: shown(rollup)["position"] == record["position"], "the page")  # type: ignore[misc]
            assert {name: shown(rollup)[name] for name in record} == record
            assert gauge(rollup, "lampit_obliged") == obliged
            assert gauge(rollup, "lampit_recorded") == recorded
            assert gauge(rollup, "lampit_coverage_ratio") == recorded / obliged
            if event is sent[0]:
                assert percent(recorded, obliged) == "78.88"


def shown(process: Process) -> dict[str, Any]:
    """The record as the page has it."""
    value: dict[str, Any] = json.loads(page(process, f"/api/coverage/{REGION}"))
    return value


def gauge(process: Process, name: str) -> float:
    """A gauge of the region."""
    found = re.search(
        rf'^{name}\{{[^}}]*region="{re.escape(REGION)}"\}} (\S+)$', page(process, "/metrics"), re.MULTILINE
    )
    assert found is not None
    return float(found[1])


def page(process: Process, path: str) -> str:
    """What a process serves."""
    with urllib.request.urlopen(f"http://127.0.0.1:{process.port}{path}", timeout=60) as response:
        return str(response.read().decode())
