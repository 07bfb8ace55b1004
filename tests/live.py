"""The whole job as processes on a broker: what the tests of the live path start, feed, kill and ask.

In: a broker, settings, events. Out: coverage as a subscriber sees it. Processes are real ones (`python -m lampit run …`);
waiting is for conditions that the topics themselves show.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import aiokafka
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from kafka.errors import KafkaError
from pydantic import SecretStr

from agents.barrier import day_record, ensure_ledger
from agents.reading import reader
from agents.settings import Settings
from agents.topics import ANOMALIES, COVERAGE, INTAKE_TOPICS, LEDGER, PARTIALS
from lampit import reference
from lampit.broker import free_port
from stream.admission import Admitted, admit
from stream.engine import Engine
from stream.pseudonym import Pseudonymiser
from stream.regions import COUNTRY
from stream.rules import Rules
from tests.brokers import ROOT, Broker

KEY: Final = "a key that only the tests use, 32 bytes or more"
WAIT_SECONDS_MAX: Final = 150.0
SHUTDOWN_SECONDS: Final = 90
"""Of processes that are to end well: they take a moment, on a machine that lets them run."""

Event = dict[str, Any]


def settings_of(broker: Broker, data_dir: Path) -> Settings:
    """Of an agent that a test calls by itself, over one partition."""
    return Settings(
        bootstrap_servers=broker.bootstrap_servers,
        partitions=1,
        data_dir=data_dir,
        pseudonym_key=SecretStr(KEY),
        day_source="manual",
    )


async def settled(settings: Settings, topic: str, partition: int = 0) -> None:
    """Wait until no transaction is open there: one that was ended is so for readers a moment later, with its marker."""
    tp = aiokafka.TopicPartition(topic, partition)
    async with (
        reader(settings) as of_committed,
        reader(settings, isolation_level="read_uncommitted") as of_all,
        asyncio.timeout(WAIT_SECONDS_MAX),
    ):
        while (await of_committed.end_offsets([tp]))[tp] < (await of_all.end_offsets([tp]))[tp]:
            await asyncio.sleep(0.05)


@dataclass
class Process:
    """One `lampit run`, with its log; `name` is that of its store."""

    role: str
    name: str
    popen: subprocess.Popen[bytes]
    log: Path
    port: int

    def kill(self) -> None:
        """SIGKILL, as a power cut would."""
        self.popen.kill()
        self.popen.wait()

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.popen.send_signal(signal.SIGTERM)
        return self.popen.wait(timeout=SHUTDOWN_SECONDS + 30)

    def pause(self) -> None:
        """SIGSTOP: a zombie, once another worker has taken over."""
        self.popen.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        self.popen.send_signal(signal.SIGCONT)


@dataclass
class Live:
    """A ledger on a broker, the processes that count it, and what was sent."""

    broker: Broker
    folder: Path
    partitions: int = 4
    settings: dict[str, str] = field(default_factory=dict)
    processes: list[Process] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    _acknowledged: dict[TopicPartition, int] = field(default_factory=dict)
    """The end of each intake partition, as its records were acknowledged."""

    def environment(self, name: str, port: int) -> dict[str, str]:
        """Settings of one process; each has a store and a web port of its own."""
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith("LAMPIT_")},
            "LAMPIT_BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "LAMPIT_TRANSACTIONS": str(self.broker.transactions).lower(),
            "LAMPIT_PARTITIONS": str(self.partitions),
            "LAMPIT_PSEUDONYM_KEY": KEY,
            "LAMPIT_DAY_SOURCE": "manual",
            "LAMPIT_SESSION_TIMEOUT_SECONDS": "9",
            "LAMPIT_HEARTBEAT_SECONDS": "1",
            "LAMPIT_SHUTDOWN_SECONDS": str(SHUTDOWN_SECONDS),
            "LAMPIT_DATA_DIR": str(self.folder / name),
            "LAMPIT_WEB_PORT": str(port),
            **self.settings,
        }

    def start(
        self, role: str, name: str | None = None, *, program: Sequence[str] = ("lampit", "run"), **more: str
    ) -> Process:
        """Start a process; `name` chooses its store, so that a restart finds it again. more: of its environment alone."""
        name = name or role
        port = free_port()
        log = self.folder / f"{name}-{len(self.processes)}.log"
        with log.open("wb") as stream:
            popen = subprocess.Popen(
                [sys.executable, "-m", *program, role],
                env=self.environment(name, port) | more,
                cwd=ROOT,
                stderr=stream,
                stdout=stream,
            )
        process = Process(role, name, popen, log, port)
        self.processes.append(process)
        return process

    def __enter__(self) -> Self:
        rules = rules_of(self.settings)
        settings = Settings(
            bootstrap_servers=self.broker.bootstrap_servers,
            transactions=self.broker.transactions,
            partitions=self.partitions,
            replication_factor=int(self.settings.get("LAMPIT_REPLICATION_FACTOR", "1")),
            transit_expiry_days=rules.transit_expiry_days,
            leap_birthday=rules.leap_birthday,
            closing_day=rules.closing_day,
            first_period=rules.first_period,
        )
        asyncio.run(ensure_ledger(settings, Pseudonymiser(KEY.encode()).fingerprint, reference.load()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes:
            if process.popen.poll() is None:
                process.resume()
                process.kill()
        if error is not None:
            for process in self.processes:
                print(f"--- {process.log.name}\n{process.log.read_text()[-3000:]}")

    @contextmanager
    def producer(self) -> Iterator[KafkaProducer]:
        """A producer as an office has one."""
        producer = KafkaProducer(
            bootstrap_servers=self.broker.bootstrap_servers,
            enable_idempotence=self.broker.transactions,
            linger_ms=5,
            max_request_size=8 * 1024 * 1024,
        )
        try:
            yield producer
            producer.flush()
        finally:
            producer.close()

    def publish(self, events: Iterable[Event]) -> None:
        """Send events to intake, spread over its topics and partitions."""
        with self.producer() as producer:
            sending = []
            for number, event in enumerate(events):
                self.sent.append(event)
                topic = INTAKE_TOPICS[number % len(INTAKE_TOPICS)]
                sending.append(producer.send(topic, json.dumps(event).encode()))
            self._note_acknowledged(sending)

    def publish_raw(self, payloads: Iterable[bytes | None]) -> None:
        """Send what may not be an event."""
        with self.producer() as producer:
            self._note_acknowledged([producer.send(INTAKE_TOPICS[-1], payload, key=b"any") for payload in payloads])

    def _note_acknowledged(self, sending: Iterable[Any]) -> None:
        """Wait for each record, which raises where one is lost."""
        for future in sending:
            stored = future.get(timeout=WAIT_SECONDS_MAX)
            tp = TopicPartition(stored.topic, stored.partition)
            self._acknowledged[tp] = max(self._acknowledged.get(tp, 0), stored.offset + 1)

    def turn_day(self, day: date) -> dict[int, int]:
        """Append the day to every partition, and wait until it is there; where in each."""
        with self.producer() as producer:
            sending = [
                producer.send(LEDGER, record.value, key=record.key, partition=record.partition)
                for record in (day_record(partition, day) for partition in range(self.partitions))
            ]
            stored = [future.get(timeout=WAIT_SECONDS_MAX) for future in sending]
        return {one.partition: one.offset for one in stored}

    def wait_until_counted(self, as_of: date) -> dict[str, Event]:
        """Wait until every event sent is in the coverage of the country; the newest record of every region."""
        self.wait_until_taken_in()
        ends: dict[int, int] = {}

        def counted() -> bool:
            country = self.coverage().get(COUNTRY)
            if country is None or country["as_of"] != as_of.isoformat():
                return False
            return all(country["position"].get(str(partition), 0) >= end for partition, end in ends.items())

        # Copies of merged persons are in the log by the time the position behind their cause is given out.
        while ends != (ends := self._last_offsets(LEDGER, self.partitions, whole=True)):
            self.wait_until(counted, f"coverage of {as_of} to reach {ends}")
        return self.coverage()

    def wait_until_taken_in(self) -> None:
        """Wait until every record sent is in the ledger or among the rejects."""
        self.wait_until(self._intake_is_done, "intake to take in everything")

    def counted_events(self) -> int:
        """Ledger offsets that the newest heads cover, over all partitions."""
        newest = {
            record.key: json.loads(record.value)["offset"]
            for record in self.read(PARTIALS)
            if record.key[:5] == b"head|"
        }
        return sum(newest.values())

    def wait_until(self, condition: Callable[[], bool], what: str, pause_seconds: float = 0.2) -> None:
        """Wait for a condition, looked at again after each pause, or fail with what was waited for."""
        deadline = time.monotonic() + WAIT_SECONDS_MAX
        while not condition():
            assert time.monotonic() < deadline, f"waited {WAIT_SECONDS_MAX} s for {what}; {self._state()}"
            time.sleep(pause_seconds)

    def _state(self) -> str:
        """How far everything is, for the one who looks for what is stuck."""
        ended = {process.log.name: process.popen.poll() for process in self.processes}
        try:
            records = {
                topic: self._last_offsets(topic, partitions)
                for topic, partitions in ((LEDGER, self.partitions), (PARTIALS, 1), (COVERAGE, 1))
            }
            return f"exit codes {ended}; records {records}; intake at its end: {self._intake_is_done()}"
        except KafkaError as error:
            return f"exit codes {ended}; the broker does not answer: {type(error).__name__}"

    def _intake_is_done(self) -> bool:
        group = f"{self.settings.get('LAMPIT_GROUP_PREFIX', 'lampit')}.intake"
        consumer = KafkaConsumer(bootstrap_servers=self.broker.bootstrap_servers, group_id=group)
        try:
            partitions = [TopicPartition(topic, number) for topic in INTAKE_TOPICS for number in range(self.partitions)]
            ends = consumer.end_offsets(partitions)
            # The embedded broker tells the beginning of its last batch for the end.
            ends = {tp: max(end, self._acknowledged.get(tp, 0)) for tp, end in ends.items()}
            return all((consumer.committed(tp) or 0) >= ends[tp] for tp in partitions if ends[tp])
        finally:
            consumer.close(autocommit=False)

    def _last_offsets(self, topic: str, partitions: int, *, whole: bool = False) -> dict[int, int]:
        """Per partition, the offset behind the last record (markers behind it are nobody's)."""
        last = dict.fromkeys(range(partitions), 0)
        for record in self.read(topic, partitions, whole=whole):
            last[record.partition] = record.offset + 1
        return last

    def read(self, topic: str, partitions: int = 1, *, whole: bool = False) -> list[Any]:
        """All committed records of a topic, by partition and offset.

        A commit is answered before its markers are written, in each partition for itself: until then a reader of committed
        records does not see it. whole: wait for the end of the transactions that are open now, however they end.
        """
        consumer = KafkaConsumer(
            bootstrap_servers=self.broker.bootstrap_servers,
            isolation_level="read_committed",
            auto_offset_reset="earliest",
            fetch_max_wait_ms=50,
        )
        try:
            assigned = [TopicPartition(topic, number) for number in range(partitions)]
            consumer.assign(assigned)
            consumer.seek_to_beginning()
            # The embedded broker tells the beginning of its last batch for the end; with a fetch both tell that of all records.
            by_fetch = whole or not self.broker.transactions
            ends = {} if by_fetch else consumer.end_offsets(assigned)
            records: list[Any] = []
            while any(tp not in ends or consumer.position(tp) < ends[tp] for tp in assigned):
                for batch in consumer.poll(timeout_ms=200).values():
                    records += batch
                for tp in assigned:
                    if tp not in ends and (end := consumer.highwater(tp)) is not None:
                        ends[tp] = end
            return sorted(records, key=lambda record: (record.partition, record.offset))
        finally:
            consumer.close(autocommit=False)

    def coverage(self) -> dict[str, Event]:
        """The newest coverage record of every region."""
        return {record.key.decode(): json.loads(record.value) for record in self.read(COVERAGE)}

    def coverage_on(self, day: date, rollup: Process) -> dict[str, Event]:
        """The record of every region on another day, as the roll-up's API gives it."""
        records = {}
        for region in self.coverage():
            url = f"http://127.0.0.1:{rollup.port}/api/coverage/{region}?as_of={day}"
            try:
                with urllib.request.urlopen(url, timeout=60) as answer:
                    records[region] = json.loads(answer.read())
            except urllib.error.HTTPError as refusal:
                assert refusal.code == 404, refusal.read()
        return records

    def differences(self, as_of: date, live: dict[str, Event]) -> list[str]:
        """Where the live figures are not those of the counting engine over what was sent."""
        expected = expected_coverage(self.sent, as_of, rules_of(self.settings))
        return compare(expected, live)


def rules_of(settings: dict[str, str]) -> Rules:
    """The rules that the settings of the processes stand for."""
    expiry = settings.get("LAMPIT_TRANSIT_EXPIRY_DAYS")
    leap = settings.get("LAMPIT_LEAP_BIRTHDAY", "mar1")
    closing_day, first_period = settings.get("LAMPIT_CLOSING_DAY", "28"), settings.get("LAMPIT_FIRST_PERIOD")
    return Rules(
        int(expiry) if expiry else None,
        "feb28" if leap == "feb28" else "mar1",
        closing_day=int(closing_day),
        first_period=first_period,
    )


def engine_of(events: Iterable[Event], rules: Rules) -> Engine:
    """The engine of `lampit count`, with the events that are accepted."""
    engine = Engine(rules, reference.load())
    pseudonymise = Pseudonymiser(KEY.encode())
    for event in events:
        admitted = admit(json.dumps(event).encode(), pseudonymise)
        if isinstance(admitted, Admitted):
            engine.add(admitted.subject, admitted.event)
    return engine


def expected_coverage(events: Iterable[Event], as_of: date, rules: Rules) -> dict[str, Event]:
    """Coverage by the engine of `lampit count`."""
    return {record["region"]: record for record in engine_of(events, rules).count(as_of).regions}


def assert_anomalies_equal(live: Live, as_of: date) -> None:
    """The newest list of each person is the engine's."""
    engine = engine_of(live.sent, rules_of(live.settings))
    expected: dict[str, set[tuple[str, str, str]]] = {}
    for anomaly in engine.count(as_of).anomalies:
        if anomaly.subject is not None:
            expected.setdefault(anomaly.subject, set()).add((anomaly.source, anomaly.id, anomaly.kind))
    found: dict[str, set[tuple[str, str, str]]] = {}
    for record in live.read(ANOMALIES, live.partitions, whole=True):
        value = json.loads(record.value)
        found[record.key.decode()] = {
            (one["event"]["source"], one["event"]["id"], one["kind"]) for one in value["anomalies"]
        }
    assert {subject: kinds for subject, kinds in found.items() if kinds} == expected


def compare(expected: dict[str, Event], live: dict[str, Event]) -> list[str]:
    """One line a difference; a region that one side does not name counts as nobody there."""
    found = []
    for region in sorted(expected.keys() | live.keys()):
        ours, theirs = expected.get(region), live.get(region)
        for name in ("population", "obliged", "recorded", "recorded_early", "print_ready", "issued", "unrecorded"):
            one = ours[name] if ours else dict.fromkeys(("M", "F", "unknown", "total"), 0)
            other = theirs[name] if theirs else dict.fromkeys(("M", "F", "unknown", "total"), 0)
            if one != other:
                found.append(f"{region} {name}: expected {one}, live {other}")
        if ours and theirs:
            found += [
                f"{region} {name}: expected {ours[name]}, live {theirs[name]}"
                for name in ("coverage", "opening", "stale_denominator", "as_of", "name", "level")
                if ours[name] != theirs[name]
            ]
    return found
