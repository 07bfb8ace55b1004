"""Starting, watching and ending driver_worker.py processes; making records for them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
import zlib
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiokafka

from lampit.broker import free_port
from tests.brokers import ROOT, Broker

SCRIPT = Path(__file__).with_name("driver_worker.py")

WAIT_SECONDS_MAX = 120.0
"""For what takes seconds on an idle machine: a worker's beginning, or a broker's answer, may stand still for a while."""


def wait_for(condition: Callable[[], Any], what: str, seconds: float = WAIT_SECONDS_MAX) -> Any:
    """The first true value of `condition`."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        value = condition()
        if value:
            return value
        time.sleep(0.05)
    raise AssertionError(f"not within {seconds} s: {what}")


class Worker:
    """One driver_worker.py process."""

    def __init__(self, broker: Broker, folder: Path, name: str, topics: list[str], **options: Any) -> None:
        self.port = free_port()
        self.store = Path(options.pop("store", folder / "store"))
        self.log = folder / f"{name}.log"
        settings = {
            "bootstrap_servers": broker.bootstrap_servers,
            "transactions": broker.transactions,
            "data_dir": str(folder / name),
            "web_port": self.port,
            "session_timeout_seconds": 6,
            "heartbeat_seconds": 1,
            **options.pop("settings", {}),
        }
        arguments = {"settings": settings, "store": str(self.store), "name": name, "group": "driver", "topics": topics}
        environment = {key: value for key, value in os.environ.items() if not key.startswith("LAMPIT_")}
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "ignore", str(SCRIPT), json.dumps(arguments | options)],
                env=environment | {"PYTHONPATH": str(ROOT)},
                stderr=log,
                stdout=log,
            )

    def get(self, path: str) -> Any:
        """The page's JSON; None while there is no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            return json.load(error)
        except OSError:
            return None

    def ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        page = self.get("/health/ready")
        return bool(page and page["ready"])

    def caught_up(self, partitions: int) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        page = self.get("/lag") if self.ready() else None
        return bool(page and len(page) == partitions and not any(page.values()))

    def wait_caught_up(self, partitions: int) -> None:
        wait_for(lambda: self.caught_up(partitions), f"{self.log.name} caught up")

    def wait_exit(self, seconds: float = WAIT_SECONDS_MAX) -> int:
        return self.process.wait(seconds)

    def terminate(self) -> int:
        self.process.terminate()
        return self.wait_exit()

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait()


def applied(store: Path) -> dict[int, list[dict[str, Any]]]:
    """The lines of each partition's store."""
    return {
        int(file.name): [json.loads(line) for line in file.read_text().splitlines()]
        for file in store.iterdir()
        if file.name.isdigit()
    }


def assert_contiguous(store: Path) -> None:
    """No offset left out, none twice, from 0 on."""
    for partition, lines in applied(store).items():
        at = 0
        for line in lines:
            assert line["begin"] == at, (partition, line, at)
            assert line["first"] >= at
            at = line["next"]


class Expected:
    """What was sent: the CRC and number of values of each partition, in order."""

    def __init__(self) -> None:
        self.crc: dict[int, int] = defaultdict(int)
        self.count: dict[int, int] = defaultdict(int)

    async def send(
        self,
        broker: Broker,
        topic: str,
        partitions: list[int],
        count: int,
        *,
        codec: str | None = None,
        size: int = 100,
    ) -> None:
        """Send `count` records spread over the partitions."""
        producer = aiokafka.AIOKafkaProducer(
            bootstrap_servers=broker.bootstrap_servers, compression_type=codec, acks="all", linger_ms=5
        )
        await producer.start()
        try:
            futures = []
            for number in range(count):
                partition = partitions[number % len(partitions)]
                value = b"%d %d " % (self.count[partition], number) + b"x" * size
                futures.append(await producer.send(topic, value, partition=partition))
                self.crc[partition] = zlib.crc32(value, self.crc[partition])
                self.count[partition] += 1
            for future in futures:
                await future
        finally:
            await producer.stop()

    def assert_applied(self, store: Path) -> None:
        assert_contiguous(store)
        lines = applied(store)
        assert {p: sum(line["records"] for line in rows) for p, rows in lines.items()} == self.count
        assert {p: rows[-1]["crc"] for p, rows in lines.items()} == self.crc
