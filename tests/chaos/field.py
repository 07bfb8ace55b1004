"""The live agents in the field: several workers of each on three brokers, ended ones started again as an orchestrator would.

In: a cluster, a seed. Out: `Field`, which the faults (tests/chaos/faults.py) are put to while events flow. Waiting is for
conditions that stay true, and meanwhile whatever has ended is started again.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaError as AioKafkaError
from kafka.errors import KafkaError

from agents.topics import INTAKE_TOPICS
from stream.admission import Admitted, admit
from stream.pseudonym import Pseudonymiser
from tests.chaos.cluster import Cluster
from tests.chaos.flow import Flow, Payload, more_changes_of_nik, payloads
from tests.chaos.worker import CRASHED
from tests.live import KEY, Live, Process

PARTITIONS: Final = 4
SESSION_SECONDS: Final = 6
RESTART_SECONDS: Final = 1.0
WAIT_SECONDS_MAX: Final = 180.0
DAYS: Final = (date(2019, 2, 20), date(2019, 3, 1), date(2019, 3, 29))
"""Before the flow, as it begins, after it: with months closed from January on, the second and third close some."""

DAY_BETWEEN: Final = date(2019, 3, 15)
"""Turned by faults that need one more day to turn."""

SENT_AGAIN: Final = 50

WORKERS: Final = ("intake-a", "intake-b", "ledger-a", "ledger-b", "rollup-a", "rollup-b")
REFUSED: Final = 2
_CRASHED = re.compile(rf"^{CRASHED}(\S+)$", re.MULTILINE)
_REASON = re.compile(r"CRITICAL \S+ (ending: \w+[^\[]{0,160})")


@dataclass
class Field(Live):
    """Processes by name: `ledger-a` is a ledger worker with a store of its own.

    down: names that are not to be started again. refusing: names that may end with exit code 2. armed: what a name's next
    starts have in their environment besides the settings. ended: (name, exit code, reason) of what was started again. crashed:
    how often a process ended at a crash point. day: the last one turned while events flow. renumbered: topics and the offset
    from which on positions may begin anew, because the ledger was made anew.
    """

    cluster: Cluster = field(default_factory=Cluster)
    seed: int = 0
    people_events: int = 1_500
    flow_seconds: float = 10.0
    current: dict[str, Process] = field(default_factory=dict)
    down: set[str] = field(default_factory=set)
    refusing: set[str] = field(default_factory=set)
    armed: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    always: dict[str, dict[str, str]] = field(default_factory=dict)
    ended: list[tuple[str, int, str]] = field(default_factory=list)
    crashed: Counter[str] = field(default_factory=Counter)
    flows: list[Flow] = field(default_factory=list)
    day: date = DAYS[1]
    renumbered: dict[str, int] = field(default_factory=dict)
    _ended_at: dict[str, float] = field(default_factory=dict)
    _once: dict[int, dict[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """The settings all processes share."""
        self.partitions = PARTITIONS
        self.settings = {
            "LAMPIT_REPLICATION_FACTOR": "3",
            "LAMPIT_GROUP_PREFIX": f"chaos-{self.folder.name}",
            "LAMPIT_FIRST_PERIOD": "2019-01",
            "LAMPIT_SESSION_TIMEOUT_SECONDS": str(SESSION_SECONDS),
            **self.settings,
        }

    # Processes.

    def run(self, name: str, more: dict[str, str] | None = None) -> Process:
        """Start a worker, or start it again with its store."""
        role = name.partition("-")[0]
        armed = self.armed.get(name)
        once = armed.pop(0) if armed else {}
        extra = {**self.always.get(name, {}), **once, **(more or {})}
        self.down.discard(name)
        process = self.start(role, name, program=("tests.chaos.worker",), PYTHONWARNINGS="ignore", **extra)
        self.current[name] = process
        self._once[process.popen.pid] = once
        return process

    def kill(self, name: str) -> None:
        """SIGKILL; it is started again."""
        self.current[name].kill()

    def remove(self, name: str) -> None:
        """SIGTERM, for good."""
        self.down.add(name)
        self.current[name].stop()

    def take_down(self, name: str) -> None:
        """SIGKILL, and not started again before `run`."""
        self.down.add(name)
        self.current[name].kill()

    def store(self, name: str) -> Path:
        """The folder of a ledger worker's stores."""
        return self.folder / name / "ledger"

    def tend(self) -> None:
        """Start again what has ended, as an orchestrator would."""
        for name, process in list(self.current.items()):
            code = process.popen.poll()
            if code is None or name in self.down:
                continue
            ended_at = self._ended_at.setdefault(f"{name}-{process.popen.pid}", time.monotonic())
            if time.monotonic() - ended_at < RESTART_SECONDS:
                continue
            log = process.log.read_text(errors="replace")
            reason = _REASON.search(log)
            crashed = _CRASHED.findall(log)
            self.crashed.update(crashed)
            if not crashed and (once := self._once[process.popen.pid]):
                # It ended before it came to its point, as one whose machine let it wait too long does: the next one is to.
                self.armed.setdefault(name, []).insert(0, once)
            self.ended.append((name, code, reason[1].strip() if reason else ""))
            assert code != REFUSED or name in self.refusing, f"{name} refused to run:\n{log[-2000:]}"
            self.run(name)

    # Waiting.

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition that stays true; a broker that does not answer meanwhile is asked again."""
        if os.environ.get("CHAOS_TRACE"):
            print(time.strftime("%H:%M:%S"), what, file=sys.stderr, flush=True)
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while True:
            self.tend()
            with suppress(KafkaError, AioKafkaError, OSError):
                if condition():
                    return
            if time.monotonic() > deadline:
                pages = {name: self.answered(name, "/health/ready") for name in self.current}
                self._ask_where_they_are()
                raise AssertionError(f"waited {WAIT_SECONDS_MAX:.0f} s for {what}; ready: {pages}")
            time.sleep(0.2)

    def _ask_where_they_are(self) -> None:
        """Every worker writes the stacks of its threads and tasks to its log."""
        for process in self.current.values():
            if process.popen.poll() is None:
                process.popen.send_signal(signal.SIGUSR1)
        time.sleep(1.0)

    def pause(self, seconds: float) -> None:
        """Let the fault last."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.tend()
            time.sleep(0.1)

    def at(self, share: float) -> None:
        """Wait until that share of the flow is acknowledged."""
        self.wait_until(lambda: self.flows[0].share >= share, f"{share:.0%} of the flow to be acknowledged")

    def answered(self, name: str, path: str) -> Any:
        """The JSON of a worker's page, also of one that is not ready; None while it does not answer."""
        try:
            url = f"http://127.0.0.1:{self.current[name].port}{path}"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as refusal:
            with suppress(ValueError):
                return json.load(refusal)
        except OSError:
            pass
        return None

    def is_ready(self, name: str) -> bool:
        """What /health/ready says."""
        page = self.answered(name, "/health/ready")
        return bool(page and page["ready"])

    def partitions_of(self, name: str) -> int:
        """How many partitions a worker says it has begun, by its metrics."""
        try:
            url = f"http://127.0.0.1:{self.current[name].port}/metrics"
            with urllib.request.urlopen(url, timeout=10) as answer:
                return sum(line.startswith(b"lampit_position{") for line in answer)
        except OSError:
            return 0

    def active_rollup(self) -> str:
        """The roll-up that gives figures out."""
        found: list[str] = []

        def is_found() -> bool:
            found[:] = [name for name in self.current if name.startswith("rollup") and self.is_ready(name)]
            return bool(found)

        self.wait_until(is_found, "a roll-up to be ready")
        return found[0]

    # The run.

    def begin(self) -> None:
        """Workers up, the first events counted, the second day turned, the flow begun."""
        before, during = payloads(self.seed, self.people_events)
        for name in WORKERS:
            self.run(name)
        self.turn_day(DAYS[0])
        self.send([*before], seconds=0.0)
        self.at(1.0)
        self.flows[0].stop()
        self.wait_until_counted(DAYS[0])
        self.turn_day(DAYS[1])
        self.send(during, seconds=self.flow_seconds, first=True)

    def send(self, sent: list[Payload], *, seconds: float, first: bool = False) -> None:
        """Send beside what goes on; `first`: the flow whose share `at` waits for."""
        flow = Flow(
            self.broker.bootstrap_servers,
            sent,
            self.seed + len(self.flows),
            partitions=self.partitions,
            pause_seconds=seconds / 25,
        )
        self.flows.insert(0 if first else len(self.flows), flow)
        flow.begin()

    def send_more(self) -> None:
        """Some events again, and changes of NIK that are new: a worker has copies for other partitions to send then."""
        again = self.flows[0].sent[:SENT_AGAIN]
        changes = more_changes_of_nik(self.seed, self.people_events, len(self.flows))
        self.send([*again, *changes], seconds=2.0)

    def finish(self) -> dict[str, Any]:
        """All sent, counted, the last day turned; the coverage of every region."""
        self.wait_until(lambda: all(flow.share >= 1.0 for flow in self.flows), "everything to be acknowledged")
        self.sent = [json.loads(payload) for flow in self.flows for payload in flow.sent if is_accepted(payload)]
        self.wait_until_counted(self.day)
        self.turn_day(DAYS[2])
        return self.wait_until_counted(DAYS[2])

    def turn_between(self) -> None:
        """Turn a day more before the last, once all is counted: copies that are under way belong to the day after."""
        self.wait_until(lambda: all(flow.share >= 1.0 for flow in self.flows), "everything to be acknowledged")
        self.wait_until_counted(self.day)
        self.day = DAY_BETWEEN
        self.turn_day(self.day)

    def stop(self) -> None:
        """End what sends."""
        for flow in self.flows:
            flow.stop()

    def intake_group(self) -> str:
        """The consumer group of intake."""
        return f"{self.settings['LAMPIT_GROUP_PREFIX']}.intake"

    def intake_records(self) -> list[Any]:
        """Every record in the intake topics; by aiokafka, which reads every codec."""

        async def read() -> list[Any]:
            places = [TopicPartition(topic, number) for topic in INTAKE_TOPICS for number in range(self.partitions)]
            records: list[Any] = []
            async with AIOKafkaConsumer(
                bootstrap_servers=self.broker.bootstrap_servers, auto_offset_reset="earliest"
            ) as consumer:
                consumer.assign(places)
                ends = await consumer.end_offsets(places)
                for place in places:
                    while await consumer.position(place) < ends[place]:
                        records += (await consumer.getmany(place, timeout_ms=200)).get(place, ())
            return records

        return asyncio.run(read())


def is_accepted(payload: Payload) -> bool:
    """Whether intake is to take it: the rest is bad on purpose."""
    return isinstance(admit(payload, Pseudonymiser(KEY.encode())), Admitted)
