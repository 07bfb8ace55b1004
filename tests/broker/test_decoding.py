"""Batches nobody can read: Kafka refuses them, the embedded broker stores some; a consumer passes them, and says so."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable

import aiokafka
import pytest
from aiokafka.errors import KafkaError
from aiokafka.record.util import calc_crc32c_py
from aiokafka.structs import ConsumerRecord

from agents import decoding
from agents.decoding import UndecodableRecord
from agents.settings import load_settings
from agents.topics import Topic, ensure_topics
from tests.brokers import Broker

ATTRIBUTES, CRC, RECORDS = slice(21, 23), slice(17, 21), slice(61, None)
LZ4 = 3
UNPACKED_BYTES_MAX = 2**20


def wrong_checksum(batch: bytearray) -> None:
    batch[-3] ^= 0xFF


def damaged_payload(batch: bytearray) -> None:
    batch[ATTRIBUTES] = struct.pack(">h", LZ4)
    batch[RECORDS] = b"\xff" * (len(batch) - RECORDS.start)
    batch[CRC] = struct.pack(">I", calc_crc32c_py(bytes(batch[ATTRIBUTES.start :])))


async def send(producer: aiokafka.AIOKafkaProducer, topic: str, spoil: Callable[[bytearray], None] | None) -> bool:
    batch = producer.create_batch()
    for number in range(5):
        batch.append(key=None, value=b"%d" % number, timestamp=None)
    build = batch._build

    def spoiled() -> bytes:
        content = bytearray(build())
        if spoil is not None:
            spoil(content)
        return bytes(content)

    batch._build = spoiled
    try:
        await (await producer.send_batch(batch, topic, partition=0))
    except KafkaError:
        return False
    return True


def stand_ins(first: int, behind: int, most: int) -> list[tuple[int, int]]:
    """What each stands for: an offset, the last of too many for all that are left."""
    offsets = list(range(first, behind))[:most]
    return list(zip(offsets, [*offsets[1:], behind], strict=True))


@pytest.mark.parametrize("stand_ins_max", [decoding.STAND_INS_MAX, 3])
def test_a_batch_nobody_can_read_is_a_record_for_each_offset_and_the_next_ones_follow(
    broker: Broker, stand_ins_max: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond so many the last one is for all the rest: a header may say anything."""
    monkeypatch.setattr(decoding, "STAND_INS_MAX", stand_ins_max)
    topic = f"spoiled-{stand_ins_max}"
    decoding.install()
    settings = load_settings(bootstrap_servers=broker.bootstrap_servers, transactions=broker.transactions)
    ensure_topics(settings, [Topic(topic, 1, "delete")])

    async def use() -> tuple[list[bool], list[ConsumerRecord]]:
        async with aiokafka.AIOKafkaProducer(bootstrap_servers=broker.bootstrap_servers) as producer:
            stored = [await send(producer, topic, spoil) for spoil in (None, wrong_checksum, damaged_payload, None)]
        records: list[ConsumerRecord] = []
        good = 10
        async with aiokafka.AIOKafkaConsumer(
            topic, bootstrap_servers=broker.bootstrap_servers, auto_offset_reset="earliest", max_poll_records=3
        ) as consumer:
            async with asyncio.timeout(60):
                while sum(not isinstance(record, UndecodableRecord) for record in records) < good:
                    for rows in (await consumer.getmany(timeout_ms=200)).values():
                        records.extend(rows)
        return stored, records

    stored, records = asyncio.run(use())
    spoiled = [
        (record.offset, record.next_offset, record.error) for record in records if type(record) is UndecodableRecord
    ]
    if broker.name == "kafka":
        assert stored == [True, False, False, True] and spoiled == []
    else:
        assert stored == [True] * 4
        assert spoiled == [
            (offset, behind, error)
            for first, error in ((5, "the checksum does not match"), (10, "DecompressionError"))
            for offset, behind in stand_ins(first, first + 5, stand_ins_max)
        ]
    assert [record.value for record in records if type(record) is ConsumerRecord] == [b"%d" % n for n in range(5)] * 2


@pytest.mark.parametrize("codec", ["zstd", "lz4", "gzip"])
def test_a_small_batch_that_unpacks_to_very_much_is_not_unpacked(
    kafka: Broker, codec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker without that much memory would be killed, started again, and killed at the same place."""
    monkeypatch.setattr(decoding, "BATCH_BYTES_MAX", UNPACKED_BYTES_MAX)
    decoding.install()
    settings = load_settings(bootstrap_servers=kafka.bootstrap_servers)
    ensure_topics(settings, [Topic(codec, 1, "delete")])

    async def use() -> list[ConsumerRecord]:
        async with aiokafka.AIOKafkaProducer(
            bootstrap_servers=kafka.bootstrap_servers,
            compression_type=codec,
            max_batch_size=2 * UNPACKED_BYTES_MAX,
        ) as producer:
            for value in (bytes(UNPACKED_BYTES_MAX), b"behind it"):
                batch = producer.create_batch()
                batch.append(key=None, value=value, timestamp=None)
                await (await producer.send_batch(batch, codec, partition=0))
        records: list[ConsumerRecord] = []
        async with aiokafka.AIOKafkaConsumer(
            codec, bootstrap_servers=kafka.bootstrap_servers, auto_offset_reset="earliest"
        ) as consumer:
            while len(records) < 2:
                for rows in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(rows)
        return records

    large, behind = asyncio.run(use())
    assert isinstance(large, UndecodableRecord)
    assert (large.offset, large.next_offset) == (0, 1)
    assert behind.value == b"behind it"
