"""A long search for a history that the core and the SQL recount count differently; `make fuzz` runs it.

One run of the SQL costs as much for forty histories as for one. So many are counted together, each with other NIKs and
in other provinces, and only those of a set that disagrees are looked at alone and made smaller.
"""

from __future__ import annotations

import json
import os
import random
import re
import time
from collections.abc import Callable, Sequence
from datetime import date, timedelta
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings

from stream.rules import Rules
from tests.counters import (
    by_core,
    by_sql,
    closing_disagreements,
    closings_by_core,
    closings_by_sql,
    disagreements,
)
from tests.property import changing
from tests.property.lives import DAYS, Json, histories

SECONDS = float(os.environ.get("LAMPIT_FUZZ_SECONDS", "900"))
EXAMPLES = int(os.environ.get("LAMPIT_FUZZ_EXAMPLES", "1000000"))
TOGETHER = 36
EAST = ["51", "52", "53", "63", "64", "65", "71", "72", "73", "74", "75", "76"]
OTHERS = {"15", "81", "82", *(str(number) for number in range(91, 97)), *EAST}
WEST = [code for number in range(99, 10, -1) if (code := str(number)) not in OTHERS]
PERIODS = [f"{year}-{month:02}" for year, month in ((2018, 5), *((2018, month) for month in range(6, 13)),
                                                    (2019, 1), (2019, 2), (2019, 3), (2019, 4), (2019, 5),
                                                    (2019, 7), (2020, 5), (2020, 6))]  # fmt: skip
AS_OF = [*DAYS, *(day + timedelta(days=1) for day in DAYS), date(2019, 5, 30), date(2020, 6, 30)]


class Search:
    """Counts many histories at once, and keeps the numbers."""

    def __init__(
        self,
        chance: random.Random,
        days: Sequence[date] = AS_OF,
        periods: Sequence[str] = PERIODS,
        *,
        other_codes: bool = False,
    ) -> None:
        """Nothing compared yet. Figures are asked of some of the days, under the codes of others too if said so."""
        self._chance = chance
        self._days = days
        self._periods = periods
        self._other_codes = other_codes
        self.histories = self.events = self.counts = self.closings = self.disagreements = 0

    def compare(self, together: list[list[Json]]) -> None:
        """Both counters, and the core once more in another order with repeats, on some day by some rules.

        Figures of every region and all anomalies. The path of the live agents without Kafka, batch by batch through a store,
        is searched by test_partition.py; with Kafka, by test_live_search.py.
        """
        chance = self._chance
        day = (chance.choice(self._days),) * 2
        if self._other_codes and chance.randrange(3) == 0:
            day = (day[0], chance.choice(self._days))
        rules = Rules(chance.choice([None, None, chance.randint(1, 130)]), chance.choice(("mar1", "mar1", "feb28")))
        plain_apart = chance.choice((True, False))
        everything = [event for history in together for event in history]
        again = everything + chance.choices(everything, k=len(everything) // 4)
        chance.shuffle(again)
        (core,), (other,), (sql,) = (
            by_core(everything, rules, [day]),
            by_core(again, rules, [day]),
            by_sql(everything, rules, [day], plain_apart=plain_apart),
        )
        self.histories, self.events, self.counts = (
            self.histories + len(together),
            self.events + len(everything),
            self.counts + 1,
        )
        if lines := disagreements(core, other):
            self.disagreements += 1
            pytest.fail(f"as of {day}, {rules}: order or repetition changes\n" + "\n".join(lines), pytrace=False)
        if disagreements(core, sql):
            self._tell(
                together,
                f"as of {day}, {rules}, plain_apart={plain_apart}",
                lambda events: disagreements(
                    by_core(events, rules, [day])[0], by_sql(events, rules, [day], plain_apart=plain_apart)[0]
                ),
            )

    def close(self, together: list[list[Json]]) -> None:
        """Both counters' closings of some month, by some rules."""
        chance = self._chance
        first, period = sorted(chance.choices(self._periods, k=2))
        rules = Rules(
            chance.choice([None, None, chance.randint(1, 130)]),
            chance.choice(("mar1", "mar1", "feb28")),
            closing_day=chance.choice((1, 15, 28, 28)),
        )

        def found(events: list[Json]) -> list[str]:
            return closing_disagreements(
                closings_by_core(events, rules, period, first), closings_by_sql(events, rules, period)
            )

        self.closings += 1
        if found([event for history in together for event in history]):
            self._tell(together, f"{period} since {first}, {rules}", found)

    def _tell(self, together: list[list[Json]], asked: str, found: Callable[[list[Json]], list[str]]) -> None:
        """Fail with the smallest history that still disagrees."""
        self.disagreements += 1
        events = smallest(together, lambda events: bool(events) and bool(found(events)))
        lines = "\n".join(json.dumps(event) for event in events)
        pytest.fail(f"{asked}:\n{lines}\ncore / SQL:\n" + "\n".join(found(events)), pytrace=False)

    def summary(self) -> str:
        """What was compared, and how often two counts disagreed."""
        return (
            f"core and SQL compared on {self.histories:,} histories of {self.events:,} events in {self.counts:,} counts "
            f"and {self.closings:,} closings: "
            f"{self.disagreements} disagreements"
        )


def elsewhere(history: list[Json], number: int) -> list[Json]:
    """The same history with other NIKs, in provinces of its own; national balances keep their place."""
    east = EAST[number] if number < len(EAST) else WEST[-1 - number + len(EAST)]
    provinces = {"16": WEST[number], "51": east}
    text = re.sub(r'"(16|51)(?=[."])', lambda found: '"' + provinces[found[1]], json.dumps(history))
    text = re.sub(r"16090241018(?=\d{5})", f"1609024{number:04}", text)
    events: list[Json] = json.loads(re.sub(r'"balance-(\d+)"', rf'"balance-{number}-\1"', text))
    return events


def smallest(together: list[list[Json]], differ: Callable[[list[Json]], bool]) -> list[Json]:
    """The fewest events of one history, or else of all, that still differ."""
    national = [event for history in together for event in history if event["data"].get("region") == "ID"]
    alone = (national + [event for event in history if event not in national] for history in together)
    events = next(
        (history for history in alone if differ(history)), [event for history in together for event in history]
    )
    return smaller(events, differ)


def smaller(events: list[Json], differ: Callable[[list[Json]], bool]) -> list[Json]:
    """The events without those that are not needed, by halves and then one by one."""
    size = max(1, len(events) // 2)
    while True:
        before, start = len(events), 0
        while start < len(events):
            fewer = events[:start] + events[start + size :]
            if differ(fewer):
                events = fewer
            else:
                start += size
        if size == 1 and len(events) == before:
            return events
        size = max(1, size // 2)


def made(number: int, how_many: int) -> list[list[Json]]:
    """Random histories, the same for the same number."""
    found: list[list[Json]] = []

    @seed(number)
    @settings(database=None, max_examples=how_many, phases=[Phase.generate],
              suppress_health_check=list(HealthCheck))  # fmt: skip
    @given(histories())
    def generate(history: list[dict[str, Any]]) -> None:
        found.append(history)

    generate()
    return found


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_core_and_sql_agree_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    """As long as LAMPIT_FUZZ_SECONDS says, or for LAMPIT_FUZZ_EXAMPLES histories; LAMPIT_FUZZ_SEED repeats a search."""
    begin = seed_of_search()
    search = Search(random.Random(begin))
    at_length(search, begin, capsys, lambda part: [elsewhere(history, place) for place, history in enumerate(part)])


@pytest.mark.fuzz
@pytest.mark.timeout(0)
def test_core_and_sql_agree_on_codes_that_change(capsys: pytest.CaptureFixture[str]) -> None:
    """The same in desa and kabupaten that change, on days around the changes, and under the codes of other days."""
    begin = seed_of_search()
    chance = random.Random(begin)
    search = Search(chance, changing.DAYS, changing.PERIODS, other_codes=True)
    at_length(
        search,
        begin,
        capsys,
        lambda part: [changing.told_again(history, chance, place) for place, history in enumerate(part)],
        together=12,
    )


def seed_of_search() -> int:
    """Another one each time, unless one is asked for."""
    return int(os.environ.get("LAMPIT_FUZZ_SEED", random.SystemRandom().randrange(1 << 32)))


def at_length(
    search: Search,
    begin: int,
    capsys: pytest.CaptureFixture[str],
    told: Callable[[list[list[Json]]], list[list[Json]]],
    together: int = TOGETHER,
) -> None:
    """Compare random histories, as they are told, until the time is over."""
    until = time.monotonic() + SECONDS
    with capsys.disabled():
        print(f"\nseed {begin}: {SECONDS:.0f} seconds or {EXAMPLES} histories", flush=True)
    try:
        for number in count(begin):
            if time.monotonic() > until or search.histories >= EXAMPLES:
                break
            drawn = made(number, 10 * together)
            for first in range(0, len(drawn), together):
                part = told(drawn[first : first + together])
                search.compare(part)
                search.close(part)
    finally:
        with capsys.disabled():
            print(search.summary(), flush=True)


def test_histories_counted_together_are_counted_apart() -> None:
    """A history in other provinces meets none of its neighbours."""
    history = [
        {"data": {"nik": "1609024101800000", "region": "16.09.01.1013", "origin": "51.71.01.1001"}},
        {"id": "balance-3", "data": {"region": "16"}},
    ]
    places = [json.dumps(elsewhere(history, number)) for number in range(TOGETHER)]
    codes = [set(re.findall(r'"(\d\d)[."]', place)) for place in places]
    assert all(one.isdisjoint(other) for one in codes for other in codes if one is not other)
    assert len({event for place in places for event in re.findall(r"\d{16}", place)}) == TOGETHER
