"""A Kafka of three brokers whose nodes can be stopped, lost and replaced.

In: what tests/brokers.py starts. Out: what happens to a node in production. Topics are kept by all three, and a record is
acknowledged when two have it.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Final

from aiokafka.admin import AIOKafkaAdminClient
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaError

from lampit.broker import spawn, wait_until_answers
from tests.brokers import START_SECONDS_MAX, KafkaCluster, _java

NODES: Final = (1, 2, 3)
STOP_SECONDS_MAX: Final = 60.0
REPLICATED_SECONDS_MAX: Final = 120.0

_HEADER: Final = struct.Struct(">qiibih")
_LENGTH_ENDS: Final = 12
_CODECS: Final = (None, "gzip", "snappy", "lz4", "zstd")


class Cluster(KafkaCluster):
    """Three nodes of small heaps."""

    def __init__(self) -> None:
        """Not started. The log cleaner comes round every half second: compaction then falls among the writes."""
        super().__init__(len(NODES), heap="320M", settings={"log.cleaner.backoff.ms": "500"})

    def alive(self) -> list[int]:
        """The nodes that run."""
        return [node for node, process in self._processes.items() if process.poll() is None]

    def stop_node(self, node: int) -> None:
        """SIGTERM: it hands over what it leads, then ends."""
        self._processes[node].send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._processes[node].wait(STOP_SECONDS_MAX)
        self.kill(node)

    def start_nodes(self, *nodes: int) -> None:
        """Start nodes again on their logs and wait until they answer; without a majority none of them would."""
        for node in nodes:
            self.kill(node)
            self._spawn(node)
        for node in nodes:
            wait_until_answers(f"127.0.0.1:{self._ports[node]}", [self._processes[node]], START_SECONDS_MAX)

    def lose(self, node: int) -> None:
        """Kill one node and its disk."""
        self.kill(node)
        shutil.rmtree(self._folder / f"{node}.data")

    def replace(self, node: int) -> None:
        """A new machine in the place of a lost one: an empty log, filled by the others."""
        written = (self._folder / f"{self._other(node)}.data" / "meta.properties").read_text().splitlines()
        cluster_id = next(line.partition("=")[2] for line in written if line.startswith("cluster.id="))
        tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties(node))]
        formatting = spawn(_java("128M") + tool, log=self._folder / f"{node}.log")
        assert formatting.wait() == 0, self.log(node)
        self.start_nodes(node)

    def wait_until_replicated(self) -> None:
        """Every partition has all its replicas in sync: another node can be lost now."""
        deadline = time.monotonic() + REPLICATED_SECONDS_MAX
        while (behind := self._behind()) != 0:
            assert time.monotonic() < deadline, f"{behind} partitions are not in sync"
            time.sleep(0.5)

    def _behind(self) -> int:
        """Partitions not in sync; -1 when the cluster does not say."""
        with suppress(KafkaError):
            admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
            try:
                topics = admin.describe_topics()
            finally:
                admin.close()
            partitions = [partition for topic in topics for partition in topic["partitions"]]
            return sum(len(one["isr_nodes"]) < len(one["replica_nodes"]) for one in partitions)
        return -1

    def coordinator(self, group: str) -> int:
        """The node that coordinates a consumer group."""

        async def ask() -> int:
            admin = AIOKafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
            await admin.start()
            try:
                return int(await admin.find_coordinator(group))
            finally:
                await admin.close()

        return asyncio.run(ask())

    def alter_topic(self, topic: str, config: dict[str, str]) -> None:
        """Set configuration of a topic."""
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=config)])
        finally:
            admin.close()

    def codecs(self, topics: Iterable[str]) -> set[str | None]:
        """What batches of these topics are compressed with, on the disks of the nodes."""
        folders = [folder for topic in topics for folder in self._folder.glob(f"*.data/{topic}-*")]
        return {codec for folder in folders for log in folder.glob("*.log") for codec in _codecs_of(log.read_bytes())}

    def _other(self, node: int) -> int:
        return next(other for other in self.alive() if other != node)


def _codecs_of(segment: bytes) -> Iterator[str | None]:
    """By the headers of its batches (KIP-98): base offset, length, leader epoch, magic, checksum, attributes."""
    begin = 0
    while begin + _HEADER.size <= len(segment):
        _, length, _, _, _, attributes = _HEADER.unpack_from(segment, begin)
        yield _CODECS[attributes & 0b111]
        begin += _LENGTH_ENDS + length
