"""One run: processes on the simulated Kafka, what is done to them, and the wait until everything is at rest.

In: a seed. Out: `World`, with the broker's logs as they are in the end. The agents' modules run as they are; put in their place
for the time of a run are aiokafka's two clients, Faust's app, the clock, chance, and RocksDB's three classes. Called by
`tests.simulation.run`.
"""

from __future__ import annotations

import asyncio
import logging
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from random import Random
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import aiokafka

from agents import archive, intake, ledger, rollup
from agents.barrier import day_record, ensure_ledger, rules_of
from agents.errors import Fenced, LostWrite
from agents.producer import Record
from agents.settings import Settings
from agents.topics import CLOSINGS, COVERAGE, INTAKE_TOPICS, LEDGER, PARTIALS, topics_of
from lampit import reference
from stream.pseudonym import Pseudonymiser
from stream.rules import Rules
from tests.live import KEY
from tests.simulation import app as simulated
from tests.simulation import epoch, readiness, workload
from tests.simulation.broker import FIRST_SECOND, Broker, timestamp
from tests.simulation.clients import SimulatedConsumer, SimulatedProducer
from tests.simulation.disk import Checkpoint, Disks, WriteBatch
from tests.simulation.faults import NEVER, Faults, steps
from tests.simulation.loop import OWNER, Died, Loop, Owner, Trace
from tests.simulation.network import Network, Weather

TOPICS: Final = {"intake": INTAKE_TOPICS, "ledger": (LEDGER,), "rollup": (PARTIALS,), "archive": (LEDGER, CLOSINGS)}
NAMES: Final = ("intake-a", "intake-b", "ledger-a", "ledger-b", "rollup-a", "rollup-b")
FAULT_SECONDS: Final = 30.0
"""Events, days and faults come in this time."""

REST_SECONDS_MAX: Final = 300.0
"""After it, in fair weather, everything has to come to rest in this time: longer than every timeout there is."""

TICK_SECONDS: Final = 0.25
TURN_SECONDS: Final = 1.0
TURNS_TAKEN: Final = 0.02
"""Of others while everybody is folded again for a balance, or months are closed: after some persons, cells and regions."""

CLOCKED: Final = (
    "intake",
    "ledger",
    "rollup",
    "desk",
    "closings",
    "metrics",
    "standby",
    "saving",
    "snapshots",
    "health",
    "upstream",
)
"""The agents' modules that look at a clock."""

COPIES_SHARE: Final = 0.3
"""Of seeds: there the ledger workers keep warm copies of each other's partitions."""

SNAPSHOTS_SHARE: Final = 0.2
SNAPSHOT_SECONDS: Final = 3
"""Of seeds: there the ledger workers save their stores, and begin with what was saved where they have none."""

FIRST_PERIOD: Final = "2019-01"
EXPECTED: Final = (Fenced, LostWrite, TimeoutError)
"""What a process may end by when its network fails it; anything else is a defect."""


class World:
    """The processes of one seed."""

    def __init__(self, seed: int, folder: Path, *, faults: Faults | None = None, keep_trace: bool = False) -> None:
        """Nothing started."""
        self.chance = Random(seed)
        self.trace = Trace(keep_trace)
        self.loop = Loop(self.chance, self.trace)
        self.loop.on_end = self._ended
        self.faults = Faults.chosen(self.chance) if faults is None else faults
        self.partitions = self.chance.choice((1, 2, 3))
        self.folder = folder
        self._shared = Settings(
            partitions=self.partitions,
            day_source="manual",
            first_period=FIRST_PERIOD,
            closing_day=28,
            standby_partitions="all" if self.chance.random() < COPIES_SHARE else None,
            snapshot_url=str(folder / "snapshots") if self.chance.random() < SNAPSHOTS_SHARE else None,
            snapshot_seconds=SNAPSHOT_SECONDS,
        )
        self.epoch = epoch.Change(seed, FAULT_SECONDS)
        self.defects: list[str] = []
        self.lives: dict[str, int] = dict.fromkeys(NAMES, 0)
        self.running: dict[str, Owner] = {}
        self.apps: dict[Owner, simulated.App] = {}
        self.readiness = readiness.Watch(self)
        self.disks = Disks(self._maybe_end_here, OWNER.get)
        self.fair = False
        weather = Weather(self.faults.slow_share, self.faults.slow_seconds_max)
        self.broker = Broker({topic.name: topic.partitions for topic in topics_of(self._shared)})
        self.network = Network(self.loop, self.broker, weather)
        self.days = workload.days(self.chance)
        self.sent: dict[tuple[str, int, int], bytes | None] = {}

    def _settings(self, name: str) -> Settings:
        return self._shared.model_copy(update={"data_dir": self.folder / name})

    # Processes.

    def start(self, name: str) -> None:
        """A new life of a process."""
        self.lives[name] += 1
        owner = self.running[name] = self.loop.owner(f"{name}.{self.lives[name]}")
        self.readiness.begin(owner)
        owner.dies_at = NEVER if self.fair else steps(self.chance, self.faults.crash_share)
        owner.freezes_at = NEVER if self.fair else steps(self.chance, self.faults.freeze_share)
        owner.stops_at = NEVER if self.fair else steps(self.chance, self.faults.stop_share)
        self.loop.start(owner, self._guarded(self._main(name)))

    async def _guarded(self, call: Any) -> None:
        try:
            await call
        except Exception as error:
            self._end(OWNER.get(), error)

    async def _main(self, name: str) -> None:
        """As `lampit run` does it."""
        settings, places = self._settings(name), reference.load()
        pseudonymise = Pseudonymiser(KEY.encode())
        identity = await ensure_ledger(settings, pseudonymise.fingerprint, places)
        kind = name.partition("-")[0]
        if kind == "intake":
            intake.build(settings, identity, pseudonymise)
        elif kind == "ledger":
            ledger.build(settings, identity, places)
        elif kind == "archive":
            archive.build(settings, identity, archive.place_of(settings))
        else:
            rollup.build(settings, identity, places)
        await self.apps[OWNER.get()].run()

    def _turn_of_others(self) -> float:
        return TURN_SECONDS if self.chance.random() < TURNS_TAKEN else 0.0

    def _create_app(self, name: str, settings: Settings, **callbacks: Any) -> simulated.App:
        app = simulated.App(name, settings, network=self.network, end=self._end, **callbacks)
        self.apps[OWNER.get()] = app
        return app

    def _end(self, owner: Owner, error: BaseException | None) -> None:
        if not owner.alive:
            return
        self.trace.note(self.loop.now, owner.name, f"ends: {type(error).__name__} {error}")
        if error is not None and not isinstance(error, (*EXPECTED, Crash)) and not self.epoch.explains(owner, error):
            self.defects.append(f"{owner.name} ended by {type(error).__name__}: {error}")
        self.loop.end(owner)

    def _ended(self, owner: Owner) -> None:
        name = owner.name.partition(".")[0]
        data = self.folder / name
        if not self.fair and self.chance.random() < self.faults.power_share:
            for disk in self.disks.under(data):
                disk.lose(int(1.5 ** self.chance.uniform(0, 12)))
        if not self.fair and self.chance.random() < self.faults.delete_share:
            shutil.rmtree(data, ignore_errors=True)
        self.loop.at(self.chance.uniform(0.2, 4.0), lambda: self.start(name))

    def _maybe_end_here(self) -> None:
        """Around each write of a store and each publication: the end, or a long stop with what is in hand not yet given out."""
        if self.fair:
            return
        if self.chance.random() < self.faults.freeze_share * 0.05:
            self._freeze(OWNER.get())
        if self.chance.random() < self.faults.write_crash_share:
            self._end(OWNER.get(), Crash())
            raise Died

    def die(self, error: BaseException) -> None:
        """In the place of `agents.app.die`: nothing after it runs."""
        self._end(OWNER.get(), error)
        raise Died from error

    def _disturb(self, owner: Owner) -> None:
        """After a callback of a process, what its seed has in store for it there."""
        if owner.steps >= owner.dies_at:
            self._end(owner, Crash())
        elif owner.steps >= owner.freezes_at:
            owner.freezes_at = NEVER
            self._freeze(owner)
        elif owner.steps >= owner.stops_at:
            owner.stops_at = NEVER
            if owner in self.apps:
                self.loop.start(owner, self._guarded(self.apps[owner].stop()))

    def _freeze(self, owner: Owner) -> None:
        """SIGSTOP, and SIGCONT some time later: a zombie, if others have taken over meanwhile."""
        owner.frozen_until = self.loop.now + self.chance.random() * self.faults.freeze_seconds_max
        self.trace.note(self.loop.now, owner.name, f"frozen until {owner.frozen_until:.3f}")

    # What happens to all of them.

    def schedule(self) -> None:
        """Events, days and faults of the whole cluster, each at a moment of its own."""
        chance, faults = self.chance, self.faults
        for payload in workload.payloads(chance):
            self.loop.at(chance.uniform(0.0, FAULT_SECONDS * 0.8), lambda payload=payload: self._send(payload))
        moments = sorted(chance.uniform(0.0, FAULT_SECONDS) for _ in self.days[:-1])
        for day, moment in zip(self.days[:-1], moments, strict=True):
            for partition in range(self.partitions):
                late = chance.choice((0.0, 0.1, 3.0)) * chance.random()
                self.loop.at(moment + late, lambda p=partition, d=day: self._turn(p, d))
        if self.epoch.is_any:
            self.loop.at(self.epoch.at, lambda: self.epoch.begin(self))
        for _ in range(faults.rebalances):
            self.loop.at(chance.uniform(0.0, FAULT_SECONDS), self._rebalance)
        for _ in range(faults.outages):
            self.loop.at(chance.uniform(0.0, FAULT_SECONDS), self._outage)
        for _ in range(faults.compactions):
            self.loop.at(chance.uniform(0.0, FAULT_SECONDS), self._compact)
        self.loop.at(0.0, self._tick)

    def _send(self, payload: bytes | None) -> None:
        topic, partition = self.chance.choice(INTAKE_TOPICS), self.chance.randrange(self.partitions)
        log = self.broker.log(topic, partition)
        self.sent[topic, partition, log.end_offset] = payload
        log.append([(b"any", payload)], timestamp(self.loop.now))

    def _turn(self, partition: int, day: Any) -> None:
        log = self.broker.log(LEDGER, partition)
        if not any(True for _ in log.committed(0)):  # the ledger is not begun yet
            self.loop.at(0.5, lambda: self._turn(partition, day))
            return
        self.append(partition, day_record(partition, day))

    def append(self, partition: int, record: Record) -> None:
        """A control record comes to the ledger."""
        self.broker.log(LEDGER, partition).append([(record.key, record.value)], timestamp(self.loop.now))

    def change(self, update: Mapping[str, Any]) -> Settings:
        """Give processes other settings from their next start on; these."""
        self._shared = self._shared.model_copy(update=update)
        return self._shared

    def end(self, owner: Owner) -> None:
        """SIGKILL."""
        self._end(owner, Crash())

    @property
    def rules(self) -> Rules:
        """Those in force."""
        return rules_of(self._shared)

    def _rebalance(self) -> None:
        for name in sorted(self.broker.groups):
            if self.chance.random() < 0.5:
                self.broker.groups[name].rebalance(self.loop.now)

    def _outage(self) -> None:
        self.network.weather.outage_until = self.loop.now + self.chance.random() * self.faults.outage_seconds_max

    def _compact(self) -> None:
        log = self.broker.log(self.chance.choice((PARTIALS, COVERAGE, CLOSINGS)))
        log.compact(int(self.chance.random() * (log.end_offset + 1)))

    def _tick(self) -> None:
        """The broker's own clock."""
        self.broker.expire(self.loop.now)
        for name, known in self.broker.transactions.items():
            if known.state in ("committed", "aborted"):
                self.network.complete(name)
        for name, group in self.broker.groups.items():
            topics = TOPICS[name.rpartition(".")[2]]
            group.advance(self.loop.now, [tp for topic in topics for tp in self.broker.partitions(topic)], self.chance)
        self.loop.at(TICK_SECONDS, self._tick)

    def calm_down(self) -> None:
        """From now on nothing fails any more."""
        self.fair = True
        self.network.weather = Weather()
        for owner in self.loop.owners:
            owner.dies_at = owner.freezes_at = owner.stops_at = NEVER
            owner.frozen_until = min(owner.frozen_until, self.loop.now + 15.0)

    def turn_last_day(self) -> None:
        """In every partition."""
        for partition in range(self.partitions):
            self._turn(partition, self.days[-1])

    def run_until(self, until: float) -> None:
        """Let virtual time pass."""
        while self.loop.now < until:
            owner = self.loop.step()
            if owner is not None and owner.alive:
                self.readiness.look(owner)
                self._disturb(owner)

    @contextmanager
    def installed(self) -> Iterator[None]:
        """With everything in its place, and put back afterwards."""
        clock = SimpleNamespace(
            time=lambda: FIRST_SECOND + self.loop.now,
            monotonic=lambda: self.loop.now,
            perf_counter=lambda: self.loop.now,
        )
        few = self.chance.choice((2, 5_000))
        batch_records_max = self.chance.choice((1, 4, 1_000))
        replaced: dict[str, Any] = {
            "agents.courier.die": self.die,
            "agents.barrier.datetime": _dates(self.loop),
            "agents.barrier.uuid": SimpleNamespace(uuid4=lambda: uuid.UUID(int=self.chance.getrandbits(128))),
            "agents.barrier.GENESIS_SECONDS_MAX": self.chance.choice((1.0, 30.0)),
            "agents.barrier.ensure_topics": lambda settings: None,
            "agents.barrier.topic_ids": lambda settings, names, seconds_max: {},
            "agents.store_options.Rdict": self.disks.open,
            "agents.store.WriteBatch": WriteBatch,
            "agents.store.Checkpoint": Checkpoint,
            "agents.desk.FORWARDS_MAX": few,
            "agents.desk.BARRIER_RECORDS_MAX": few,
            "agents.desk.LISTS_MAX": few,
            "agents.closings.RECORDS_MAX": few,
            # As long as with millions of people, so that much can happen in between.
            "agents.turns.STEPS": 1,
            "agents.turns.asyncio": SimpleNamespace(sleep=lambda _: asyncio.sleep(self._turn_of_others())),
            **{f"agents.{name}.create_app": self._create_app for name in TOPICS},
            **{f"agents.{name}.time": clock for name in CLOCKED},
        }
        with ExitStack() as stack:
            for name, value in replaced.items():
                stack.enter_context(patch(name, value))
            producer = lambda **options: SimulatedProducer(  # noqa: E731
                self.network, batch_records_max, self._maybe_end_here, **options
            )
            consumer = lambda **options: SimulatedConsumer(self.network, **options)  # noqa: E731
            stack.enter_context(patch.object(aiokafka, "AIOKafkaProducer", producer))
            stack.enter_context(patch.object(aiokafka, "AIOKafkaConsumer", consumer))
            asyncio._set_running_loop(self.loop)
            logging.disable(logging.CRITICAL)
            try:
                yield
            finally:
                self.fair = True
                self.loop.close()
                asyncio._set_running_loop(None)
                logging.disable(logging.NOTSET)


class Crash(Exception):
    """SIGKILL."""


def _dates(loop: Loop) -> Any:
    """datetime with the virtual clock's now()."""

    class Now(datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Any:
            return datetime.fromtimestamp(FIRST_SECOND + loop.now, tz or UTC)

    return Now
