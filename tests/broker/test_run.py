"""`lampit run` on real brokers: the whole way from a file of events to the coverage topic, and the supervisor."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaConsumer, TopicPartition

from agents.topics import COVERAGE
from lampit.broker import free_port
from lampit.run import AGENTS
from tests.broker.workers import wait_for
from tests.brokers import ROOT, Broker

PARTITIONS = 2
READY_SECONDS = 150.0
STOP_SECONDS = 60
DAY = "2019-03-28"
CASES = ROOT / "tests" / "scenarios" / "cases"


class Lampit:
    """The command with the settings of one test, and its `run all`."""

    def __init__(self, broker: Broker, folder: Path) -> None:
        self.folder = folder
        self.broker = broker
        self.port = _free_ports(len(AGENTS))
        self.log = folder / "all.log"
        key = folder / "key"
        key.write_bytes(os.urandom(32).hex().encode() + b"\n")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")}
        self.environment = inherited | {
            "PYTHONPATH": str(ROOT),
            "PYTHONWARNINGS": "ignore",
            "LAMPIT_BOOTSTRAP_SERVERS": broker.bootstrap_servers,
            "LAMPIT_TRANSACTIONS": str(broker.transactions).lower(),
            "LAMPIT_PARTITIONS": str(PARTITIONS),
            "LAMPIT_PSEUDONYM_KEY_FILE": str(key),
            "LAMPIT_WEB_PORT": str(self.port),
            "LAMPIT_DATA_DIR": str(folder / "data"),
            "LAMPIT_DAY_SOURCE": "manual",
            "LAMPIT_SESSION_TIMEOUT_SECONDS": "6",
            "LAMPIT_HEARTBEAT_SECONDS": "1",
            "LAMPIT_SHUTDOWN_SECONDS": str(STOP_SECONDS),
        }

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "lampit", "run", *(arguments or ("all",))],
                env=self.environment,
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def __call__(self, *arguments: str | Path) -> str:
        command = [sys.executable, "-m", "lampit", *map(str, arguments)]
        return subprocess.run(
            command, env=self.environment, cwd=self.folder, capture_output=True, text=True, check=True, timeout=150
        ).stdout

    def ready(self) -> bool:
        return all(self._is_ready(number) for number in range(len(AGENTS)))

    def _is_ready(self, number: int) -> bool:
        try:
            url = f"http://127.0.0.1:{self.port + number}/health/ready"
            with urllib.request.urlopen(url, timeout=20) as answer:
                return bool(json.load(answer)["ready"])
        except OSError:
            return False

    def wait_ready(self, process: subprocess.Popen[bytes]) -> None:
        def is_ready() -> bool:
            assert process.poll() is None, self.log.read_text()
            return self.ready()

        wait_for(is_ready, "all agents are ready", READY_SECONDS)


@pytest.fixture
def lampit(empty_broker: Broker, tmp_path: Path) -> Lampit:
    return Lampit(empty_broker, tmp_path)


@pytest.fixture
def everything(lampit: Lampit) -> Iterator[subprocess.Popen[bytes]]:
    """`lampit run all`, ended with everything it started."""
    process = lampit.start()
    try:
        yield process
    finally:
        if process.poll() is None:
            children = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            process.wait()
            for child in children:
                if child.is_running():
                    child.kill()


def coverage(broker: Broker) -> dict[str, dict[str, Any]]:
    """The newest record of every region on the coverage topic, without epoch and position."""
    consumer = KafkaConsumer(
        bootstrap_servers=broker.bootstrap_servers,
        auto_offset_reset="earliest",
        isolation_level="read_committed" if broker.transactions else "read_uncommitted",
    )
    try:
        partition = TopicPartition(COVERAGE, 0)
        consumer.assign([partition])
        consumer.seek_to_beginning()
        end = consumer.end_offsets([partition])[partition]
        newest: dict[str, dict[str, Any]] = {}
        found = 1
        # The embedded broker tells the beginning of the last batch as the end: read until nothing more comes.
        while found or consumer.position(partition) < end:
            batches = consumer.poll(timeout_ms=500).values()
            found = sum(map(len, batches))
            newest |= {record.key.decode(): json.loads(record.value) for batch in batches for record in batch}
    finally:
        consumer.close()
    for record in newest.values():
        assert record.pop("epoch") == 1
        assert set(record.pop("position")) == {str(number) for number in range(PARTITIONS)}
    return newest


def test_run_all_shows_the_figures_of_count_survives_a_killed_agent_and_stops(
    lampit: Lampit, everything: subprocess.Popen[bytes]
) -> None:
    """One start of the whole system: every case published at once, then a ledger worker killed, then SIGTERM."""
    files = sorted(CASES.glob("*/events.jsonl"))
    events = [file.read_bytes().rstrip(b"\n") for file in files if "balance" not in file.parent.name]
    first, second = lampit.folder / "first.jsonl", lampit.folder / "second.jsonl"
    first.write_bytes(b"\n".join(events[::2]))
    second.write_bytes(b"\n".join(events[1::2]))

    def as_counted(*published: Path) -> dict[str, dict[str, Any]]:
        answer = json.loads(lampit("count", *published, "--as-of", DAY, "--json"))
        return {record["region"]: record for record in answer["regions"]}

    wait_for(lambda: "started" in (lampit.log.read_text() if lampit.log.exists() else ""), "the agents are started")
    lampit("day", DAY)
    lampit.wait_ready(everything)
    assert f"The page will be at http://127.0.0.1:{lampit.port + 2}/\n" in lampit.log.read_text()
    assert lampit("day", "2019-01-01") == f"business day already at {DAY}: nothing appended\n"
    lampit("publish", first)
    expected = as_counted(first)
    assert len(expected) > 4
    wait_for(lambda: coverage(lampit.broker) == expected, "the figures of the first file")

    ledger = _child(everything, "ledger")
    ledger.kill()
    lampit("publish", second)
    expected = as_counted(first, second)
    wait_for(lambda: coverage(lampit.broker) == expected, "the figures of both files")
    assert "ledger: ended with exit code -9; starting it again" in lampit.log.read_text()
    lampit.wait_ready(everything)
    assert {path.name for path in (lampit.folder / "data").iterdir()} == {*AGENTS, "all.lock"}

    children = psutil.Process(everything.pid).children(recursive=True)
    everything.send_signal(signal.SIGTERM)
    assert everything.wait(2 * STOP_SECONDS) == 0, lampit.log.read_text()
    assert "not stopped after" not in lampit.log.read_text(), "an agent hung"
    assert not [child for child in children if child.is_running()]


def test_settings_that_do_not_fit_end_everything_with_2(lampit: Lampit, everything: subprocess.Popen[bytes]) -> None:
    wait_for(lambda: "started" in (lampit.log.read_text() if lampit.log.exists() else ""), "the agents are started")
    lampit.environment |= {"LAMPIT_PARTITIONS": str(PARTITIONS + 1), "LAMPIT_DATA_DIR": str(lampit.folder / "other")}
    for agent in ("all", "ledger"):
        other = lampit.start(agent)
        assert other.wait(150) == 2
    lines = lampit.log.read_text().splitlines()
    assert len([line for line in lines if "set LAMPIT_PARTITIONS to what the topics have" in line]) == 2


def test_agents_end_with_a_killed_supervisor(lampit: Lampit, everything: subprocess.Popen[bytes]) -> None:
    if sys.platform != "linux":
        pytest.skip("only Linux tells children of their parent's end")
    wait_for(lambda: "rollup: started" in (lampit.log.read_text() if lampit.log.exists() else ""), "started")
    children = psutil.Process(everything.pid).children()
    assert len(children) == len(AGENTS)
    everything.kill()
    everything.wait()
    psutil.wait_procs(children, timeout=2 * STOP_SECONDS)
    assert not [child for child in children if child.is_running()]


def _child(everything: subprocess.Popen[bytes], agent: str) -> psutil.Process:
    return next(child for child in psutil.Process(everything.pid).children() if child.cmdline()[-2:] == ["run", agent])


def _free_ports(count: int) -> int:
    """The first of some consecutive free ports."""
    for _ in range(50):
        port = free_port()
        if port + count <= 32_768 and all(_is_free(port + number) for number in range(count)):
            return port
    raise AssertionError("no free ports")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


def test_epochs_that_no_worker_has_come_to_have_numbers_of_their_own(lampit: Lampit) -> None:
    """With one number, an audit and a rotation took the settings of the first: the second corrected a mistake."""
    assert lampit("epoch") == "epoch 2 begun\n"
    lampit.environment["LAMPIT_LEAP_BIRTHDAY"] = "feb28"
    assert lampit("epoch", "--json") == '{"epoch":3}\n'
