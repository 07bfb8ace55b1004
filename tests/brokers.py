"""The brokers that tests and benchmarks run on: real Apache Kafka, of one node or several, and the embedded one.

Kafka's jars are in .cache/kafka/libs (scripts/kafka-distribution) or in LAMPIT_TEST_KAFKA_LIBS. Each broker listens on
free loopback ports, keeps its log in a folder of its own and ends with the process that started it.
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from kafka import KafkaAdminClient
from kafka.errors import BrokerResponseError

from lampit.broker import BrokerError, free_port, spawn, stop_process, wait_until_answers

ROOT: Final = Path(__file__).resolve().parent.parent
JAVA_VERSION_MIN: Final = 17
TOPIC_CHANGE_SECONDS_MAX: Final = 60.0
START_SECONDS_MAX: Final = 120.0
"""Of nodes that take seconds on an idle machine; one that ends is noticed at once."""


@dataclass(frozen=True)
class Broker:
    """A running broker as a test sees it.

    transactions: whether it knows transactional producers, and idempotent ones, which need the same producer ids.
    """

    name: str
    bootstrap_servers: str
    transactions: bool


def kafka_libs() -> Path:
    """The folder of Kafka's jars."""
    return Path(os.environ.get("LAMPIT_TEST_KAFKA_LIBS") or ROOT / ".cache" / "kafka" / "libs")


def kafka_missing() -> str | None:
    """What keeps Kafka from starting on this machine, in one sentence; None when nothing does."""
    java = shutil.which("java")
    if java is None:
        return f"Java {JAVA_VERSION_MIN} or later is missing (scripts/system-packages installs it)."
    reported = subprocess.run([java, "-version"], capture_output=True, text=True, check=False).stderr
    version = re.search(r'version "(\d+)', reported)
    if version is None or int(version.group(1)) < JAVA_VERSION_MIN:
        return f"Java {JAVA_VERSION_MIN} or later is missing; this is {reported.splitlines()[:1]}."
    if not list(kafka_libs().glob("kafka_*.jar")):
        return f"Kafka's jars are missing in {kafka_libs()} (scripts/kafka-distribution fetches them)."
    return None


class KafkaCluster:
    """Apache Kafka of `size` nodes, each broker and controller; by default a topic is kept by up to three of them.

    Topics are never made by being asked for. A node can be killed and started again on its own log and ports.
    """

    def __init__(self, size: int = 1, *, heap: str = "512M", settings: dict[str, str] | None = None) -> None:
        """`settings`: additions to every node's server.properties."""
        self._size = size
        self._heap = heap
        self._settings = settings or {}
        self._folder = Path()
        self._processes: dict[int, subprocess.Popen[bytes]] = {}
        self._ports: dict[int, int] = {}
        self._more_listeners: dict[str, int] = {}

    @property
    def bootstrap_servers(self) -> str:
        """Every node's address."""
        return ",".join(f"127.0.0.1:{port}" for port in self._ports.values())

    @property
    def broker(self) -> Broker:
        """The cluster as a test sees it."""
        return Broker(name="kafka", bootstrap_servers=self.bootstrap_servers, transactions=True)

    def start(self) -> None:
        """Format the logs, start every node and wait until all answer. Raises BrokerError."""
        missing = kafka_missing()
        if missing:
            raise BrokerError(missing)
        self._folder = Path(tempfile.mkdtemp(prefix="lampit-kafka-"))
        try:
            self._format()
            for node in self._ports:
                self._spawn(node)
            wait_until_answers(self.bootstrap_servers, list(self._processes.values()), START_SECONDS_MAX)
            self._wait_until_registered()
        except BrokerError as error:
            last_lines = self.log(1).splitlines()[-5:]
            self.stop()
            raise BrokerError("\n".join([str(error), *last_lines])) from error
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Kill every node and remove its log: nothing of it is wanted any more."""
        for process in self._processes.values():
            stop_process(process, stop_signal=signal.SIGKILL)
        self._processes.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def kill(self, node: int) -> None:
        """Kill one node, as a power cut would. Nodes are numbered from 1."""
        stop_process(self._processes[node], stop_signal=signal.SIGKILL)

    def pause(self, node: int) -> None:
        """Freeze one node: it holds its connections and answers nothing."""
        self._processes[node].send_signal(signal.SIGSTOP)

    def resume(self, node: int) -> None:
        """Let a frozen node go on."""
        self._processes[node].send_signal(signal.SIGCONT)

    def restart(self, node: int) -> None:
        """Start a killed node again on its own log and wait until it answers."""
        self.kill(node)
        self._spawn(node)
        wait_until_answers(f"127.0.0.1:{self._ports[node]}", [self._processes[node]], START_SECONDS_MAX)

    def log(self, node: int) -> str:
        """What a node has written so far."""
        path = self._folder / f"{node}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def __enter__(self) -> Self:
        """Start."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _format(self) -> None:
        self._ports = {node: free_port() for node in range(1, self._size + 1)}
        controllers = {node: free_port() for node in self._ports}
        voters = ",".join(f"{node}@127.0.0.1:{port}" for node, port in controllers.items())
        cluster_id = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        formatting = []
        for node, port in self._ports.items():
            properties = _server_properties(node, self._size, port, controllers[node], voters, self._folder)
            for name, more in self._more_listeners.items():
                properties["listeners"] += f",{name}://127.0.0.1:{more}"
                properties["advertised.listeners"] += f",{name}://127.0.0.1:{more}"
            lines = [f"{name}={value}\n" for name, value in (properties | self._settings).items()]
            self._properties(node).write_text("".join(lines))
            tool = ["kafka.tools.StorageTool", "format", "-t", cluster_id, "-c", str(self._properties(node))]
            formatting.append(spawn(_java("128M") + tool, log=self._folder / f"{node}.log"))
        if any(process.wait() != 0 for process in formatting):
            raise BrokerError("Kafka's log folders could not be formatted.")

    def _spawn(self, node: int) -> None:
        command = [*_java(self._heap), "kafka.Kafka", str(self._properties(node))]
        self._processes[node] = spawn(command, log=self._folder / f"{node}.log")

    def _wait_until_registered(self) -> None:
        """A node answers before all others know of it; topics of full replication need all."""
        deadline = time.monotonic() + TOPIC_CHANGE_SECONDS_MAX
        admin = KafkaAdminClient(bootstrap_servers=self.bootstrap_servers)
        try:
            while len(admin.describe_cluster()["brokers"]) < self._size:
                if time.monotonic() > deadline:
                    raise BrokerError("Not every node of the cluster was registered in time.")
        finally:
            admin.close()

    def _properties(self, node: int) -> Path:
        return self._folder / f"{node}.properties"


class KafkaBroker(KafkaCluster):
    """Apache Kafka of one node."""

    def __init__(
        self,
        *,
        heap: str = "512M",
        settings: dict[str, str] | None = None,
        more_listeners: dict[str, int] | None = None,
    ) -> None:
        """As KafkaCluster, of size 1. `more_listeners`: names and ports of others than the one that answers in the clear."""
        super().__init__(1, heap=heap, settings=settings)
        self._more_listeners = more_listeners or {}


def topics(bootstrap_servers: str) -> set[str]:
    """The names of the topics that exist, without the broker's own."""
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        return _topics(admin)
    finally:
        admin.close()


def delete_topics(bootstrap_servers: str, names: Iterable[str] | None = None) -> None:
    """Delete the topics (every one but the broker's own), and wait until the broker no longer lists them.

    Of every one: also until no group has an offset any more. The broker forgets those a moment later, and a process that
    begins meanwhile would go on in the new topic where the old one was left.
    """
    deadline = time.monotonic() + TOPIC_CHANGE_SECONDS_MAX
    admin = KafkaAdminClient(bootstrap_servers=bootstrap_servers)
    try:
        doomed = _topics(admin) & (_topics(admin) if names is None else set(names))
        if doomed:
            admin.delete_topics(sorted(doomed))
        while left := _topics(admin) & doomed:
            if time.monotonic() > deadline:
                raise BrokerError(f"The broker still lists {sorted(left)}.")
        while names is None and (groups := _groups_with_offsets(admin)):
            if time.monotonic() > deadline:
                raise BrokerError(f"The broker still has offsets of {groups}.")
    finally:
        admin.close()


def _groups_with_offsets(admin: KafkaAdminClient) -> list[str]:
    groups = [group["group_id"] for group in admin.list_groups()]
    try:
        found = admin.list_group_offsets(groups) if groups else {}
    except BrokerResponseError as error:  # of a coordinator that has just moved, or reads its log yet
        return [f"{groups} ({type(error).__name__})"]
    return sorted(group for group, offsets in found.items() if any(one.offset >= 0 for one in offsets.values()))


def _topics(admin: KafkaAdminClient) -> set[str]:
    return {name for name in admin.list_topics() if not name.startswith("__")}


def _java(heap: str) -> list[str]:
    # One compiler stage and a small collector: a short-lived broker starts in half the time. Output: warnings only.
    fast_start = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Xshare:auto"]
    return ["java", f"-Xmx{heap}", *fast_start, "-Dlog4j2.level=WARN", "-cp", str(kafka_libs().absolute() / "*")]


def _server_properties(
    node: int, size: int, port: int, controller_port: int, voters: str, folder: Path
) -> dict[str, str]:
    replicas = str(min(size, 3))
    in_sync = str(max(1, min(size, 3) - 1))
    return {
        "process.roles": "broker,controller",
        "node.id": str(node),
        "controller.quorum.voters": voters,
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
        "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "log.dirs": str(folder / f"{node}.data"),
        "auto.create.topics.enable": "false",
        "default.replication.factor": replicas,
        "min.insync.replicas": in_sync,
        "offsets.topic.replication.factor": replicas,
        "transaction.state.log.replication.factor": replicas,
        "transaction.state.log.min.isr": in_sync,
        "share.coordinator.state.topic.replication.factor": replicas,
        "share.coordinator.state.topic.min.isr": in_sync,
        # Few partitions for the broker's own topics: they are made when first needed, while a test waits.
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.num.partitions": "4",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        "log.segment.delete.delay.ms": "1000",
        # By default every ten minutes the groups go that have neither members nor offsets; one test looks at which there are.
        "offsets.retention.check.interval.ms": str(24 * 3600 * 1000),
        # A killed or frozen node is given up after three seconds, not nine.
        "broker.heartbeat.interval.ms": "500",
        "broker.session.timeout.ms": "3000",
    }
