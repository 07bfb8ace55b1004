"""The desks of one ledger worker over a large register, without Kafka: what people cost in memory, on disk and in time.

In: how many people, a folder, a seed. Out, as one JSON line: events a second, by the clock and of processor time, in the first
million people and in the last, peak and resident memory, bytes a person on disk, seconds until the stores are open again.
By the clock RocksDB merges files beside, where there is a core for it; processor time has all of it. Called by bench/scaling.py
in a process of its own, so that its memory is a worker's.

The records are those of a ledger (random UUIDs as ids, seconds spread over a year), made while the clock stands still. Behind
each entry on the register comes, for 6 of 10, the recording of somebody who is already there, whoever it is: what the store has
to look up lies anywhere. Each fetch goes through `Desk.apply`, as in the worker.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import psutil

from agents.barrier import LedgerIdentity, day_record
from agents.desk import Desk
from agents.driver import Fetch
from agents.ledger import NEVER  # all that a worker has loaded is part of its memory
from agents.memory import keep_small
from agents.store import Store
from agents.topics import LEDGER
from bench.expected import AS_OF
from lampit import reference
from stream.rules import Rules

PARTITIONS: Final = 4
FETCH_RECORDS: Final = 2_000
RECORDED_SHARE: Final = 0.6
TIMESTAMP_MS: Final = 1_553_760_000_000
REGISTERED: Final = datetime(2018, 1, 1, tzinfo=UTC)
PEOPLE_OF_A_RATE: Final = 1_000_000


class Spent(NamedTuple):
    """Seconds in `Desk.apply`: of the clock, and of all threads' processor time."""

    wall: float = 0.0
    cpu: float = 0.0

    def plus(self, other: Spent) -> Spent:
        """Both together."""
        return Spent(self.wall + other.wall, self.cpu + other.cpu)

    def since(self, before: Spent) -> Spent:
        """What came behind an earlier stand."""
        return Spent(self.wall - before.wall, self.cpu - before.cpu)


class Row(NamedTuple):
    """A record as a fetch holds it."""

    offset: int
    timestamp: int
    key: bytes | None
    value: bytes


def records(people: int, seed: int) -> Iterator[tuple[int, bytes]]:
    """(partition, ledger record) of a register and the recordings of its people."""
    chance = random.Random(seed)
    homes = sorted(code for code in reference.load().names if code.startswith("16.") and len(code) == 13)
    for number in range(people):
        born = date(1938, 1, 1) + timedelta(days=chance.randrange(29_000))
        facts = f',"person":{{"birth_date":"{born}","sex":"{chance.choice("MF")}"}}'
        yield _record(chance, number, "register", max(born, date(2010, 1, 1)), homes, facts)
        if chance.random() < RECORDED_SHARE:
            on = date(2018, 1, 1) + timedelta(days=chance.randrange(450))
            yield _record(chance, chance.randrange(number + 1), "recording", on, homes, "")


def _record(chance: random.Random, number: int, kind: str, on: date, homes: list[str], facts: str) -> tuple[int, bytes]:
    subject = hashlib.blake2b(number.to_bytes(8), digest_size=16).hexdigest()
    home = homes[number * 2_654_435_761 % len(homes)]
    moment = (REGISTERED + timedelta(seconds=chance.randrange(31_536_000))).strftime("%Y-%m-%dT%H:%M:%SZ")
    value = (
        f'{{"specversion":"1.0","id":"{uuid.UUID(int=chance.getrandbits(128), version=4)}","source":"/siak/{home[:5]}",'
        f'"type":"lampit.{kind}.v1","time":"{moment}","subject":"{subject}","receivedat":"{moment}",'
        f'"data":{{"occurred_on":"{on}","region":"{home}"{facts}}}}}'
    )
    return int(subject[:8], 16) % PARTITIONS, value.encode()


def desks_in(folder: Path) -> list[Desk]:
    """Of a worker that has not caught up, with its stores in a folder."""
    identity = LedgerIdentity("bench", PARTITIONS, Rules(), "bench")
    places = reference.load()
    producer: Any = None  # nothing is published
    return [
        Desk(number, Store(folder / str(number)), producer, identity, Rules(), places, "bench", NEVER)
        for number in range(PARTITIONS)
    ]


def main(people: int, folder: Path, seed: int) -> dict[str, float]:
    """Fill the stores; the figures."""
    keep_small()
    process = psutil.Process()
    base = process.memory_info().rss
    desks = desks_in(folder)
    waiting: list[list[Row]] = [[] for _ in desks]
    spent, events, peak = Spent(), 0, 0
    rates: list[tuple[int, Spent]] = []
    for number in range(PARTITIONS):
        waiting[number].append(Row(0, TIMESTAMP_MS, b"day", day_record(number, AS_OF).value or b""))
    mark = (0, Spent())
    for partition, value in records(people, seed):
        rows = waiting[partition]
        rows.append(Row(desks[partition].meta.next_offset + len(rows), TIMESTAMP_MS, None, value))
        events += 1
        if len(rows) == FETCH_RECORDS:
            spent = spent.plus(_apply(desks[partition], rows))
            waiting[partition] = []
            peak = max(peak, process.memory_info().rss)
        if events - mark[0] >= PEOPLE_OF_A_RATE * (1 + RECORDED_SHARE):
            rates.append((events - mark[0], spent.since(mark[1])))
            mark = (events, spent)
    for desk, rows in zip(desks, waiting, strict=True):
        if rows:
            spent = spent.plus(_apply(desk, rows))
    rates = rates or [(events, spent)]
    resident = process.memory_info().rss
    counted = sum(len(dict(desk.store.every_total())) for desk in desks)
    for desk in desks:
        desk.store.close()
    size = sum(file.stat().st_size for file in folder.rglob("*.sst"))
    began = time.perf_counter()
    again = desks_in(folder)
    opened = time.perf_counter() - began
    assert counted == sum(len(dict(desk.store.every_total())) for desk in again)
    return {
        "events": events,
        "first_million_events_per_second": rates[0][0] / rates[0][1].wall,
        "last_million_events_per_second": rates[-1][0] / rates[-1][1].wall,
        "first_million_events_per_cpu_second": rates[0][0] / rates[0][1].cpu,
        "last_million_events_per_cpu_second": rates[-1][0] / rates[-1][1].cpu,
        "cpu_seconds_per_million": spent.cpu / events * 1_000_000,
        "memory_mib": resident / 2**20,
        "memory_max_mib": max(peak, resident) / 2**20,
        "memory_without_stores_mib": base / 2**20,
        "bytes_per_person": size / people,
        "open_seconds": opened,
    }


def _apply(desk: Desk, rows: list[Row]) -> Spent:
    some: Any = tuple(rows)
    wall, cpu = time.perf_counter(), time.process_time()
    desk.apply(Fetch(LEDGER, desk.partition, some[0].offset, some[-1].offset + 1, some, 0))
    return Spent(time.perf_counter() - wall, time.process_time() - cpu)


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))))
