"""What the roll-up holds for monthly closings: the cells of a province, month after month, and the closings published.

In: how many months and partitions, which province (or the nation). Out: MiB that Python's objects of a month more take, of
cells and of closings; microseconds to take a cell in, and seconds to close a month, every region; the longest time for which
nothing else has a turn beside either (`agents.turns`); without Kafka. Each village has one to three events a month in each
partition, as with eight partitions of fifteen million people. Beside it: the same records of `lampit.partials` in a dictionary
as they are.
"""

from __future__ import annotations

import asyncio
import gc
import json
import operator
import random
import sys
import time
import tracemalloc
from collections.abc import Callable, Coroutine, Iterator, Mapping
from functools import reduce
from typing import Any, Final, TypeVar

import msgspec

from agents.closings import RECORDS_MAX, Published
from agents.turns import in_turns, made_in_turns
from bench.machine import run_python, wait_until_quiet
from bench.results import Figures, Result, round_all, say, shown
from lampit import reference
from stream import flow_tally
from stream.closer import Closer, Work
from stream.closing_cells import Barrier
from stream.closing_parts import decode, encode, records
from stream.contribution import Change, PeriodCell
from stream.opening import Book
from stream.periods import BEFORE, Periods
from stream.rules import Rules
from stream.tally import OBLIGED, POPULATION, RECORDED, UNITS

NATION: Final = "ID"
FIRST: Final = "2015-01"
SETTINGS: Final = "bench"

Done = TypeVar("Done")


def measure(months: int, partitions: int, repeats: int, seed: int, province: str) -> Result:
    """Each in a process of its own, in turn, `repeats` times."""
    parameters = {
        "months": months,
        "partitions": partitions,
        "repeats": repeats,
        "seed": seed,
        "province": province,
    }
    mark = ("cells_mib_a_month", "at_most", 10.0)
    result = Result("closings", parameters, [], "the records as they are", [], mark)
    for number in range(repeats):
        result.busy.append(wait_until_quiet())
        given = (months, partitions, seed, province)
        found = {
            what: json.loads(run_python(["-m", "bench.closing_months", what, *map(str, given)]).output)
            for what in _WHAT
        }
        # Tracing takes time of its own.
        timed = found.pop("timed")
        found["held"] |= {name: timed[name] for name in _TIMED}
        result.repeats.append(round_all(found["held"]))
        result.peer.append(round_all(found["as they are"]))
        ours, theirs = (one[-1]["cells_mib_a_month"] for one in (result.repeats, result.peer))
        say(f"{number + 1} of {repeats}: {shown(ours)} MiB of cells a month, beside {shown(theirs)}")
    return result


def _one(chance: random.Random) -> Change:
    """What an event of one person adds, in its own month by either dating."""
    measures, sign, kind = chance.choice(
        (
            (POPULATION, 1, flow_tally.BIRTHS),
            (POPULATION | OBLIGED | RECORDED, -1, flow_tally.DEATHS),
            (POPULATION | OBLIGED | RECORDED, -1, flow_tally.MOVED_OUT),
            (POPULATION | OBLIGED | RECORDED, 1, flow_tally.MOVED_IN),
            (RECORDED, 1, flow_tally.RECORDINGS),
            (OBLIGED, 1, flow_tally.TURNED_17),
        )
    )
    sex = chance.randrange(2)
    stock, flow = sign * UNITS[sex][measures], flow_tally.UNITS[sex][kind]
    return Change(stock, stock, flow, flow)


def _cells(villages: list[str], month: int, chance: random.Random) -> dict[PeriodCell, Change]:
    """Of one partition: who was there before the first month, and what happened in this one."""
    cells: dict[PeriodCell, Change] = {}
    for village in villages:
        some = [_one(chance) for _ in range(chance.randint(1, 3))]
        cells[month, village] = reduce(lambda one, other: Change(*map(operator.add, one, other)), some)
        if month == 0:
            men, women = chance.randrange(100, 900), chance.randrange(100, 900)
            stock = sum(number * UNITS[sex][POPULATION | OBLIGED | RECORDED] for sex, number in enumerate((men, women)))
            cells[BEFORE, village] = Change(stock, stock)
    return cells


def _parts(
    months: int, partitions: int, seed: int, province: str
) -> Iterator[tuple[int, Iterator[tuple[bytes, bytes]]]]:
    """(known day, records of lampit.partials by key) of each month."""
    chance, periods = random.Random(seed), Periods.since(FIRST)
    villages = [code for code in reference.load().names if len(code) == 13 and province in (NATION, code[:2])]
    for month in range(months):
        day = periods.period(month).closed_on
        said = (
            part
            for partition in range(partitions)
            for part in records(
                Barrier(day, month + 1, _cells(villages, month, chance), [], Book()), periods, partition, 1, SETTINGS
            )
        )
        yield day, ((part.key, encode(part)) for part in said)


def _as_they_are(months: int, partitions: int, seed: int, province: str) -> Figures:
    held: dict[bytes, bytes] = {}
    grown = _Growth(months)
    for _, records_of_month in _parts(months, partitions, seed, province):
        held.update(records_of_month)
        grown.look()
    return {"cells_mib_a_month": grown.a_month()}


def _held(months: int, partitions: int, seed: int, province: str) -> Figures:
    closer = Closer(Rules(first_period=FIRST), Periods.since(FIRST), reference.load(), partitions, SETTINGS)
    grown, cells, spent = _Growth(months), 0, 0.0
    taking, making = _Beside(), _Beside()
    for day, records_of_month in _parts(months, partitions, seed, province):
        read = list(records_of_month)
        cells += len(read)
        began = time.perf_counter()
        for key, value in read:
            part = decode(key, value)
            assert part is not None
            closer.add(part)
        work = asyncio.run(taking.of(in_turns(closer.begin(day))))
        spent += time.perf_counter() - began
        del read, part
        grown.look()
    figures: Figures = {
        "cells_mib_a_month": grown.a_month(),
        "cells_a_month": cells / months,
        "microseconds_a_cell": spent / cells * 1_000_000,
    }
    # All at once, as who closes for the first time does.
    published, closings, before = Published(), 0, _traced()
    began = time.perf_counter()

    async def close(work: Work) -> None:
        nonlocal closings
        async for some in made_in_turns(closer.closings(work, published), RECORDS_MAX):
            for record in some:
                published.add(_encode(record))
            closings += len(some)

    assert work is not None
    asyncio.run(making.of(close(work._replace(first=0, all_from=0))))
    spent = time.perf_counter() - began
    return figures | {
        "closings_mib_a_month": (_traced() - before) / months / 2**20,
        "closings_a_month": closings / months,
        "close_seconds_a_month": spent / months,
        "cells_longest_turn_ms": 1000 * taking.longest,
        "close_longest_turn_ms": 1000 * making.longest,
    }


class _Beside:
    """The longest time for which nothing else had a turn."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def of(self, work: Coroutine[Any, Any, Done]) -> Done:
        ticking = asyncio.create_task(self._tick())
        try:
            return await work
        finally:
            ticking.cancel()

    async def _tick(self) -> None:
        while True:
            began = time.perf_counter()
            await asyncio.sleep(0)
            self.longest = max(self.longest, time.perf_counter() - began)


class _Growth:
    """How much more Python's objects take each month, the first left out, which has what was there before all of them.

    Not what the process has: in what it needed in between the objects of many months find room.
    """

    def __init__(self, months: int) -> None:
        self._months = months
        self._seen: list[int] = []

    def look(self) -> None:
        self._seen.append(_traced())

    def a_month(self) -> float:
        return (self._seen[-1] - self._seen[0]) / (self._months - 1) / 2**20


def _traced() -> int:
    """Bytes of Python's objects; 0 where they are not traced."""
    if tracemalloc.is_tracing():
        gc.collect()
    return tracemalloc.get_traced_memory()[0]


_encode = msgspec.json.Encoder().encode

_TIMED: Final = ("microseconds_a_cell", "close_seconds_a_month", "cells_longest_turn_ms", "close_longest_turn_ms")
_WHAT: Final[Mapping[str, Callable[[int, int, int, str], Figures]]] = {
    "held": _held,
    "timed": _held,
    "as they are": _as_they_are,
}


if __name__ == "__main__":
    if sys.argv[1] != "timed":
        tracemalloc.start()
    months, partitions, seed = map(int, sys.argv[2:5])
    print(json.dumps(_WHAT[sys.argv[1]](months, partitions, seed, sys.argv[5])))
